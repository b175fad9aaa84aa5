package um

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// subscriberAccess is Outlook Voice Access for a caller whose number is a
// mailbox's: the PIN, and then the menus.
func (c *call) subscriberAccess() (string, error) {
	return c.logOn(c.a.mailbox)
}

// pilotGreeting is for a caller that is nobody's, and named no mailbox: it asks
// for one.
func (c *call) pilotGreeting() (string, error) {
	c.stream.HideDigits(true)
	c.note("um.pilot_greeting", "why", "the INVITE has no Diversion: no mailbox is named")
	greeting := [][]byte{c.prompt(promptPilot), c.prompt("extension")}
	for range c.tries() {
		digits, err := c.collect(c.a.plan.Digits, greeting...)
		if err != nil {
			return "", err
		}
		if m := c.w.conf.Org.MailboxOf(c.a.plan.Name, digits); m != nil {
			return c.logOn(m)
		}
		greeting = [][]byte{c.prompt("extension")}
		if digits != "" {
			c.input("extension", strings.Repeat("?", len(digits)), "no mailbox has it")
			greeting = slices.Insert(greeting, 0, c.prompt("invalid"))
		}
	}
	return "no mailbox was named", c.play(c.prompt("goodbye"))
}

// logOn asks for the PIN of a mailbox. Keys may be pressed ahead of a prompt, so
// that they are kept out of the trace until the PIN was right.
func (c *call) logOn(m *org.Mailbox) (string, error) {
	if m.OtherVersion != "" {
		return c.toOtherVersion(m, c.a.pilot)
	}
	c.stream.HideDigits(true)
	if m.PIN == "" || c.w.conf.Org.PolicyOf(m).NoSubscribers {
		c.logon(m, "not allowed", 0)
		return "no subscriber access", c.play(c.prompt("no-access"), c.prompt("goodbye"))
	}
	said, tried := [][]byte{c.prompt("pin")}, false
	for range cmp.Or(c.a.plan.LogonFailures, c.w.conf.Profile.UM.LogonFailures) {
		pin, err := c.collect(maxPIN, said...)
		if err != nil {
			return "", err
		}
		if pin == "" { // nothing was tried
			c.input("pin", "none", "no key was pressed")
			said = [][]byte{c.prompt("pin")}
			continue
		}
		result, fresh, failures := c.w.conf.Logons.try(m, pin)
		c.logon(m, string(result), failures)
		tried = true
		switch result {
		case logonRight:
			c.stream.HideDigits(false)
			return c.mainMenu(m)
		case logonLocked:
			return "the mailbox is locked", c.play(c.prompt("locked"), c.prompt("goodbye"))
		case logonReset:
			c.submit(func() (Message, error) { return c.pinMessage(m, fresh) })
		}
		said = [][]byte{c.prompt("pin-wrong"), c.prompt("pin")}
	}
	if tried {
		c.note("um.logon_failed", "mailbox", m.Address)
	}
	return "too many wrong PINs", c.play(c.prompt("pin-wrong"), c.prompt("goodbye"))
}

// maxPIN is the longest PIN that a policy can ask for.
const maxPIN = 24

func (c *call) logon(m *org.Mailbox, result string, failures int) {
	c.w.src.Record(c.session, trace.Session{}, logonEvent{m.Address, result, failures}, nil)
}

func (c *call) input(what, digits, why string) {
	c.w.src.Record(c.session, trace.Session{}, inputEvent{what, digits, why}, nil)
}

// mainMenu is where an owner begins: how many messages are new, and the way to
// them.
func (c *call) mainMenu(m *org.Mailbox) (string, error) {
	list, err := c.w.conf.Mailboxes.Voice(m.Address)
	if err != nil {
		return "", err
	}
	fresh := len(slices.DeleteFunc(slices.Clone(list), func(v VoiceMail) bool { return v.Read }))
	said := [][]byte{c.prompt("no-messages"), c.prompt("main-menu")}
	if fresh > 0 {
		said = slices.Concat([][]byte{c.prompt("you-have")}, c.number(strconv.Itoa(fresh)), [][]byte{c.prompt("new-messages"), c.prompt("main-menu")})
	}
	for failed := 0; failed < c.tries(); {
		c.note("um.menu", "menu", "main")
		key, err := c.choose(said...)
		if err != nil {
			return "", err
		}
		said = [][]byte{c.prompt("main-menu")}
		switch key {
		case '1':
			if err := c.listen(m, list); err != nil {
				return "", err
			}
			if list, err = c.w.conf.Mailboxes.Voice(m.Address); err != nil {
				return "", err
			}
		case '0', '*':
		default:
			failed++
			c.input("main", keyName(key), "it means nothing here")
			said = slices.Insert(said, 0, c.prompt("invalid"))
		}
	}
	return "no choice was made", c.play(c.prompt("goodbye"))
}

func keyName(key byte) string {
	if key == noKey {
		return "none"
	}
	return string(key)
}

// listen plays messages, new ones first and of these the latest: # goes on and
// leaves a message read, 1 plays it again, 7 deletes it, * goes back.
func (c *call) listen(m *org.Mailbox, list []VoiceMail) error {
	list = slices.Clone(list)
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b VoiceMail) int { return rank(a) - rank(b) })
	for _, v := range list {
		back, err := c.hear(m, v)
		if err != nil || back {
			return err
		}
	}
	return c.say(c.prompt("no-more"))
}

// rank sorts messages for the ear.
func rank(v VoiceMail) int {
	switch {
	case v.Read:
		return 2
	case v.Urgent:
		return 0
	}
	return 1
}

// hear plays one message until its owner is done with it.
func (c *call) hear(m *org.Mailbox, v VoiceMail) (back bool, err error) {
	wav, err := c.w.conf.Mailboxes.Recording(m.Address, v.ID)
	var octets []byte
	if err == nil {
		octets, err = rtp.ReadWAV(wav, promptCodec)
	}
	if err != nil { // anybody can send what says that it is a voice message; and another call may have deleted this one
		c.w.src.Record(c.session, trace.Session{}, unplayable{v.ID, err.Error()}, nil)
		return false, c.say(c.prompt("invalid"))
	}
	for range maxHearings {
		c.note("um.playing", "message", v.ID)
		key, err := c.choose(c.prompt("next-message"), octets, c.prompt("message-menu"))
		if err != nil {
			return false, err
		}
		switch key {
		case '1', '0':
			continue
		case '7':
			if err := c.w.conf.Mailboxes.Delete(m.Address, v.ID); err != nil {
				c.w.src.Record(c.session, trace.Session{}, unplayable{v.ID, err.Error()}, nil)
				return false, c.gone()
			}
			c.note("um.deleted", "message", v.ID)
			return false, c.say(c.prompt("deleted"))
		case '*':
			return true, nil
		case '9': // stays new
			return false, nil
		default: // #, or nothing more was pressed
			if err := c.w.conf.Mailboxes.MarkRead(m.Address, v.ID); err != nil {
				c.w.src.Record(c.session, trace.Session{}, unplayable{v.ID, err.Error()}, nil)
			}
			return false, c.gone()
		}
	}
	return true, nil
}

// maxHearings bounds how often a message is played again.
const maxHearings = 20
