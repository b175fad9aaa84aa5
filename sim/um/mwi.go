package um

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// Indicators light the lamps of telephones (RFC 3842): behind each change of a
// mailbox, and each so often, a NOTIFY goes to the first gateway of its dial
// plan that takes it.
type Indicators struct {
	conf      *Config
	mailboxes Mailboxes
	send      Sender

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	dirty map[*org.Mailbox]bool // a change came while its lamp was being set
}

// Sender sends a request outside a dialog from the UM service of a server.
type Sender func(ctx context.Context, from *org.Server, secure bool, r sip.Request) (sip.Reply, trace.Session, error)

// NewIndicators lights nothing yet.
func NewIndicators(conf *Config, mailboxes Mailboxes, send Sender) *Indicators {
	x := &Indicators{conf: conf, mailboxes: mailboxes, send: send, dirty: map[*org.Mailbox]bool{}}
	x.ctx, x.stop = context.WithCancel(context.Background())
	return x
}

// Changed notes that a mailbox is not as it was. It does not wait.
func (x *Indicators) Changed(address string) {
	if m := x.conf.Org.MailboxAt(address); m != nil && x.lights(m) {
		x.light(m)
	}
}

// Refresh sets all lamps anew, each so often, until the indicators are closed.
func (x *Indicators) Refresh() {
	t := time.NewTicker(x.conf.Profile.MWI.Refresh)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-x.ctx.Done():
			return
		}
		for i := range x.conf.Org.Mailboxes {
			x.Changed(x.conf.Org.Mailboxes[i].Address)
		}
	}
}

// lights reports whether a mailbox has a lamp.
func (x *Indicators) lights(m *org.Mailbox) bool {
	return x.conf.Profile.MWI.Supported && m.Extension != "" && !x.conf.Org.PolicyOf(m).NoMWI
}

// light begins to set a lamp, unless that is going on: then it is done again, as
// what is told must be the latest.
func (x *Indicators) light(m *org.Mailbox) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctx.Err() != nil {
		return
	}
	_, going := x.dirty[m]
	x.dirty[m] = going
	if !going {
		x.wg.Go(func() {
			for again := true; again; again = x.again(m) {
				x.set(m)
			}
		})
	}
}

// again reports whether the mailbox has changed meanwhile.
func (x *Indicators) again(m *org.Mailbox) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dirty[m] && x.ctx.Err() == nil {
		x.dirty[m] = false
		return true
	}
	delete(x.dirty, m)
	return false
}

// set tells the gateways of a mailbox in turn, until one has taken it, for some
// minutes.
func (x *Indicators) set(m *org.Mailbox) {
	ctx, cancel := context.WithTimeout(x.ctx, x.conf.Profile.MWI.GiveUp)
	defer cancel()
	src := x.source(m)
	for {
		told, last := x.round(ctx, m, src)
		if told || x.ctx.Err() != nil {
			return
		}
		t := time.NewTimer(x.conf.Profile.MWI.Retry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if x.ctx.Err() == nil {
				src.Record(trace.Session{}, trace.Session{}, plain{"um.mwi_given_up", "why", last}, nil)
			}
			return
		}
	}
}

// round asks each gateway of the dial plan once.
func (x *Indicators) round(ctx context.Context, m *org.Mailbox, src *trace.Source) (told bool, last string) {
	targets := x.conf.Gateways.of(x.conf.Org, m.DialPlan)
	last = "no gateway of dial plan " + m.DialPlan + " takes indications"
	for _, g := range targets {
		if g.object.NoMWI {
			continue
		}
		e, err := x.tell(ctx, m, g)
		if ctx.Err() != nil {
			return false, last
		}
		src.Record(e.session, trace.Session{}, e, nil)
		if err == nil {
			return true, ""
		}
		last = err.Error()
	}
	return false, last
}

// tell is one NOTIFY.
func (x *Indicators) tell(ctx context.Context, m *org.Mailbox, g target) (mwiEvent, error) {
	e := mwiEvent{mailbox: m.Address, gateway: g.object.Name}
	list, err := x.mailboxes.Voice(m.Address)
	if err != nil {
		e.why = err.Error()
		return e, err
	}
	c := count(list)
	e.counts = c.String()
	ctx, cancel := context.WithTimeout(ctx, x.conf.Profile.MWI.Timeout)
	defer cancel()
	account := x.account(m, g)
	r, session, err := x.send(ctx, x.server(m), g.secure, sip.Request{
		To: g.at, Method: "NOTIFY", URI: account, From: "<" + account + ">", ToURI: "<" + account + ">", Contact: "<" + account + ">", Names: true,
		Headers: x.headers(),
		Body:    fmt.Appendf(nil, "Messages-Waiting: %s\r\nMessage-Account: %s\r\nVoice-Message: %s\r\n", c.waiting(), account, c),
	})
	e.session, e.status = session, r.Status
	switch {
	case err != nil:
		e.why = err.Error()
	case r.Status != 200 && r.Status != 480: // both are documented as the answers
		err = fmt.Errorf("NOTIFY was answered %d %s", r.Status, r.Reason)
		e.why = err.Error()
	}
	return e, err
}

