package paths

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/profile"
)

// Flow is one path between two hosts with what is expected of it. Both ends
// make the same flows from the same plan.
type Flow struct {
	ID        string // as gw>mbx tcp/5060
	From, To  *Host
	Source    netip.Addr // the sender's own
	Target    netip.Addr // as the sender's zone knows it
	Listen    netip.Addr // the receiver's own
	Transport string     // tcp, udp
	Ports     PortSet
	Protocol  string // what is spoken there, as SIP or SMTP; "" says nothing
	TLS       string // none, starttls, implicit, mutual, optional; "" is not said
	Expect    Expect
	Kind      FlowKind
	Warn      bool    // what is found otherwise is a warning, no failure
	Why       string  // of what no page prints
	Unproven  string  // why it cannot be probed, "" if it can
	Rests     []Rest  // entries of the catalogue
	Calls     []*Flow // of media: the paths of the calls by which a filter opens it, in turn; none where rules do
}

// FlowKind says why a flow is in the plan.
type FlowKind string

// The kinds of flows, in the order in which they are told.
const (
	Documented    FlowKind = "documented"
	Derived       FlowKind = "derived"
	Contradictory FlowKind = "contradictory"
	Unrestricted  FlowKind = "unrestricted" // any port, unaltered: the pages support no filter here
	OwnPath       FlowKind = "extra"
	Undocumented  FlowKind = "undocumented" // must be closed
)

// FlowKinds lists the kinds in that order.
func FlowKinds() []FlowKind { return slices.Clone(kindOrder) }

var kindOrder = []FlowKind{Documented, Derived, Contradictory, Unrestricted, OwnPath, Undocumented}

// Rest is an entry of the catalogue that a flow rests on.
type Rest struct {
	Path *profile.DataPath
	Port profile.PathPort
}

// Warning is what a plan itself does that the pages call unsupported.
type Warning struct {
	Rule  *profile.DataPath
	Hosts []string
	Text  string
}

// anyPort is what a path over any port may use.
var anyPort = PortsBetween(1, 65535)

// Flows lists every flow of the plan, and the warnings about its topology.
func (p *Plan) Flows() ([]*Flow, []Warning) {
	b := &builder{p: p, at: map[string]*Flow{}}
	for i := range p.Hosts {
		for k := range p.Hosts {
			if i != k {
				b.pair(&p.Hosts[i], &p.Hosts[k])
			}
		}
	}
	b.extra()
	b.undocumented()
	b.disjoint()
	b.signalled()
	slices.SortStableFunc(b.flows, func(x, y *Flow) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kindOrder, x.Kind), slices.Index(kindOrder, y.Kind)),
			cmp.Compare(x.From.Name, y.From.Name), cmp.Compare(x.To.Name, y.To.Name), x.Target.Compare(y.Target),
			cmp.Compare(x.Transport, y.Transport), cmp.Compare(x.Ports.First(), y.Ports.First()))
	})
	return b.flows, b.warnings
}

type builder struct {
	p        *Plan
	flows    []*Flow
	at       map[string]*Flow // by ID
	warnings []Warning
}

// ways are the addresses by which one host reaches another, one a family and
// address.
func ways(from, to *Host) []Flow {
	var list []Flow
	for _, own := range to.Addresses {
		own = own.Unmap()
		if source := from.Sends(own.Is6()); source.IsValid() {
			list = append(list, Flow{From: from, To: to, Source: source, Target: to.at(from.Zone, own), Listen: own})
		}
	}
	return list
}

// pair adds what the catalogue says of the path from one host to another.
func (b *builder) pair(from, to *Host) {
	for _, d := range b.p.catalogue.Of(b.p.Exchange) {
		forth := b.p.plays(from, d.From) && b.p.plays(to, d.To)
		if d.Kind == profile.KindRule {
			back := b.p.plays(to, d.From) && b.p.plays(from, d.To)
			b.rule(d, from, to, forth, back)
			continue
		}
		if forth {
			for _, port := range d.Ports {
				b.port(d, port.Corrected(), from, to)
			}
		}
	}
}

// rule holds a pair of hosts against a rule of a page.
func (b *builder) rule(d *profile.DataPath, from, to *Host, forth, back bool) {
	apart := from.Zone != to.Zone
	switch d.Rule.Check {
	case "any-any":
		if apart && (forth || back) && from.Name < to.Name {
			b.warn(d, fmt.Sprintf("%s (zone %s) and %s (zone %s): whatever filters between these zones must let everything pass, both ways and unaltered", from.Name, from.Zone, to.Name, to.Zone), from.Name, to.Name)
		}
		if forth || back {
			for _, transport := range []string{"tcp", "udp"} {
				b.add(from, to, Flow{Transport: transport, Ports: anyPort, Kind: Unrestricted, Expect: Open, Rests: []Rest{{d, profile.PathPort{}}}, Why: d.Rule.Statement})
			}
		}
	case "no-filter":
		if forth && apart && from.Site == to.Site {
			b.warn(d, fmt.Sprintf("%s (zone %s) and %s (zone %s) are in one site", from.Name, from.Zone, to.Name, to.Zone), from.Name, to.Name)
		}
	case "not-in-perimeter":
		if z := b.p.zone(from.Zone); b.p.plays(from, d.From) && z.Kind == "perimeter" {
			b.warn(d, fmt.Sprintf("%s is in zone %s", from.Name, from.Zone), from.Name)
		}
	}
}

