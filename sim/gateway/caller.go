package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// CallParams describe a call to place.
type CallParams struct {
	Routers  []netip.AddrPort // call routers, tried in order
	Dial     string           // pilot
	Caller   string           // number of the caller
	Name     string           // display name of the caller, "" for none
	Diverted string           // extension that the call was diverted from, "" for none
	Reason   string           // of the diversion
	// Session is the session interval that the gateway asks for, 0 for none.
	Session time.Duration
	// LateOffer leaves the offer to the other side: the INVITE has none, the
	// ACK has the answer.
	LateOffer bool
	// Raw, if set, makes the octets of each INVITE from what it would be.
	Raw func(invite []byte) []byte
}

// Call places a call and waits for the final answer, following redirects. A
// call that is not answered with 2xx is an error that says how far it came.
func (g *Gateway) Call(ctx context.Context, p CallParams) (*Call, error) {
	callID, tag := fmt.Sprintf("%016x@%s", g.conf.Rand(), sip.HostOf(g.addr)), fmt.Sprintf("%08x", uint32(g.conf.Rand()))
	c := newCall(g)
	c.session = g.conf.Calls.Name(callID, tag)
	stream, err := g.media.Open(g.addr, c.session, g.src)
	if err != nil {
		return c, err
	}
	c.stream = stream
	if g.conf.SRTP {
		c.keys = newKeys()
	}
	answer, inv, err := g.place(ctx, p, c, callID, tag)
	if err == nil && answer.Dialog == nil {
		err = fmt.Errorf("answered %d %s", answer.Status, answer.Reason)
	}
	if err != nil {
		stream.Close()
		g.src.Record(c.session, trace.Session{}, failed{status: answer.Status, why: err.Error(), hops: int(inv.CSeq)}, nil)
		return c, err
	}
	c.dialog = answer.Dialog
	close(c.ready)
	c.dialog.KeepSession(answer.SessionTimer(), func(ctx context.Context, headers []string) (sip.Reply, error) {
		return c.dialog.Request(ctx, "UPDATE", headers, nil)
	})
	g.mu.Lock()
	g.worker = inv.URI
	g.mu.Unlock()
	g.src.Record(c.session, trace.Session{}, answered{contact: answer.Contact, hops: int(inv.CSeq)}, nil)
	if p.LateOffer {
		return c, c.startMedia(c.late)
	}
	return c, c.agree(answer.Body)
}

// place tries the call routers in turn: the next one where one refuses for now
// or cannot be reached (RFC 3263 §4.3).
func (g *Gateway) place(ctx context.Context, p CallParams, c *Call, callID, tag string) (a sip.Answer, inv *sip.Invite, err error) {
	tries := uint32(0)
	for i, router := range p.Routers {
		if g.has(CallsElsewhere) {
			router = netip.AddrPortFrom(router.Addr(), discard)
		}
		inv = g.invite(p, router, c)
		inv.CallID, inv.FromTag, inv.CSeq = callID, tag, tries
		c.contact = inv.Contact
		a, err = g.try(ctx, inv, i == len(p.Routers)-1 || g.has(OneRouter))
		tries = inv.CSeq
		if a.Dialog != nil || g.has(OneRouter) || i == len(p.Routers)-1 || err == nil && a.Status != 503 || ctx.Err() != nil {
			break
		}
	}
	return a, inv, err
}

// answerTimeout is how long a call router may take where there is another one.
const answerTimeout = 4 * time.Second

// try places a call at one call router.
func (g *Gateway) try(ctx context.Context, inv *sip.Invite, last bool) (sip.Answer, error) {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerTimeout)
		defer cancel()
	}
	return g.follow(ctx, inv)
}

// invite is the first INVITE of a call.
func (g *Gateway) invite(p CallParams, to netip.AddrPort, c *Call) *sip.Invite {
	from := fmt.Sprintf("<sip:%s@%s>", p.Caller, sip.HostOf(g.addr))
	if p.Name != "" {
		from = `"` + strings.ReplaceAll(p.Name, `"`, `'`) + `" ` + from
	}
	if g.has(KeepsPrefix) {
		p.Dial = "9" + p.Dial
	}
	uri := fmt.Sprintf("sip:%s@%s;transport=%s", p.Dial, to, g.conf.transport())
	inv := &sip.Invite{
		To: to, URI: uri, From: from, ToURI: fmt.Sprintf("<sip:%s@%s>", p.Dial, sip.HostOf(to.Addr())),
		Contact: fmt.Sprintf("<sip:%s@%s;transport=%s>", p.Caller, g.local, g.conf.transport()),
		Body:    c.offer(), Handler: c, Raw: p.Raw,
		Headers: []string{allow, "Supported: timer"},
	}
	if p.LateOffer {
		inv.Body, inv.Answer = nil, c.answer
	}
	if p.Session != 0 {
		inv.Headers = append(inv.Headers, sessionExpires(p.Session))
	}
	if p.Diverted != "" && !g.has(NoDiversion) {
		name := ""
		if g.has(UnbalancedDiversion) {
			name = `"` + p.Diverted + " "
		}
		inv.Headers = append(inv.Headers, diversion+fmt.Sprintf(" %s<tel:%s>;reason=%s;screen=no;privacy=off", name, p.Diverted, p.Reason))
	}
	return inv
}

