// Package lab is an organisation with simulated parties around it: what a
// scenario and a Go test stand on. The parties' sockets are bound first, so
// that the organisation knows where they are from its first moment.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// Config describes an organisation and its surroundings.
type Config struct {
	Org      *org.Organisation // not changed
	Dir      string
	Seed     uint64
	Ports    sim.Ports
	Trace    *trace.Log
	Gateways []Gateway
	// Overrides are files of facts beside the one that the organisation names.
	Overrides []profile.Override
	// Ready, if set, is told when the organisation is up, before the parties.
	Ready func(x *sim.Exchange)
}

// Gateway is a simulated IP gateway.
type Gateway struct {
	Name    string
	Address netip.Addr
	Secure  bool   // SIP over TLS
	SRTP    bool   // offers SRTP and nothing else
	Bad     string // what is wrong with its certificate, "" for nothing

	Faults []gateway.Fault
	Other  netip.Addr // for gateway.OtherAddress
	Port   uint16     // for gateway.AssumesPort
}

// at is where it calls from.
func (g *Gateway) at() netip.Addr {
	if g.Other.IsValid() {
		return g.Other
	}
	return g.Address
}

// Lab is what runs.
type Lab struct {
	Exchange *sim.Exchange
	Gateways map[string]*gateway.Gateway

	conf    Config
	secure  map[string]bool
	sockets map[string]net.Listener
}

// Start brings up the organisation and then the parties. Without an error it
// is to be closed; with one nothing is left.
func Start(conf Config) (*Lab, error) {
	l := &Lab{conf: conf, Gateways: map[string]*gateway.Gateway{}, secure: map[string]bool{}, sockets: map[string]net.Listener{}}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) start() error {
	o, err := l.openSockets()
	if err != nil {
		return err
	}
	l.Exchange, err = sim.Start(sim.Config{Org: o, Dir: l.conf.Dir, Seed: l.conf.Seed, Ports: l.conf.Ports, Trace: l.conf.Trace, Overrides: l.conf.Overrides})
	if err != nil {
		return err
	}
	if l.conf.Ready != nil {
		l.conf.Ready(l.Exchange)
	}
	rnd := sim.Chance(l.conf.Seed ^ 0x6757)
	for i := range l.conf.Gateways {
		if err := l.startGateway(&l.conf.Gateways[i], rnd); err != nil {
			return err
		}
	}
	return nil
}

// openSockets binds where the parties listen, and tells a copy of the
// organisation.
func (l *Lab) openSockets() (*org.Organisation, error) {
	o := *l.conf.Org
	o.Gateways = slices.Clone(o.Gateways)
	for i := range l.conf.Gateways {
		g := &l.conf.Gateways[i]
		ln, err := net.Listen("tcp", netip.AddrPortFrom(g.at(), 0).String())
		if err != nil {
			return nil, fmt.Errorf("actor %s: %w", g.Name, err)
		}
		l.sockets[g.Name] = ln
		if object := o.GatewayAt(g.at()); object != nil {
			object.Port = netip.MustParseAddrPort(ln.Addr().String()).Port()
		}
	}
	return &o, nil
}

func (l *Lab) startGateway(g *Gateway, rnd func() uint64) error {
	conf := gateway.Config{
		Name: g.Name, Address: g.Address, Other: g.Other, Port: g.Port, Faults: g.Faults, SRTP: g.SRTP,
		Calls: l.Exchange.Calls(), Trace: l.conf.Trace, Rand: rnd, Dial: sim.Dial,
		Listen: func(netip.AddrPort) (net.Listener, error) { return l.sockets[g.Name], nil },
		ListenPacket: func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		},
	}
	if l.secure[g.Name] = g.Secure; g.Secure {
		if err := l.secured(&conf, g); err != nil {
			return fmt.Errorf("actor %s: %w", g.Name, err)
		}
	}
	started, err := gateway.Start(conf)
	if err != nil {
		return err
	}
	l.Gateways[g.Name] = started
	return nil
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
		return mutual.Client(ctx, nc, "")
	}
	return nil
}

// Fronts are where a gateway places its calls, in the order in which they are
// tried.
func (l *Lab) Fronts(name string) ([]netip.AddrPort, error) {
	transport := map[bool]string{true: "tls", false: "tcp"}[l.secure[name]]
	front := l.Exchange.Profile().Front()
	var at []netip.AddrPort
	for _, k := range l.Exchange.Listeners() {
		if k.Row.Service == front && k.Row.Transport == transport {
			at = append(at, k.Addr())
		}
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("no %s listens on %s; see um-startup-mode", front, transport)
	}
	return at, nil
}

// Lateness is how far behind the sending clocks were, by party; "" is the
// organisation.
func (l *Lab) Lateness() map[string]rtp.Lateness {
	all := map[string]rtp.Lateness{"": l.Exchange.MediaLateness()}
	for name, g := range l.Gateways {
		all[name] = g.Lateness()
	}
	return all
}

// Close ends the parties and then the organisation. OPTIONS under way come to
// their end first.
func (l *Lab) Close() error {
	var errs []error
	if l.Exchange != nil {
		l.Exchange.StopProbes()
	}
	for _, g := range l.Gateways {
		errs = append(errs, g.Close())
	}
	if l.Exchange != nil {
		errs = append(errs, l.Exchange.Close())
	}
	for _, ln := range l.sockets {
		_ = ln.Close() // also of a party that was not started
	}
	return errors.Join(errs...)
}
