// Package gateway is a simulated IP gateway: it places diverted calls, follows
// redirects, talks, presses keys and hangs up. With a planted fault it does one
// of these things wrong.
package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// Fault is something that a gateway does wrong.
type Fault string

// The faults that can be planted.
const (
	// DropDiversion leaves Diversion out of the INVITE behind a redirect.
	DropDiversion Fault = "drop-diversion"
	// NoDiversion leaves Diversion out of every INVITE.
	NoDiversion Fault = "no-diversion"
	// OtherAddress calls from Config.Other instead of Config.Address.
	OtherAddress Fault = "other-address"
	// NoMedia sends no RTP.
	NoMedia Fault = "no-media"
	// NoRedirect gives up at the first redirect, OneRedirect at the second.
	NoRedirect  Fault = "no-redirect"
	OneRedirect Fault = "one-redirect"
	// UnbalancedDiversion opens a quote in Diversion and does not close it.
	UnbalancedDiversion Fault = "unbalanced-diversion"
	// KeepsPrefix leaves a trunk prefix, 9, in front of the pilot.
	KeepsPrefix Fault = "keeps-prefix"
	// MediaElsewhere sends RTP to port 9, whatever the SDP says.
	MediaElsewhere Fault = "media-elsewhere"
	// RemembersWorker sends the INVITE of a later call straight to the worker
	// that took the last one.
	RemembersWorker Fault = "remembers-worker"
	// NoOptions answers OPTIONS with 405.
	NoOptions Fault = "no-options"
	// ClosedPort listens nowhere: nobody can ask it for OPTIONS.
	ClosedPort Fault = "closed-port"
	// CallsElsewhere calls port 9 in place of the trunk's.
	CallsElsewhere Fault = "calls-elsewhere"
	// OneRouter gives up where the first call router refuses or is dead.
	OneRouter Fault = "one-router"
	// NoAnswerInACK leaves the answer to a late offer out of the ACK.
	NoAnswerInACK Fault = "no-answer-in-ack"
	// IgnoresMinSE gives up where the session interval is refused by 422.
	IgnoresMinSE Fault = "ignores-min-se"
	// AssumesPort sends the INVITE behind the second redirect to Config.Port,
	// whatever the Contact says.
	AssumesPort Fault = "assumes-port"
)

// Config describes a gateway.
type Config struct {
	Name    string
	Address netip.Addr // that it calls from
	Other   netip.Addr // for OtherAddress
	Port    uint16     // for AssumesPort
	Faults  []Fault
	// MaxRedirects bounds how many redirects a call follows; 0 means 5.
	MaxRedirects int

	Calls        *sip.Calls // shared with the organisation under test
	Trace        *trace.Log
	Rand         func() uint64
	Listen       func(at netip.AddrPort) (net.Listener, error)
	ListenPacket func(at netip.AddrPort) (net.PacketConn, error)
	Dial         func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	// Secure says that Listen and Dial speak TLS.
	Secure bool
	// SRTP offers SRTP and nothing else.
	SRTP bool
}

// transport is the value of the URI parameter.
func (c *Config) transport() string {
	if c.Secure {
		return "tls"
	}
	return "tcp"
}

// Gateway is a running gateway.
type Gateway struct {
	conf  Config
	addr  netip.Addr
	local netip.AddrPort // where it listens
	ep    *sip.Endpoint
	media *rtp.Engine
	src   *trace.Source
	wg    sync.WaitGroup

	mu     sync.Mutex
	worker string // Request-URI that was answered last, for RemembersWorker
}

// Start brings up a gateway.
func Start(conf Config) (*Gateway, error) {
	if conf.MaxRedirects == 0 {
		conf.MaxRedirects = 5
	}
	g := &Gateway{conf: conf, addr: conf.Address, src: conf.Trace.Source(conf.Name, "ip-gateway")}
	if g.has(OtherAddress) {
		g.addr = conf.Other
	}
	switch {
	case g.has(NoRedirect):
		g.conf.MaxRedirects = 0
	case g.has(OneRedirect):
		g.conf.MaxRedirects = 1
	}
	ln, err := conf.Listen(netip.AddrPortFrom(g.addr, 0))
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", conf.Name, err)
	}
	if g.local, err = netip.ParseAddrPort(ln.Addr().String()); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", conf.Name, err)
	}
	if g.media, err = rtp.New(rtp.Config{Listen: conf.ListenPacket, Rand: conf.Rand}); err != nil {
		_ = ln.Close()
		return nil, err
	}
	g.ep = sip.New(sip.Config{
		Handler: sip.HandlerFunc(g.serve), Allow: []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "NOTIFY"},
		Transport: strings.ToUpper(conf.transport()),
		Rand:      conf.Rand, Calls: conf.Calls, Trace: g.src,
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return conf.Dial(ctx, g.addr, to) },
	})
	if g.has(ClosedPort) {
		_ = ln.Close()
	}
	g.wg.Go(func() { _ = g.ep.Serve(ln) })
	return g, nil
}