const diversion = "Diversion:"

// discard is a port where nobody listens (RFC 863).
const discard = 9

// follow sends the INVITE and follows redirects, each to the Contact's address
// with the same Call-ID and From tag.
func (g *Gateway) follow(ctx context.Context, inv *sip.Invite) (sip.Answer, error) {
	if err := g.skip(inv); err != nil {
		return sip.Answer{}, err
	}
	raised := false
	for hops := 0; ; hops++ {
		a, err := g.ep.Invite(ctx, inv)
		if err == nil && a.Status == 422 && a.MinSE() != 0 && !raised && !g.has(IgnoresMinSE) {
			raised = true
			hops--
			inv.Headers = slices.DeleteFunc(inv.Headers, func(h string) bool {
				return strings.HasPrefix(h, "Session-Expires:") || strings.HasPrefix(h, "Min-SE:")
			})
			inv.Headers = append(inv.Headers, sessionExpires(a.MinSE()), fmt.Sprintf("Min-SE: %d", int(a.MinSE().Seconds())))
			continue // RFC 4028 §7.3
		}
		if err != nil || a.Status/100 != 3 {
			return a, err
		}
		if hops >= g.maxRedirects() {
			return a, fmt.Errorf("gave up at redirect %d", hops+1)
		}
		to, err := g.locate(ctx, a.Contact)
		if err != nil {
			return a, fmt.Errorf("redirect %d: %w", hops+1, err)
		}
		if g.has(AssumesPort) && hops == 1 {
			to = netip.AddrPortFrom(to.Addr(), g.conf.Port)
		}
		inv.To, inv.URI = to, a.Contact
		if g.has(UDPBehindRedirect) {
			return a, g.datagram(inv)
		}
		if g.has(DropDiversion) {
			inv.Headers = slices.DeleteFunc(inv.Headers, func(h string) bool { return strings.HasPrefix(h, diversion) })
		}
	}
}

// datagram sends an INVITE by UDP, where nobody listens, and says so: no answer
// comes.
func (g *Gateway) datagram(inv *sip.Invite) error {
	pc, err := g.conf.ListenPacket(netip.AddrPortFrom(g.addr, 0))
	if err != nil {
		return err
	}
	defer pc.Close()
	text := fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%016x\r\nMax-Forwards: 70\r\nFrom: %s;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: %d INVITE\r\nContact: %s\r\nContent-Length: 0\r\n\r\n",
		inv.URI, pc.LocalAddr(), g.conf.Rand(), inv.From, inv.FromTag, inv.URI, inv.CallID, inv.CSeq+1, inv.Contact)
	if _, err := pc.WriteTo([]byte(text), net.UDPAddrFromAddrPort(inv.To)); err != nil {
		return err
	}
	return errors.New("the INVITE behind the redirect went by UDP, and nobody answers there")
}

// locate finds where a URI points: its host may be a name.
func (g *Gateway) locate(ctx context.Context, uri string) (netip.AddrPort, error) {
	host, port, err := sip.URITarget(uri)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := netip.ParseAddr(host); err == nil || g.conf.Lookup == nil {
		return sip.URIAddr(uri)
	}
	addrs, err := g.conf.Lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("the name %s of the Contact has no address: %w", host, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), port), nil
}

// skip sends an INVITE to the worker of the last call, with the fault for it.
func (g *Gateway) skip(inv *sip.Invite) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.has(RemembersWorker) || g.worker == "" {
		return nil
	}
	to, err := sip.URIAddr(g.worker)
	inv.To, inv.URI = to, g.worker
	return err
}

func sessionExpires(d time.Duration) string {
	return fmt.Sprintf("Session-Expires: %d", int(d.Seconds()))
}