func (b *builder) warn(d *profile.DataPath, text string, hosts ...string) {
	if !slices.ContainsFunc(b.warnings, func(w Warning) bool { return w.Rule == d && slices.Equal(w.Hosts, hosts) }) {
		b.warnings = append(b.warnings, Warning{d, hosts, text})
	}
}

// port adds one port of an entry.
func (b *builder) port(d *profile.DataPath, port profile.PathPort, from, to *Host) {
	if !b.spoken(port) {
		return
	}
	f := Flow{Transport: port.Transport, Protocol: port.Protocol, TLS: port.TLS, Expect: Open, Kind: Documented, Rests: []Rest{{d, port}}}
	switch d.Of(port) {
	case profile.Derived:
		f.Kind, f.Why = Derived, d.Reason
		f.Warn = !b.p.uses(d.Feature)
	case profile.Contradictory:
		f.Kind, f.Expect, f.Warn = Contradictory, Closed, true
		f.Why = port.Note
		if b.p.uses("sip-over-udp") {
			f.Expect, f.Warn = Open, false
		}
	}
	if feature := b.p.catalogue.Optional(d.ID); feature != nil && !b.p.uses(feature.ID) && (feature.UnlessRole == "" || b.p.hasRole(feature.UnlessRole)) {
		if from.Zone == to.Zone || !b.mayRestrict(from, to) {
			return
		}
		f.Kind, f.Expect, f.Warn, f.Why = Undocumented, Closed, true, feature.ID+" is not in use"
	}
	f.Ports, f.Unproven = b.numbers(port, to)
	if f.Transport == "" {
		f.Transport = "tcp" // what the page leaves out, with dynamic and random ports
	}
	b.add(from, to, f)
}

// spoken says whether the plan's transports of SIP use a port.
func (b *builder) spoken(port profile.PathPort) bool {
	if port.Protocol != "SIP" || b.p.SIP == "dual" {
		return true
	}
	return port.Mode != "dual" && (port.TLS == "" || (port.TLS == "none") == (b.p.SIP == "tcp"))
}

// numbers are the ports behind what a page prints, or why there are none.
func (b *builder) numbers(port profile.PathPort, to *Host) (PortSet, string) {
	switch port.Ports.Word {
	case "":
		if (port.Protocol == "RTP" || port.Protocol == "RTCP") && port.Ports.Low != port.Ports.High {
			return b.p.RTP.Set(PortsBetween(port.Ports.Low, port.Ports.High)), ""
		}
		return PortsBetween(port.Ports.Low, port.Ports.High), ""
	case profile.PortsDynamic, profile.PortsRandom:
		if set := b.p.RPC.Set(PortSet{}); port.Protocol == "RPC" && set.Len() > 0 {
			return set, ""
		}
		return PortSet{}, "the page names no number; fix the range on the servers and say rpc: {low: N, high: N}"
	case profile.PortsByGateway:
		if set := to.RTP.Set(PortSet{}); set.Len() > 0 {
			return set, ""
		}
		return PortSet{}, "say the media ports of " + to.Name + ": rtp: {low: N, high: N}"
	case profile.PortsByUser:
		if b.p.ProxyPort != 0 {
			return Ports(b.p.ProxyPort), ""
		}
		return PortSet{}, "the port is the user's: proxy-port: N"
	}
	return PortSet{}, "the page states no port"
}

// add puts a flow into the plan for each way between two hosts, merged with
// what is there already for these ports.
func (b *builder) add(from, to *Host, f Flow) {
	for _, way := range ways(from, to) {
		g := f
		g.From, g.To, g.Source, g.Target, g.Listen = from, to, way.Source, way.Target, way.Listen
		g.ID = g.name()
		if old := b.at[g.ID]; old != nil {
			old.merge(&g)
			continue
		}
		b.at[g.ID] = &g
		b.flows = append(b.flows, &g)
	}
}