func (g *Gateway) has(f Fault) bool { return slices.Contains(g.conf.Faults, f) }

// serve answers OPTIONS; a gateway for voice mail takes no calls.
func (g *Gateway) serve(tx *sip.ServerTx) {
	if tx.Method() == "OPTIONS" {
		if g.has(NoOptions) {
			tx.Respond(sip.Response{Status: 405, Reason: "Method Not Allowed"})
			return
		}
		tx.Respond(sip.Response{Status: 200, Reason: "OK"})
		return
	}
	tx.Respond(sip.Response{Status: 480, Reason: "Temporarily Unavailable"})
}

// Options asks a server for OPTIONS and returns the status of its answer.
func (g *Gateway) Options(ctx context.Context, to netip.AddrPort) (status int, err error) {
	r, err := g.ep.Options(ctx, to, fmt.Sprintf("sip:%s;transport=%s", to, g.conf.transport()), fmt.Sprintf("<sip:%s>", sip.HostOf(g.addr)))
	return r.Status, err
}

// Lateness is how far behind the gateway's sending clock was.
func (g *Gateway) Lateness() rtp.Lateness { return g.media.Lateness() }

// Close ends calls and listeners.
func (g *Gateway) Close() error {
	err := g.ep.Close()
	g.wg.Wait()
	if merr := g.media.Close(); err == nil {
		err = merr
	}
	return err
}

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
}

// Call is a call that was answered.
type Call struct {
	g       *Gateway
	dialog  *sip.Dialog
	stream  *rtp.Stream
	session trace.Session
	ended   chan struct{}
	once    sync.Once

	keys []sdp.Crypto // ours, of SRTP
	late sdp.Agreed   // from the offer of the other side

	mu     sync.Mutex
	talked []byte
}

// Session names the call; it is set also if the call failed.
func (c *Call) Session() trace.Session { return c.session }

// Call places a call and waits for the final answer, following redirects. A
// call that is not answered with 2xx is an error that says how far it came.
func (g *Gateway) Call(ctx context.Context, p CallParams) (*Call, error) {
	callID, tag := fmt.Sprintf("%016x@%s", g.conf.Rand(), sip.HostOf(g.addr)), fmt.Sprintf("%08x", uint32(g.conf.Rand()))
	c := &Call{g: g, session: g.conf.Calls.Name(callID, tag), ended: make(chan struct{})}
	stream, err := g.media.Open(g.addr, c.session, g.src)
	if err != nil {
		return c, err
	}
	c.stream = stream
	if g.conf.SRTP {
		c.keys = sdp.NewKeys("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
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
		a, err = g.follow(ctx, inv)
		tries = inv.CSeq
		if a.Dialog != nil || g.has(OneRouter) || i == len(p.Routers)-1 || err == nil && a.Status != 503 || ctx.Err() != nil {
			break
		}
	}
	return a, inv, err
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
		Body:    c.offer(), Handler: c,
		Headers: []string{"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY", "Supported: timer"},
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
		if hops == g.conf.MaxRedirects {
			return a, fmt.Errorf("gave up at redirect %d", hops+1)
		}
		to, err := sip.URIAddr(a.Contact)
		if err != nil {
			return a, fmt.Errorf("redirect %d: %w", hops+1, err)
		}
		if g.has(AssumesPort) && hops == 1 {
			to = netip.AddrPortFrom(to.Addr(), g.conf.Port)
		}
		inv.To, inv.URI = to, a.Contact
		if g.has(DropDiversion) {
			inv.Headers = slices.DeleteFunc(inv.Headers, func(h string) bool { return strings.HasPrefix(h, diversion) })
		}
	}
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

// Acknowledged is part of sip.DialogHandler; a caller sends ACKs.
func (c *Call) Acknowledged([]byte) {}

// Request answers what comes in the dialog.
func (c *Call) Request(tx *sip.ServerTx) {
	if tx.Method() == "INVITE" {
		tx.Respond(sip.Response{Status: 488, Reason: "Not Acceptable Here"})
		return
	}
	tx.Respond(sip.Response{Status: 200, Reason: "OK"})
}

// Ended frees the media of the call.
func (c *Call) Ended(how sip.End) {
	c.once.Do(func() {
		c.stream.Close()
		c.g.src.Record(c.session, trace.Session{}, hungUp{string(how)}, nil)
		close(c.ended)
	})
}

// Hangup sends BYE and waits for its answer.
func (c *Call) Hangup(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil // the other side was first
	default:
	}
	r, err := c.dialog.Hangup(ctx)
	if err == nil && r.Status != 200 {
		err = fmt.Errorf("BYE was answered %d %s", r.Status, r.Reason)
	}
	return err
}

// Wait waits until the call is over, from whichever side.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
