package scenarios

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// Faults of an actor's place and papers, beside those of a gateway's doing.
const (
	otherTransport   = "other-transport"
	otherCertificate = "other-certificate"
	otherMedia       = "other-media"
)

// faultKind is something that an actor can do wrong.
type faultKind struct {
	name    string
	setting string // that it needs, "" for none
	usage   string
}

var faultKinds = []faultKind{
	{string(gateway.DropDiversion), "", "leaves Diversion out behind a redirect"},
	{string(gateway.UnbalancedDiversion), "", "opens a quote in Diversion and does not close it"},
	{string(gateway.KeepsPrefix), "", "leaves a trunk prefix, 9, in front of the number that it dials"},
	{string(gateway.NoRedirect), "", "gives up at the first redirect"},
	{string(gateway.OneRedirect), "", "gives up at the second redirect"},
	{string(gateway.AssumesPort), "port", "sends the INVITE behind the second redirect to `port`, whatever the Contact says"},
	{string(gateway.RemembersWorker), "", "sends the INVITE of a later call straight to the worker that took the last one"},
	{string(gateway.OneRouter), "", "gives up where the first call router refuses or is dead"},
	{string(gateway.NoOptions), "", "answers OPTIONS with 405"},
	{string(gateway.IgnoresMinSE), "", "gives up where its session interval is refused by 422"},
	{string(gateway.NoAnswerInACK), "", "leaves the answer to a late offer out of the ACK"},
	{string(gateway.NoMedia), "", "sends no RTP"},
	{string(gateway.MediaElsewhere), "", "sends RTP two ports beside the one of the SDP"},
	{string(gateway.OtherAddress), "address", "calls from `address` instead of its own"},
	{otherTransport, "transport", "calls over `transport` instead of its own"},
	{otherCertificate, "certificate", "shows a certificate that is wrong in the way `certificate`, or `good`"},
	{otherMedia, "media", "offers `media` instead of its own"},
}

func faultNames() []string {
	names := make([]string, len(faultKinds))
	for i, f := range faultKinds {
		names[i] = f.name
	}
	return names
}

// settings are those that a fault has.
func (f *PlantedFault) settings() map[string]bool {
	return map[string]bool{"address": f.Address.IsValid(), "port": f.Port != 0, "transport": f.Transport != "", "certificate": f.Certificate != "", "media": f.Media != ""}
}

// good is a certificate with nothing wrong.
const good = "good"

// openSockets binds where the actors listen, so that the organisation knows
// their ports and finds them from the first moment.
func (r *run) openSockets() (*org.Organisation, error) {
	o := *r.s.Organisation
	o.Gateways = slices.Clone(o.Gateways)
	for name, a := range r.s.Actors {
		at := a.Address
		for _, f := range r.faultsOf(name) {
			if f.Address.IsValid() {
				at = f.Address
			}
		}
		ln, err := net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		if err != nil {
			return nil, fmt.Errorf("actor %s: %w", name, err)
		}
		r.sockets[name] = ln
		if g := o.GatewayAt(at); g != nil {
			g.Port = netip.MustParseAddrPort(ln.Addr().String()).Port()
		}
	}
	return &o, nil
}

// startActors brings the simulated actors up, each with its faults.
func (r *run) startActors() error {
	rnd := sim.Chance(r.o.Seed ^ 0x6757)
	for _, name := range slices.Sorted(maps.Keys(r.s.Actors)) {
		a := r.s.Actors[name]
		conf := gateway.Config{
			Name: name, Address: a.Address, Calls: r.x.Calls(), Trace: r.log, Rand: rnd, Dial: sim.Dial,
			Listen: func(netip.AddrPort) (net.Listener, error) { return r.sockets[name], nil },
			ListenPacket: func(at netip.AddrPort) (net.PacketConn, error) {
				return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			},
		}
		for _, f := range r.faultsOf(name) {
			switch f.Do {
			case otherTransport:
				a.Transport = f.Transport
			case otherCertificate:
				a.Certificate = f.Certificate
			case otherMedia:
				a.Media = f.Media
			default:
				conf.Faults = append(conf.Faults, gateway.Fault(f.Do))
			}
			if f.Address.IsValid() {
				conf.Other = f.Address
			}
			conf.Port = max(conf.Port, f.Port)
			r.src.Record(trace.Session{}, trace.Session{}, faultEvent{f}, nil)
		}
		r.transports[name], conf.SRTP = a.Transport, a.Media == SRTP
		if a.Transport == TLS {
			if err := r.secure(&conf, a); err != nil {
				return err
			}
		}
		g, err := gateway.Start(conf)
		if err != nil {
			return err
		}
		r.gateways[name] = g
	}
	return nil
}

// secure gives an actor TLS, with a certificate of the lab that names its
// gateway object.
func (r *run) secure(conf *gateway.Config, a Actor) error {
	names := []string{conf.Name + "." + r.s.Organisation.Domain}
	if g := r.s.Organisation.GatewayAt(a.Address); g != nil && g.FQDN != "" {
		names[0] = g.FQDN
	}
	mutual, err := r.x.MutualTLS(names...)
	if err == nil && a.Certificate != good {
		mutual.Cert, err = r.x.Lab().IssueBad(admit.Bad(a.Certificate), admit.Request{Names: names})
	}
	if err != nil {
		return fmt.Errorf("actor %s: %w", conf.Name, err)
	}
	mutual.Trace = r.log.Source(conf.Name, "ip-gateway")
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

func (r *run) faultsOf(actor string) []PlantedFault {
	list := slices.Clone(r.s.Faults)
	if r.o.Plant != nil {
		list = append(list, *r.o.Plant)
	}
	return slices.DeleteFunc(list, func(f PlantedFault) bool { return f.Actor != actor })
}
