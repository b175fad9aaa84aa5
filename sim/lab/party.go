package lab

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/middlebox"
)

// Gateway is a simulated IP gateway.
type Gateway struct {
	Name    string
	Address netip.Addr
	Secure  bool   // SIP over TLS
	SRTP    bool   // offers SRTP and nothing else
	Answers bool   // takes calls
	Bad     string // what is wrong with its certificate, "" for nothing
	// Telephones say how those behind it answer, by number: 200 where none is
	// named.
	Telephones map[string]int

	Faults func(f gateway.Fault) bool // of its doing; nil for none
	Wire   *faults.Set                // of its sockets; nil for none
	Other  netip.Addr                 // for gateway.OtherAddress
	Port   uint16                     // for gateway.AssumesPort, as documented
}

// MailHost is a simulated mail host.
type MailHost struct {
	Name    string
	Address netip.Addr
	Faults  func(f mailhost.Fault) bool
}

// Box is a middlebox in front of a party.
type Box struct {
	Name    string
	Address netip.Addr
	Behind  string // the party
	Faults  *faults.Set
	NAT     func() bool
}

// at is where it calls from.
func (g *Gateway) at() netip.Addr {
	if g.Other.IsValid() {
		return g.Other
	}
	return g.Address
}

// dialler opens connections of a party.
type dialler = func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)

func listenPacket(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// NewBox makes a middlebox without a lab.
func NewBox(b *Box) *middlebox.Box {
	return middlebox.New(middlebox.Config{
		Address: b.Address, Faults: b.Faults, NAT: b.NAT, Dial: sim.Dial, ListenPacket: listenPacket,
		Listen: func(at netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", at.String()) },
	})
}

// through is how a party's connections leave: by the box in front of it, if
// there is one.
func (l *Lab) through(party string, framing faults.Framing) dialler {
	dial := sim.Dial
	if box := l.boxes[party]; box != nil {
		dial = func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
			return box.Dial(ctx, from, to, framing)
		}
	}
	return func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
		nc, err := dial(ctx, from, to)
		if err != nil {
			return nil, err
		}
		return l.conf.Capture.Dialled(nc), nil
	}
}

// lookup knows the names of the organisation's servers.
func (l *Lab) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	for i := range l.conf.Org.Servers {
		if s := &l.conf.Org.Servers[i]; strings.EqualFold(s.FQDN, host) {
			return []netip.Addr{s.Public()}, nil
		}
	}
	return nil, fmt.Errorf("no server of the organisation is named %s", host)
}

// bound is where a documented port of the organisation is here.
func (l *Lab) bound(port uint16) uint16 {
	for _, k := range l.Exchange.Listeners() {
		if k.Row.Port == port {
			return k.Addr().Port()
		}
	}
	return port
}

func (l *Lab) startGateway(g *Gateway, rnd func() uint64) error {
	framing := faults.SIP
	if g.Secure {
		framing = faults.Opaque
	}
	conf := gateway.Config{
		Name: g.Name, Address: g.Address, Other: g.Other, Port: l.bound(g.Port), Faults: g.Faults, SRTP: g.SRTP, Answers: g.Answers,
		Calls: l.Exchange.Calls(), Trace: l.conf.Trace, Rand: rnd, Dial: l.through(g.Name, framing),
		Listen:       func(netip.AddrPort) (net.Listener, error) { return l.conf.Capture.Listener(l.sockets[g.Name]), nil },
		ListenPacket: l.mediaSocket(g), Tap: sim.Tap(l.conf.Capture), Secrets: l.Exchange.Secrets(),
	}
	conf.Lookup = l.lookup
	conf.Telephone = func(number string) int { return cmp.Or(g.Telephones[number], 200) }
	if l.secure[g.Name] = g.Secure; g.Secure {
		if err := l.secured(&conf, g); err != nil {
			return fmt.Errorf("actor %s: %w", g.Name, err)
		}
	}
	if g.Wire != nil {
		wired(&conf, g.Wire)
	}
	started, err := gateway.Start(conf)
	if err != nil {
		return err
	}
	l.Gateways[g.Name] = started
	return nil
}

