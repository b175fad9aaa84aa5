package um

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/exsim/exsim/sim/org"
)

// attendant is an auto attendant: its greeting, and a menu of keys, beside which
// an extension may be dialled.
func (c *call) attendant(a *org.Attendant) (string, error) {
	greeting, why, err := c.greeting(a.Greeting, "attendant")
	if why != "" {
		return why, err
	}
	said := [][]byte{greeting, c.menuOf(a)}
	for range c.tries() {
		c.note("um.menu", "menu", a.Name)
		digits, err := c.dialled(said...)
		if err != nil {
			return "", err
		}
		said = [][]byte{c.menuOf(a)}
		done, why, err := c.act(a, digits)
		if err != nil || done {
			return why, err
		}
		if why != "" {
			c.input(a.Name, cmp.Or(digits, "none"), why)
			said = slices.Insert(said, 0, c.prompt("invalid"))
		}
	}
	if operator := c.operator(a); operator != "" {
		if ok, err := c.transfer(operator); err != nil || ok {
			return "transferred to the operator", err
		}
	}
	return "no choice was made", c.play(c.prompt("goodbye"))
}

// menuOf is what an attendant says about its keys: none stands by itself.
func (c *call) menuOf(a *org.Attendant) []byte {
	if len(a.Keys) == 0 && a.Menu == "" {
		return c.prompt("no-menu")
	}
	return c.w.conf.Prompts.or(a.Menu, "attendant-menu")
}

func (c *call) operator(a *org.Attendant) string { return cmp.Or(a.Operator, c.a.plan.Operator) }

// dialled says recordings and takes a key of the menu, or the digits of an
// extension: a key behind which nothing more is pressed stands alone.
func (c *call) dialled(said ...[]byte) (string, error) {
	first, err := c.choose(said...)
	if err != nil || first == noKey {
		return "", err
	}
	if !slices.Contains([]byte("0123456789"), first) || c.a.plan.Digits == 1 {
		return string(first), nil
	}
	c.pushBack(first)
	return c.collect(c.a.plan.Digits)
}

// act does what was dialled. done means that the call is on its way elsewhere or
// over; else why says what was wrong, if anything was.
func (c *call) act(a *org.Attendant, digits string) (done bool, why string, err error) {
	key := digits
	if digits == "" {
		key = org.Timeout
	}
	if k, ok := a.Keys[key]; ok {
		return c.press(k)
	}
	switch {
	case digits == "":
		return false, "no key was pressed", nil
	case digits == "0" && c.operator(a) != "":
		return c.transferred(c.operator(a))
	case digits == "*" && a.StarOut:
		why, err = c.pilotGreeting()
		return true, why, err
	case len(digits) != c.a.plan.Digits:
		return false, "it is no key of the menu", nil
	case !a.Extension && c.w.conf.Org.MailboxOf(c.a.plan.Name, digits) == nil:
		return false, "no mailbox has that extension", nil
	}
	return c.transferred(digits)
}

// press does what a key of a menu is for.
func (c *call) press(k org.Key) (done bool, why string, err error) {
	switch {
	case k.Extension != "":
		return c.transferredBy(c.by(k.Supervised), k.Extension)
	case k.Attendant != "":
		why, err = c.attendant(c.w.conf.Org.AttendantNamed(k.Attendant))
		return true, why, err
	case k.VoiceMail != "":
		m := c.w.conf.Org.MailboxOf(c.a.plan.Name, k.VoiceMail)
		why, err = c.takeMessage(m)
		return true, why, err
	}
	return false, "", c.say(c.w.conf.Prompts[k.Audio])
}

// transferred hands the call on; where that fails the caller is told, and comes
// back to the menu.
func (c *call) transferred(to string) (done bool, why string, err error) {
	return c.transferredBy(c.transfer, to)
}

// by is how a call is handed on: blindly, or when the other one has answered.
func (c *call) by(supervised bool) func(to string) (bool, error) {
	if supervised {
		return c.consult
	}
	return c.transfer
}

func (c *call) transferredBy(transfer func(to string) (bool, error), to string) (done bool, why string, err error) {
	ok, err := transfer(to)
	if err != nil || ok {
		return true, "transferred to " + to, err
	}
	return false, "", c.say(c.prompt("transfer-failed"))
}

// autoAttendant is the attendant that the call reached.
func (c *call) autoAttendant() (string, error) {
	if c.a.attendant == nil {
		return "", fmt.Errorf("no auto attendant has the pilot %s", c.a.pilot)
	}
	return c.attendant(c.a.attendant)
}
