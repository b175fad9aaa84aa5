package um

import (
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sip"
)

// kind is what a call is for, named as in Unified Messaging's own call data.
type kind string

const (
	callAnswering    kind = "call-answering"
	subscriberAccess kind = "subscriber-access"
	autoAttendant    kind = "auto-attendant"
	playOnPhone      kind = "play-on-phone"
	consultation     kind = "consultation" // the second leg of a supervised transfer
	pilotNumber      kind = "pilot"        // the caller is nobody's, and no mailbox is named
)

// admitted is what a call is known to be: all of it once it passed every check.
type admitted struct {
	gateway   *org.UMIPGateway
	huntGroup *org.HuntGroup
	plan      *org.DialPlan
	pilot     string // dialled user
	caller    sip.Party
	diversion *sip.Diversion // nil: the call was not diverted
	kind      kind
	mailbox   *org.Mailbox   // of call answering and subscriber access
	attendant *org.Attendant // of an auto attendant
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
// party. With a refusal comes what was known until then.
func (c *Config) judge(tx *sip.ServerTx) (*admitted, *refusal) {
	a := &admitted{pilot: userOf(tx.Recipient())}
	for _, check := range []func(tx *sip.ServerTx, a *admitted) *refusal{c.judgeGateway, c.judgeHeaders, c.judgeDialPlan, c.judgeCaller, c.judgePurpose} {
		if no := check(tx, a); no != nil {
			return a, no
		}
	}
	return a, nil
}

// judgeGateway finds the gateway object, by address or certificate.
func (c *Config) judgeGateway(tx *sip.ServerTx, a *admitted) *refusal {
	peer := tx.Peer().Addr()
	gateway, status := c.Gateways.At(peer, tx.Identity())
	if a.gateway = gateway; gateway == nil {
		key, value := "address", peer.String()
		if tx.Identity() != "" {
			key, value = "fqdn", tx.Identity()
		}
		return newRefusal("gateway", c.Profile.Refusals.UnknownGateway,
			fmt.Sprintf("no UM IP gateway has the %s %s", key, value),
			fmt.Sprintf("add to gateways: {name: NAME, %s: %s, dial-plan: PLAN}", key, value))
	}
	if status != org.Enabled {
		return newRefusal("gateway-status", c.Profile.Refusals.GatewayDisabled,
			fmt.Sprintf("gateway %s is %s", a.gateway.Name, status), "status: Enabled in the organisation; or the step gateway, or typed into exsim up: gateway "+a.gateway.Name+" Enabled")
	}
	return nil
}

// judgeHeaders reads who calls, and whom the call was for.
func (c *Config) judgeHeaders(tx *sip.ServerTx, a *admitted) (no *refusal) {
	bad := c.Profile.Refusals.BadHeader
	var err error
	if a.diversion, err = c.diverted(tx, a.pilot); err != nil {
		return newRefusal("headers", bad, err.Error(), "correct the header at the gateway")
	}
	if a.caller, err = sip.ParseParty(tx.From()); err != nil {
		return newRefusal("headers", bad, "From: "+err.Error(), "correct the header at the gateway")
	}
	if !c.Profile.UM.CheckCalledHost {
		return nil
	}
	called, err := sip.ParseParty(tx.To())
	if err != nil {
		return newRefusal("headers", bad, "To: "+err.Error(), "correct the header at the gateway")
	}
	if !c.ours(called.Host) {
		return newRefusal("called-host", c.Profile.Refusals.WrongHost,
			fmt.Sprintf("To names the host %q, which is not of this organisation", called.Host), "let the gateway write "+c.Org.Domain+" or a server's name in To")
	}
	return nil
}

// ours reports whether a host is the organisation's: its domain, or a server.
func (c *Config) ours(host string) bool {
	return strings.EqualFold(host, c.Org.Domain) || slices.ContainsFunc(c.Org.Servers, func(s org.Server) bool {
		return strings.EqualFold(host, s.FQDN) || host == s.Public().String()
	})
}

// judgeDialPlan finds the hunt group and its dial plan, which may want TLS.
func (c *Config) judgeDialPlan(tx *sip.ServerTx, a *admitted) *refusal {
	r := &c.Profile.Refusals
	if a.huntGroup = c.Org.HuntGroupOf(a.gateway.Name, a.pilot); a.huntGroup == nil {
		return newRefusal("hunt-group", r.NoHuntGroup,
			fmt.Sprintf("no hunt group of gateway %s has the pilot %q", a.gateway.Name, a.pilot),
			fmt.Sprintf("add to hunt-groups: {name: NAME, pilot: %q, gateway: %s, dial-plan: PLAN}", a.pilot, a.gateway.Name))
	}
	a.plan = c.Org.DialPlanNamed(a.huntGroup.DialPlan)
	if secured := a.plan.VoIPSecurity != org.Unsecured; secured != tx.Secure() {
		return newRefusal("voip-security", r.SecurityMismatch,
			fmt.Sprintf("dial plan %s is %s, and the call came over %s", a.plan.Name, a.plan.VoIPSecurity, transport(tx)),
			fmt.Sprintf("let the gateway use %s, or change voip-security of dial plan %s", map[bool]string{true: "TLS", false: "TCP"}[secured], a.plan.Name))
	}
	return nil
}

func transport(tx *sip.ServerTx) string {
	if tx.Secure() {
		return "TLS"
	}
	return "TCP"
}

// judgeCaller wants the calling party in the form of the dial plan.
func (c *Config) judgeCaller(_ *sip.ServerTx, a *admitted) *refusal {
	lacks := mayCall(a.plan, a.caller)
	if lacks == "" || c.Profile.UM.AlphanumericCaller {
		return nil
	}
	return newRefusal("calling-party", c.Profile.Refusals.BadParty, fmt.Sprintf("the calling party %q %s", a.caller.URI, lacks), "send a number or Anonymous in From")
}

// judgePurpose tells what the call is for: whom it was diverted from decides,
// then what was dialled, then who calls.
func (c *Config) judgePurpose(_ *sip.ServerTx, a *admitted) *refusal {
	called := a.pilot
	if a.diversion != nil {
		called = a.diversion.User
	}
	if a.attendant = c.Org.AttendantOf(a.plan.Name, called); a.attendant != nil {
		a.kind = autoAttendant
		return nil
	}
	if a.diversion != nil {
		a.kind = callAnswering
		return c.judgeDiverted(a)
	}
	a.kind = pilotNumber
	if a.mailbox = c.mailboxOf(a.plan, a.caller); a.mailbox != nil {
		a.kind = subscriberAccess
	}
	return nil
}

// judgeDiverted finds the mailbox of the diverting party.
func (c *Config) judgeDiverted(a *admitted) *refusal {
	r, d := &c.Profile.Refusals, a.diversion
	if lacks := mayDivert(a.plan, d.Party); lacks != "" {
		return newRefusal("diverting-party", r.BadParty, fmt.Sprintf("the diverting party %q %s", d.URI, lacks), "send the extension in Diversion, or change digits")
	}
	if a.mailbox = c.mailboxOf(a.plan, d.Party); a.mailbox == nil {
		return newRefusal("mailbox", r.NotUMEnabled,
			fmt.Sprintf("no UM-enabled mailbox has the extension %s in dial plan %s", d.User, a.plan.Name),
			fmt.Sprintf("add to mailboxes: {name: NAME, address: NAME@%s, extension: %q, dial-plan: %s, server: SERVER}", c.Org.Domain, d.User, a.plan.Name))
	}
	return nil
}

func userOf(uri *sip.URI) string {
	user, _, _ := strings.Cut(uri.User, ";")
	return user
}
