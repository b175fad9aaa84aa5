// Package ends is the two ends of a path probe: one listens where a plan's
// server would, the other connects as its peers do, and each writes down what
// it sent and what it received.
package ends

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
	"github.com/exsim/exsim/sim/profile"
)

// Config describes an end.
type Config struct {
	Plan *paths.Plan
	Host *paths.Host // that this end stands for
	// Secret is what both ends know, at least 16 octets. Without it the ends
	// know one another by certificates of a lab's authority.
	Secret    []byte
	Authority *admit.Authority
	// Offset is added to every port, to try a plan without privileges on one
	// machine.
	Offset uint16
	Limits Limits
	Full   bool // every port of a range, not a sample
	Log    *record.Log
	// Say, if set, is told what happens, a line at a time.
	Say func(text string)
	// Dial and ListenPacket, if set, open the sockets that probes leave by, such as
	// those behind a simulated middlebox.
	Dial         func(ctx context.Context, f *paths.Flow, to netip.AddrPort) (net.Conn, error)
	ListenPacket func(at netip.AddrPort) (net.PacketConn, error)
}

// Limits keep the probes harmless.
type Limits struct {
	Rate    float64       // new flows a second; 0 means 200, negative none
	Open    int           // flows open at once; 0 means 2000
	Timeout time.Duration // for a connection, and for an answer; 0 means 3 s
	Tries   int           // of a datagram; 0 means 3
}

// The limits outside the loopback.
const (
	defaultRate = 200
	defaultOpen = 2000
)

func (l Limits) filled(loopback bool) Limits {
	if l.Rate == 0 {
		l.Rate = defaultRate
		if loopback {
			l.Rate = -1
		}
	}
	if l.Open <= 0 {
		l.Open = defaultOpen
	}
	if l.Timeout <= 0 {
		l.Timeout = 3 * time.Second
	}
	if l.Tries <= 0 {
		l.Tries = 3
	}
	return l
}

// MinSecret is the shortest shared secret.
const MinSecret = 16

// End is one end of a plan's probes.
type End struct {
	conf  Config
	flows map[string]*paths.Flow
	key   []byte
	mint  *mint // of the key
	cert  tls.Certificate
	facts *profile.Profile

	contact string
	inboxes map[string]*inbox // of exsim listen --alone, by transport and address
	pace    pacer
	busy    time.Duration // that probes took
	serving sync.Mutex    // held while a control connection is served
}

// New makes an end.
func New(conf Config) (*End, error) {
	e := &End{conf: conf, flows: map[string]*paths.Flow{}, contact: conf.Plan.Contact}
	if conf.Secret == nil && conf.Authority == nil {
		return nil, errors.New("ends: neither a secret nor certificates: how are the ends to know one another?")
	}
	if conf.Secret != nil {
		if len(conf.Secret) < MinSecret {
			return nil, fmt.Errorf("ends: the secret has %d characters; %d at least", len(conf.Secret), MinSecret)
		}
		h := hmac.New(sha256.New, conf.Secret)
		h.Write([]byte("exsim paths " + conf.Plan.Digest()))
		e.setKey(h.Sum(nil))
	}
	flows, _ := conf.Plan.Flows()
	loopback := true
	if high := 65535 - int(conf.Offset); int(conf.Plan.Control) > high {
		return nil, fmt.Errorf("ends: with an offset of %d there is no port %d+%d", conf.Offset, conf.Plan.Control, conf.Offset)
	}
	for _, f := range flows {
		if last := f.Ports.Last(); int(last)+int(conf.Offset) > 65535 && !f.IsSampled() && f.Expect == paths.Open {
			return nil, fmt.Errorf("ends: with an offset of %d there is no port %d+%d (%s)", conf.Offset, last, conf.Offset, f.ID)
		}
		e.flows[f.ID] = f
		loopback = loopback && f.Source.IsLoopback() && f.Target.IsLoopback()
	}
	e.conf.Limits = conf.Limits.filled(loopback)
	e.pace.init(e.conf.Limits)
	lab, err := admit.NewAuthority()
	if err != nil {
		return nil, err
	}
	if e.cert, err = lab.Issue(admit.Request{Names: []string{conf.Host.Name}}); err != nil {
		return nil, err
	}
	e.facts, err = facts(conf.Plan.Exchange)
	return e, err
}