func (f *Flow) name() string {
	to := f.To.Name
	if len(f.To.Addresses) > 1 {
		to += "[" + f.Listen.String() + "]"
	}
	ports := f.Ports.String()
	switch {
	case f.Unproven != "":
		ports = f.Rests[0].Port.Ports.String() + " of " + f.Rests[0].Path.ID
	case f.Kind == Unrestricted:
		ports = "any"
	case f.Why == sampled:
		ports = "others"
	}
	return f.From.Name + ">" + to + " " + f.Transport + "/" + ports
}

// merge takes another reason for the same ports: the firmer one says what is
// expected.
func (f *Flow) merge(o *Flow) {
	rests := append(f.Rests, o.Rests...)
	if slices.Index(kindOrder, o.Kind) < slices.Index(kindOrder, f.Kind) {
		f.Kind, f.Expect, f.Warn, f.Why, f.Protocol, f.TLS = o.Kind, o.Expect, o.Warn, o.Why, o.Protocol, o.TLS
	}
	f.Warn = f.Warn && o.Warn
	if f.TLS == "" || f.TLS == "mutual" && o.TLS == "none" && f.Kind == o.Kind { // in clear, where both are
		f.TLS = o.TLS
	}
	f.Rests = rests
}

// Unported lists the entries between hosts of the plan that state no port.
func (p *Plan) Unported() []*profile.DataPath {
	var list []*profile.DataPath
	for _, d := range p.catalogue.Of(p.Exchange) {
		if len(d.Ports) > 0 || d.Kind == profile.KindRule {
			continue
		}
		between := slices.ContainsFunc(p.Hosts, func(a Host) bool {
			return p.plays(&a, d.From) && slices.ContainsFunc(p.Hosts, func(b Host) bool { return a.Name != b.Name && p.plays(&b, d.To) })
		})
		if between {
			list = append(list, d)
		}
	}
	return list
}

// Sources lists what a flow rests on, as people read it.
func (f *Flow) Sources() string {
	var list []string
	for _, r := range f.Rests {
		if text := r.Path.ID; !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, ", ")
}

// disjoint leaves each port to one flow: the firmer one, and of these the
// smaller.
func (b *builder) disjoint() {
	type way struct {
		source, target netip.Addr
		transport      string
	}
	order := slices.Clone(b.flows)
	slices.SortStableFunc(order, func(x, y *Flow) int {
		return cmp.Or(cmp.Compare(slices.Index(kindOrder, x.Kind), slices.Index(kindOrder, y.Kind)), cmp.Compare(x.Ports.Len(), y.Ports.Len()))
	})
	taken := map[way]PortSet{}
	gone := map[*Flow]bool{}
	for _, f := range order {
		w := way{f.Source, f.Target, f.Transport}
		set := taken[w]
		f.Ports = f.Ports.Minus(set)
		gone[f] = f.Ports.Len() == 0 && f.Unproven == ""
		set.AddSet(f.Ports)
		taken[w] = set
	}
	b.flows = slices.DeleteFunc(b.flows, func(f *Flow) bool { return gone[f] })
}

// extra adds the user's own paths.
func (b *builder) extra() {
	for _, x := range b.p.Extra {
		b.add(b.p.Host(x.From), b.p.Host(x.To), Flow{Transport: x.Transport, Ports: x.Ports, Kind: OwnPath, Expect: x.Expect, Why: x.Why})
	}
}

// Ways lists how each host reaches each other one, a family and address each:
// flows without ports.
func (p *Plan) Ways() []Flow {
	var list []Flow
	for i := range p.Hosts {
		for k := range p.Hosts {
			if i != k {
				list = append(list, ways(&p.Hosts[i], &p.Hosts[k])...)
			}
		}
	}
	return list
}

// Doubts are what a plan seems to have forgotten.
func (p *Plan) Doubts() []string {
	var list []string
	flows, _ := p.Flows()
	for i := range p.Hosts {
		h := &p.Hosts[i]
		if !slices.ContainsFunc(flows, func(f *Flow) bool { return (f.From == h || f.To == h) && f.Expect == Open }) {
			list = append(list, fmt.Sprintf("no page knows a path from or to %s with the roles of this plan", h.Name))
		}
		for _, a := range h.Addresses {
			if !slices.ContainsFunc(flows, func(f *Flow) bool { return f.Source == a || f.Listen == a }) {
				list = append(list, fmt.Sprintf("%s of %s has no path: nobody else has an address of its family", a, h.Name))
			}
		}
		if h.Has("voip-gateway") && !slices.ContainsFunc(flows, func(f *Flow) bool {
			return f.From == h && f.Ports.Has(5060) && f.Transport == "tcp" || f.From == h && f.Ports.Has(5061) && f.Transport == "tcp"
		}) {
			list = append(list, h.Name+" has nobody to call: no host has Client Access (2013), Mailbox (2016) or Unified Messaging (2007), or no address of a family is shared")
		}
	}
	return list
}