// mediaSocket opens UDP sockets of a gateway, those for RTP with its faults, and
// behind the box in front of it.
func (l *Lab) mediaSocket(g *Gateway) func(at netip.AddrPort) (net.PacketConn, error) {
	open := listenPacket
	if box := l.boxes[g.Name]; box != nil {
		open = box.ListenPacket
	}
	return func(at netip.AddrPort) (net.PacketConn, error) {
		pc, err := open(at)
		if err != nil || g.Wire == nil || at.Port()%2 != 0 { // RTCP
			return pc, err
		}
		return g.Wire.Packets(pc), nil
	}
}

// wired puts faults on a gateway's connections, and on its answers.
func wired(conf *gateway.Config, set *faults.Set) {
	conf.Refuse = func(method string) int {
		if f := set.Of(method, faults.Status); f != nil {
			return f.Code
		}
		return 0
	}
	listen, dial := conf.Listen, conf.Dial
	conf.Listen = func(at netip.AddrPort) (net.Listener, error) {
		ln, err := listen(at)
		if err != nil {
			return nil, err
		}
		return set.Listener(ln, faults.SIP), nil
	}
	conf.Dial = func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
		nc, err := dial(ctx, from, to)
		if err != nil {
			return nil, err
		}
		return set.Conn(nc, faults.SIP), nil
	}
}

// secured gives a gateway TLS, with a certificate of the lab's authority that
// names its gateway object.
func (l *Lab) secured(conf *gateway.Config, g *Gateway) error {
	names := []string{g.Name + "." + l.conf.Org.Domain}
	if object := l.conf.Org.GatewayAt(g.Address); object != nil && object.FQDN != "" {
		names[0] = object.FQDN
	}
	mutual, err := l.Exchange.MutualTLS(names...)
	if err == nil && g.Bad != "" {
		mutual.Cert, err = l.Exchange.Lab().IssueBad(admit.Bad(g.Bad), admit.Request{Names: names})
	}
	if err != nil {
		return err
	}
	mutual.Trace = l.conf.Trace.Source(g.Name, "ip-gateway")
	dialling := mutual
	l.Exchange.Misdeeds(&dialling, g.Wire, names...)
	conf.Secure = true
	listen, dial := conf.Listen, conf.Dial
	conf.Listen = func(at netip.AddrPort) (net.Listener, error) {
		ln, err := listen(at)
		if err != nil {
			return nil, err
		}
		return mutual.Listener(ln), nil
	}
	conf.Dial = func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
		nc, err := dial(ctx, from, to)
		if err != nil {
			return nil, err
		}
		return dialling.Client(ctx, nc, "")
	}
	return nil
}

func (l *Lab) startMail(m *MailHost) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.Exchange.LabCA())
	l.Mail[m.Name] = mailhost.New(mailhost.Config{
		Name: m.Name, Address: m.Address, Hello: m.Name + ".fabrikam.example", Faults: m.Faults, Trace: l.conf.Trace,
		Dial: l.through(m.Name, faults.Lines), TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10},
	})
	ln := l.sockets[m.Name]
	if ln == nil {
		return nil
	}
	name := m.Name + ".fabrikam.example"
	cert, err := l.Exchange.Lab().Issue(admit.Request{Names: []string{name}})
	if err != nil {
		return err
	}
	wrong, err := l.Exchange.Lab().Issue(admit.Request{Names: []string{"mail.elsewhere.example"}})
	if err != nil {
		return err
	}
	l.Mail[m.Name].Listen(mailhost.ServerConfig{Listener: l.conf.Capture.Listener(ln), Certificate: cert, Wrong: wrong})
	return nil
}

// MailCertificate is what a mail host shows: "own" with its name, that of a
// server whose name is given, or one that is wrong in a way that exsim pki bad
// knows.
func (l *Lab) MailCertificate(host, kind string) (tls.Certificate, error) {
	own := admit.Request{Names: []string{host + ".fabrikam.example"}}
	switch {
	case kind == OwnCertificate:
		return l.Exchange.Lab().Issue(own)
	case l.conf.Org.ServerNamed(kind) != nil:
		return l.Exchange.ServerCertificate(kind)
	}
	return l.Exchange.Lab().IssueBad(admit.Bad(kind), own)
}

// OwnCertificate is a good one with the host's name.
const OwnCertificate = "own"