func (e *End) setKey(key []byte) { e.key, e.mint = key, newMint(key) }

// facts are those of a version, or of the last one before it that is simulated.
func facts(exchange string) (*profile.Profile, error) {
	pick := ""
	for _, v := range profile.Versions() {
		if pick == "" || profile.CatalogueVersion(v) <= exchange {
			pick = v
		}
	}
	return profile.Load(pick)
}

// Flows are those from one host to another, either "" for any; without those
// that cannot be probed.
func Flows(p *paths.Plan, from, to string) []*paths.Flow {
	all, _ := p.Flows()
	return slices.DeleteFunc(all, func(f *paths.Flow) bool {
		return f.Unproven != "" || from != "" && f.From.Name != from || to != "" && f.To.Name != to
	})
}

// Begin writes the head of this end's record.
func (e *End) Begin(clock *record.Clock) {
	e.add(record.Line{Head: &record.Head{Format: record.Format, Plan: e.conf.Plan.Name, Digest: e.conf.Plan.Digest(), Started: time.Now(), Clock: clock, Offset: e.conf.Offset}})
}

// figures are what this end asked of the network.
func (e *End) figures() *record.Rate {
	flows, most := e.pace.figures()
	return &record.Rate{Flows: flows, Limit: max(e.conf.Limits.Rate, 0), Open: most, Seconds: e.busy.Seconds(), Sampled: !e.conf.Full, Contact: e.contact}
}

// Finish writes what this end asked of the network, and the end of its record.
func (e *End) Finish(how string) {
	e.add(record.Line{Rate: e.figures()})
	e.add(record.Line{End: &record.End{How: how, At: time.Now()}})
}

func (e *End) add(l record.Line) {
	if l.Host == "" {
		l.Host = e.conf.Host.Name
	}
	e.conf.Log.Add(l)
}

func (e *End) say(format string, args ...any) {
	if e.conf.Say != nil {
		e.conf.Say(fmt.Sprintf(format, args...))
	}
}

// Ports are those of a flow that are tried; of a range, what an offset leaves.
func (e *End) Ports(f *paths.Flow) paths.PortSet {
	set := f.Sample()
	if e.conf.Full {
		set = f.Ports
	}
	if f.Transport == "tcp" && f.Kind == paths.Unrestricted {
		set = set.Minus(paths.Ports(e.conf.Plan.Control)) // the control connection is there
	}
	if e.conf.Offset > 0 {
		set = set.And(paths.PortsBetween(1, 65535-e.conf.Offset))
	}
	return set
}

// bound is where a documented port is on this bench.
func (e *End) bound(a netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a, port+e.conf.Offset)
}

// secure says whether a flow begins with a TLS handshake.
func secure(f *paths.Flow) bool {
	return f.TLS == "mutual" && f.Protocol != "SMTP" || f.TLS == "implicit"
}

// dialogue says which protocol a flow is proven by, "" for a token alone.
func dialogue(f *paths.Flow) string {
	switch {
	case f.Transport != "tcp" || f.Ports.Len() != 1 || f.Expect == paths.Closed:
		return ""
	case f.Protocol == "SIP":
		return "SIP"
	case f.Protocol == "SMTP", f.Protocol == "SMTP submission":
		return "SMTP"
	case secure(f):
		return "TLS"
	}
	return ""
}

// Describe says in a line what is sent to a flow's ports.
func Describe(f *paths.Flow) string {
	what := ""
	if secure(f) {
		what = "TLS handshake, then "
	}
	switch dialogue(f) {
	case "SIP":
		return what + "OPTIONS, and INVITE with a session description, ACK, BYE where the other end proves itself"
	case "SMTP":
		return what + "EHLO, STARTTLS where offered, one message to " + probeDomain + ", QUIT"
	}
	if len(f.Calls) > 0 {
		return "for each port a call over tcp/" + f.CallPorts().String() + " that names it (INVITE, ACK, BYE), and inside one datagram with a token, again up to twice while it is not answered"
	}
	if f.Transport == "udp" {
		return "one datagram with a token, again up to twice while it is not answered"
	}
	return what + "one line with a token"
}
