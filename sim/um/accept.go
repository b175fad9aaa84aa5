package um

import (
	"fmt"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sip"
)

// admitted is a call that passed every check, and what it is for.
type admitted struct {
	gateway   *org.UMIPGateway
	huntGroup *org.HuntGroup
	plan      *org.DialPlan
	pilot     string // dialled user
	caller    sip.Party
	diverted  string       // user of the diverting party, "" if none
	reason    string       // of the diversion
	mailbox   *org.Mailbox // nil: no diversion, the pilot's greeting
}

// kind names the call as in Unified Messaging's own call data.
func (a *admitted) kind() string {
	if a.mailbox == nil {
		return "pilot"
	}
	return "call-answering"
}

// refusal is a call that is not taken: which check, the answer, and the fix.
type refusal struct {
	check   string
	answer  profile.Refusal
	cause   string
	fix     string
	headers []string // of the answer
}

func newRefusal(check string, answer profile.Refusal, cause, fix string) *refusal {
	return &refusal{check: check, answer: answer, cause: cause, fix: fix}
}

// judge runs the chain of checks, in the order in which Unified Messaging
// makes them: source address or certificate, gateway object, its state,
// headers, hunt group, dial plan and its security, calling party, diverting
// party.
func (c *Config) judge(tx *sip.ServerTx) (*admitted, *refusal) {
	r := &c.Profile.Refusals
	a := &admitted{pilot: userOf(tx.Recipient())}
	peer := tx.Peer().Addr()

	gateway, status := c.Gateways.At(peer, tx.Identity())
	if a.gateway = gateway; gateway == nil {
		key, value := "address", peer.String()
		if tx.Identity() != "" {
			key, value = "fqdn", tx.Identity()
		}
		return nil, newRefusal("gateway", r.UnknownGateway,
			fmt.Sprintf("no UM IP gateway has the %s %s", key, value),
			fmt.Sprintf("add to gateways: {name: NAME, %s: %s, dial-plan: PLAN}", key, value))
	}
	if status != org.Enabled {
		return nil, newRefusal("gateway-status", r.GatewayDisabled,
			fmt.Sprintf("gateway %s is %s", a.gateway.Name, status), "status: Enabled in the organisation; or the step gateway, or typed into exsim up: gateway "+a.gateway.Name+" Enabled")
	}
	diversions, err := sip.Diversions(tx.Header("Diversion"))
	if err != nil {
		return nil, newRefusal("headers", r.BadHeader, err.Error(), "correct the header at the gateway")
	}
	if a.caller, err = sip.ParseParty(tx.From()); err != nil {
		return nil, newRefusal("headers", r.BadHeader, "From: "+err.Error(), "correct the header at the gateway")
	}
	if a.huntGroup = c.Org.HuntGroupOf(a.gateway.Name, a.pilot); a.huntGroup == nil {
		return nil, newRefusal("hunt-group", r.NoHuntGroup,
			fmt.Sprintf("no hunt group of gateway %s has the pilot %q", a.gateway.Name, a.pilot),
			fmt.Sprintf("add to hunt-groups: {name: NAME, pilot: %q, gateway: %s, dial-plan: PLAN}", a.pilot, a.gateway.Name))
	}
	a.plan = c.Org.DialPlanNamed(a.huntGroup.DialPlan)
	if secured := a.plan.VoIPSecurity != org.Unsecured; secured != tx.Secure() {
		return nil, newRefusal("voip-security", r.SecurityMismatch,
			fmt.Sprintf("dial plan %s is %s, and the call came over %s", a.plan.Name, a.plan.VoIPSecurity, transport(tx)),
			fmt.Sprintf("let the gateway use %s, or change voip-security of dial plan %s", map[bool]string{true: "TLS", false: "TCP"}[secured], a.plan.Name))
	}
	if !c.Profile.UM.AlphanumericCaller && !telephone(a.caller.User) && !strings.EqualFold(a.caller.User, "anonymous") {
		return nil, newRefusal("calling-party", r.BadParty,
			fmt.Sprintf("the calling party %q is no number and not Anonymous, which a TelExtn dial plan wants", a.caller.URI),
			"send a number or Anonymous in From")
	}
	if len(diversions) == 0 {
		return a, nil
	}
	return c.callAnswering(a, c.originallyCalled(diversions))
}

func transport(tx *sip.ServerTx) string {
	if tx.Secure() {
		return "TLS"
	}
	return "TCP"
}

// originallyCalled picks the diverting party that names the mailbox.
func (c *Config) originallyCalled(d []sip.Diversion) sip.Diversion {
	if c.Profile.UM.DiversionOrder == "first" {
		return d[0]
	}
	return d[len(d)-1]
}

// callAnswering finds the mailbox of the diverting party.
func (c *Config) callAnswering(a *admitted, d sip.Diversion) (*admitted, *refusal) {
	r := &c.Profile.Refusals
	a.diverted, a.reason = d.User, d.Reason
	if !telephone(d.User) || len(d.User) != a.plan.Digits {
		return nil, newRefusal("diverting-party", r.BadParty,
			fmt.Sprintf("the diverting party %q is no extension of %d digits, which dial plan %s wants", d.URI, a.plan.Digits, a.plan.Name),
			"send the extension in Diversion, or change digits")
	}
	if a.mailbox = c.Org.MailboxOf(a.plan.Name, d.User); a.mailbox == nil {
		return nil, newRefusal("mailbox", r.NotUMEnabled,
			fmt.Sprintf("no UM-enabled mailbox has the extension %s in dial plan %s", d.User, a.plan.Name),
			fmt.Sprintf("add to mailboxes: {name: NAME, address: NAME@%s, extension: %q, dial-plan: %s, server: SERVER}", c.Org.Domain, d.User, a.plan.Name))
	}
	return a, nil
}

// maxDigits is generous: E.164 has 15, an extension at most 20.
const maxDigits = 32

// telephone reports whether a user part is a number.
func telephone(user string) bool {
	digits := strings.TrimPrefix(user, "+")
	return digits != "" && len(digits) <= maxDigits && strings.Trim(digits, "0123456789") == ""
}

func userOf(uri *sip.URI) string {
	user, _, _ := strings.Cut(uri.User, ";")
	return user
}
