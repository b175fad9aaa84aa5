// Package lab is an organisation with simulated parties around it: what a
// scenario and a Go test stand on. The parties' sockets are bound first, so
// that the organisation knows where they are from its first moment.
package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/capture"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/middlebox"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// Config describes an organisation and its surroundings.
type Config struct {
	Org      *org.Organisation // not changed
	Dir      string
	Seed     uint64
	Ports    sim.Ports
	Trace    *trace.Log
	Gateways []Gateway
	Mail     []MailHost
	Boxes    []Box
	// Overrides are files of facts beside the one that the organisation names.
	Overrides []profile.Override
	// Faults, if set, are those of a row of a server, nil for none.
	Faults func(server, row string) *faults.Set
	// Capture, if set, takes down what passes.
	Capture *capture.Capture
	// Ready, if set, is told when the organisation is up, before the parties.
	Ready func(x *sim.Exchange)
}

// Lab is what runs.
type Lab struct {
	Exchange *sim.Exchange
	Gateways map[string]*gateway.Gateway
	Mail     map[string]*mailhost.Host

	conf    Config
	secure  map[string]bool
	sockets map[string]net.Listener
	boxes   map[string]*middlebox.Box // by the party behind
}

// Start brings up the organisation and then the parties. Without an error it
// is to be closed; with one nothing is left.
func Start(conf Config) (*Lab, error) {
	l := &Lab{
		conf: conf, Gateways: map[string]*gateway.Gateway{}, Mail: map[string]*mailhost.Host{},
		secure: map[string]bool{}, sockets: map[string]net.Listener{}, boxes: map[string]*middlebox.Box{},
	}
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
	l.Exchange, err = sim.Start(sim.Config{
		Org: o, Dir: l.conf.Dir, Seed: l.conf.Seed, Ports: l.conf.Ports, Trace: l.conf.Trace, Overrides: l.conf.Overrides, Faults: l.conf.Faults, Capture: l.conf.Capture,
	})
	if err != nil {
		return err
	}
	if l.conf.Ready != nil {
		l.conf.Ready(l.Exchange)
	}
	rnd := sim.Chance(l.conf.Seed ^ 0x6757)
	for i := range l.conf.Boxes {
		l.boxes[l.conf.Boxes[i].Behind] = NewBox(&l.conf.Boxes[i])
	}
	for i := range l.conf.Gateways {
		if err := l.startGateway(&l.conf.Gateways[i], rnd); err != nil {
			return err
		}
	}
	for i := range l.conf.Mail {
		if err := l.startMail(&l.conf.Mail[i]); err != nil {
			return err
		}
	}
	return nil
}

// openSockets binds where the parties listen, and tells a copy of the
// organisation.
func (l *Lab) openSockets() (*org.Organisation, error) {
	o := *l.conf.Org
	o.Gateways, o.Policies, o.Mailboxes = slices.Clone(o.Gateways), slices.Clone(o.Policies), slices.Clone(o.Mailboxes)
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
		for _, uri := range o.PartnerURIs() {
			*uri = boundAt(*uri, g.at(), ln)
		}
	}
	o.SendConnectors = slices.Clone(o.SendConnectors)
	for i := range l.conf.Mail {
		if err := l.openMail(&o, &l.conf.Mail[i]); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

// openMail binds where a host takes mail, if a send connector has it for its
// next hop.
func (l *Lab) openMail(o *org.Organisation, m *MailHost) error {
	for i := range o.SendConnectors {
		c := &o.SendConnectors[i]
		if c.SmartHost.Addr() != m.Address {
			continue
		}
		if l.sockets[m.Name] == nil {
			ln, err := net.Listen("tcp", netip.AddrPortFrom(m.Address, 0).String())
			if err != nil {
				return fmt.Errorf("actor %s: %w", m.Name, err)
			}
			l.sockets[m.Name] = ln
		}
		c.SmartHost = netip.MustParseAddrPort(l.sockets[m.Name].Addr().String())
	}
	return nil
}

// boundAt gives a URI the port that is bound at an address, if that is its host.
func boundAt(uri string, at netip.Addr, ln net.Listener) string {
	named, err := sip.URIAddr(uri)
	if err != nil || named.Addr() != at {
		return uri
	}
	_, params, _ := strings.Cut(uri, ";")
	return strings.TrimSuffix("sip:"+ln.Addr().String()+";"+params, ";")
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

// MailFront is where a mail host sends to, and the name in its certificate: the
// connector that takes mail from everybody.
func (l *Lab) MailFront() (at netip.AddrPort, server string, err error) {
	for _, k := range l.Exchange.Listeners() {
		if k.Row.ID == l.Exchange.Profile().MailRow() {
			return k.Addr(), k.Server.FQDN, nil
		}
	}
	return at, "", errors.New("the organisation has no receive connector")
}

// Exactness is what the parties themselves add to jitter and loss, by name; ""
// is the organisation.
func (l *Lab) Exactness() map[string]rtp.Exactness {
	all := map[string]rtp.Exactness{"": l.Exchange.Exactness()}
	for name, g := range l.Gateways {
		all[name] = g.Exactness()
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
	for _, b := range l.boxes {
		errs = append(errs, b.Close())
	}
	if l.Exchange != nil {
		errs = append(errs, l.Exchange.Close())
	}
	for _, m := range l.Mail { // behind the organisation, whose mail they take
		errs = append(errs, m.Close())
	}
	for _, ln := range l.sockets {
		_ = ln.Close() // also of a party that was not started
	}
	return errors.Join(errs...)
}
