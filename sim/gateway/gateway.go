// Package gateway is a simulated IP gateway: it places diverted calls, follows
// redirects, talks, presses keys and hangs up. With a planted fault it does one
// of these things wrong.
package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
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
	// NoReport accepts a REFER and reports nothing.
	NoReport Fault = "no-report"
	// DigitsByINFO sends keys by INFO, DigitsInBand as tones in the audio.
	DigitsByINFO Fault = "digits-by-info"
	DigitsInBand Fault = "digits-in-band"
	// UDPBehindRedirect sends the INVITE behind a redirect by UDP.
	UDPBehindRedirect Fault = "udp-behind-redirect"
	// OtherPayloadType sends telephone events with a payload type that was not
	// agreed on.
	OtherPayloadType Fault = "other-payload-type"
	// Muted sends silence in place of what is said.
	Muted Fault = "muted"
	// SDPIn180 sends a 180 with a description behind the 183 with one.
	SDPIn180 Fault = "sdp-in-180"
	// IgnoresReplaces finds no call that a REFER wants replaced.
	IgnoresReplaces Fault = "ignores-replaces"
	// UnroutableREFER accepts a REFER and finds no route to its target.
	UnroutableREFER Fault = "unroutable-refer"
)

// methods are those that a gateway serves.
var methods = []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "NOTIFY", "REFER"}

// allow is the header that says so.
var allow = "Allow: " + strings.Join(methods, ", ")

// Config describes a gateway.
type Config struct {
	Name    string
	Address netip.Addr         // that it calls from
	Other   netip.Addr         // for OtherAddress
	Port    uint16             // for AssumesPort
	Faults  func(f Fault) bool // nil for none; it is asked each time
	// Refuse, if set, says with which status a request is refused, 0 for none.
	Refuse func(method string) (status int)
	// MaxRedirects bounds how many redirects a call follows; 0 means 5.
	MaxRedirects int

	Calls        *sip.Calls // shared with the organisation under test
	Trace        *trace.Log
	Rand         func() uint64
	Listen       func(at netip.AddrPort) (net.Listener, error)
	ListenPacket func(at netip.AddrPort) (net.PacketConn, error)
	Dial         func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	Tap          rtp.Tap      // of its media, nil for none
	Secrets      *rtp.Secrets // shared with the organisation under test
	// Lookup, if set, finds the addresses of names in redirects.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Secure says that Listen and Dial speak TLS.
	Secure bool
	// SRTP offers SRTP and nothing else.
	SRTP bool
	// Answers says that calls to the gateway ring until Answer takes them;
	// without it they are refused.
	Answers bool
	// Behind is the border controller in front of it, if there is one: numbers at
	// that address are telephones of the gateway, too.
	Behind netip.Addr
	// Telephone, if set, says how a telephone behind the gateway answers a call
	// that was transferred to it: 200, or the status of a refusal.
	Telephone func(number string) (status int)
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
	ctx   context.Context // ends with the gateway
	stop  context.CancelFunc

	rang chan struct{} // there may be something in rings

	mu     sync.Mutex
	calls  map[*Call]struct{}
	rings  []*sip.ServerTx // INVITEs that wait for Answer
	worker string          // Request-URI that was answered last, for RemembersWorker
}

// Start brings up a gateway.
func Start(conf Config) (*Gateway, error) {
	if conf.MaxRedirects == 0 {
		conf.MaxRedirects = 5
	}
	g := &Gateway{conf: conf, addr: conf.Address, src: conf.Trace.Source(conf.Name, "ip-gateway"), rang: make(chan struct{}, 1), calls: map[*Call]struct{}{}}
	g.ctx, g.stop = context.WithCancel(context.Background())
	if g.has(OtherAddress) {
		g.addr = conf.Other
	}
	ln, err := conf.Listen(netip.AddrPortFrom(g.addr, 0))
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", conf.Name, err)
	}
	if g.local, err = netip.ParseAddrPort(ln.Addr().String()); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", conf.Name, err)
	}
	if g.media, err = rtp.New(rtp.Config{Listen: conf.ListenPacket, Rand: conf.Rand, Tap: conf.Tap, Secrets: conf.Secrets}); err != nil {
		_ = ln.Close()
		return nil, err
	}
	g.ep = sip.New(sip.Config{
		Handler: sip.HandlerFunc(g.serve), Allow: methods,
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

func (g *Gateway) has(f Fault) bool { return g.conf.Faults != nil && g.conf.Faults(f) }

// maxRedirects is how many redirects a call follows.
func (g *Gateway) maxRedirects() int {
	switch {
	case g.has(NoRedirect):
		return 0
	case g.has(OneRedirect):
		return 1
	}
	return g.conf.MaxRedirects
}

// serve answers OPTIONS, and lets calls ring.
func (g *Gateway) serve(tx *sip.ServerTx) {
	switch {
	case g.refuses(tx):
	case tx.Method() == "INVITE" && g.conf.Answers:
		g.ring(tx)
	case tx.Method() == "NOTIFY":
		g.lamp(tx)
	case tx.Method() != "OPTIONS":
		tx.Respond(sip.Response{Status: 480, Reason: "Temporarily Unavailable"})
	case g.has(NoOptions):
		tx.Respond(sip.Response{Status: 405, Reason: "Method Not Allowed"})
	default:
		tx.Respond(sip.Response{Status: 200, Reason: "OK"})
	}
}

// refuses reports whether a request was refused on purpose.
func (g *Gateway) refuses(tx *sip.ServerTx) bool {
	if g.conf.Refuse == nil {
		return false
	}
	status := g.conf.Refuse(tx.Method())
	if status != 0 {
		tx.Respond(sip.Response{Status: status, Reason: sip.Reason(status)})
	}
	return status != 0
}

// Addr is where others call the gateway.
func (g *Gateway) Addr() netip.AddrPort { return g.local }

// Options asks a server for OPTIONS and returns the status of its answer.
func (g *Gateway) Options(ctx context.Context, to netip.AddrPort) (status int, err error) {
	r, err := g.ep.Options(ctx, to, fmt.Sprintf("sip:%s;transport=%s", to, g.conf.transport()), fmt.Sprintf("<sip:%s>", sip.HostOf(g.addr)))
	return r.Status, err
}

// Exactness is what the gateway itself adds to jitter and loss.
func (g *Gateway) Exactness() rtp.Exactness { return g.media.Exactness() }

// Close ends calls and listeners.
func (g *Gateway) Close() error {
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	err := g.ep.Close()
	g.wg.Wait()
	if merr := g.media.Close(); err == nil {
		err = merr
	}
	return err
}
