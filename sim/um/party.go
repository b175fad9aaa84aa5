package um

import (
	"fmt"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sip"
)

// maxDigits is generous: E.164 has 15, an extension at most 20.
const maxDigits = 32

// telephone reports whether a user part is a number.
func telephone(user string) bool {
	digits := strings.TrimPrefix(user, "+")
	return digits != "" && len(digits) <= maxDigits && strings.Trim(digits, "0123456789") == ""
}

// mayCall says what a calling party lacks in a dial plan, "" if nothing.
func mayCall(plan *org.DialPlan, p sip.Party) string {
	switch {
	case strings.EqualFold(p.User, "anonymous"):
	case plan.URIType == org.E164 && (!telephone(p.User) || p.User[0] != '+'):
		return "is no number of E.164 and not Anonymous, which an E164 dial plan wants"
	case plan.URIType == org.TelExtn && !telephone(p.User):
		return "is no number and not Anonymous, which a TelExtn dial plan wants"
	}
	return ""
}

// mayDivert says what a diverting party lacks in a dial plan, "" if nothing.
func mayDivert(plan *org.DialPlan, p sip.Party) string {
	switch {
	case plan.URIType == org.E164 && (!telephone(p.User) || p.User[0] != '+'):
		return fmt.Sprintf("is no number of E.164 (tel:+...), which dial plan %s wants", plan.Name)
	case plan.URIType == org.SipName && (p.User == "" || p.Host == ""):
		return fmt.Sprintf("is no sip:user@domain, which dial plan %s wants", plan.Name)
	case plan.URIType == org.TelExtn && (!telephone(p.User) || len(p.User) != plan.Digits):
		return fmt.Sprintf("is no extension of %d digits, which dial plan %s wants", plan.Digits, plan.Name)
	}
	return ""
}

// mailboxOf finds the mailbox of a party in a dial plan, nil if it has none: a
// caller with @ or + in the number of a TelExtn dial plan has none.
func (c *Config) mailboxOf(plan *org.DialPlan, p sip.Party) *org.Mailbox {
	if plan.URIType == org.SipName && p.Host != "" {
		return c.Org.MailboxAtSIP(plan.Name, p.User+"@"+p.Host)
	}
	return c.Org.MailboxOf(plan.Name, p.User)
}