// headers are those of a NOTIFY beside its parties.
func (x *Indicators) headers() []string {
	h := &x.conf.Profile.SIP.Headers
	list := []string{h.Event + ": message-summary", h.SubscriptionState + ": terminated"}
	if agent := x.conf.Profile.SIP.ServerAnswer; agent != "" {
		list = append(list, h.UserAgent+": "+agent)
	}
	return append(list, h.ContentType+": application/simple-message-summary")
}

// account is the mailbox's owner as the gateway knows him: the extension, at the
// gateway, or the SIP address.
func (x *Indicators) account(m *org.Mailbox, g target) string {
	plan := x.conf.Org.DialPlanNamed(m.DialPlan)
	if plan.URIType == org.SipName {
		return fmt.Sprintf("sip:%s:%d", cmp.Or(m.SIPAddress, m.Address), g.at.Port())
	}
	host := sip.HostOf(g.at.Addr())
	if g.object.FQDN != "" {
		host = g.object.FQDN
	}
	return fmt.Sprintf("sip:%s@%s:%d", m.Extension, host, g.at.Port())
}

// server is who tells: the server of the mailbox, or the first one with Unified
// Messaging where that is another role's.
func (x *Indicators) server(m *org.Mailbox) *org.Server {
	servers := x.conf.Org.ServersWith(org.Role(x.conf.Profile.RoleOf(UMService)))
	if i := slices.IndexFunc(servers, func(s *org.Server) bool { return s.Name == m.Server }); i >= 0 {
		return servers[i]
	}
	return servers[0]
}

func (x *Indicators) source(m *org.Mailbox) *trace.Source {
	return x.conf.Trace.Source(x.server(m).Name, UMService)
}

// Close ends what is under way.
func (x *Indicators) Close() {
	x.mu.Lock()
	x.stop()
	x.mu.Unlock()
	x.wg.Wait()
}

// counts are the messages of a mailbox as Voice-Message has them.
type counts struct{ fresh, old, urgent, oldUrgent int }

func count(list []VoiceMail) counts {
	var c counts
	for _, v := range list {
		switch {
		case v.Read && v.Urgent:
			c.oldUrgent++
			c.old++
		case v.Read:
			c.old++
		case v.Urgent:
			c.urgent++
			c.fresh++
		default:
			c.fresh++
		}
	}
	return c
}

func (c counts) waiting() string {
	if c.fresh > 0 {
		return "yes"
	}
	return "no"
}

// String is "new/old", with the urgent ones among them in brackets if there
// are any (RFC 3842 §5.2).
func (c counts) String() string {
	s := fmt.Sprintf("%d/%d", c.fresh, c.old)
	if c.urgent+c.oldUrgent > 0 {
		s += fmt.Sprintf(" (%d/%d)", c.urgent, c.oldUrgent)
	}
	return s
}

// target is where a gateway is asked now.
type target struct {
	object *org.UMIPGateway
	at     netip.AddrPort
	secure bool
	status org.Status
}

// of lists the gateways of a dial plan that are enabled and have an address, in
// the order of their hunt groups.
func (gs *Gateways) of(o *org.Organisation, plan string) []target {
	gs.mu.RLock()
	defer gs.mu.RUnlock()
	var list []target
	for _, h := range o.HuntGroups {
		if h.DialPlan != plan || slices.ContainsFunc(list, func(t target) bool { return t.object.Name == h.Gateway }) {
			continue
		}
		i := slices.IndexFunc(gs.list, func(g *gateway) bool { return strings.EqualFold(g.object.Name, h.Gateway) })
		if i < 0 || gs.list[i].status == org.Disabled || len(gs.list[i].addrs) == 0 {
			continue
		}
		list = append(list, gs.target(gs.list[i]))
	}
	return list
}

// callable are the gateways of a dial plan that take new calls.
func (gs *Gateways) callable(o *org.Organisation, plan string) []target {
	return slices.DeleteFunc(gs.of(o, plan), func(t target) bool { return t.object.NoOutcalls || t.status != org.Enabled })
}

// target is where a gateway is reached; gs.mu is held.
func (gs *Gateways) target(g *gateway) target {
	return target{g.object, netip.AddrPortFrom(g.addrs[0], g.object.Port), gs.org.Secured(g.object), g.status}
}
