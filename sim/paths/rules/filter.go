package rules

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/exsim/exsim/sim/paths"
)

// Filter is a set of rules that was read: it says what becomes of a new flow.
type Filter interface {
	// Decide returns what may become of the first packet of a flow.
	Decide(p Packet) Decision
	// Edges lists the ports at which a decision may change.
	Edges() []uint16
}

// Packet is the first one of a flow that is forwarded.
type Packet struct {
	From, To  netip.Addr
	Transport string
	Port      uint16
	In, Out   string // interfaces of the filter, "" if the plan names none
}

// Decision is what a filter does. Both are true where it depends on what a
// plan does not say.
type Decision struct {
	Pass, Stop bool
	By         string // the rule, or the policy
	Depends    string // on what, where both are possible
}

// Finding is one difference between a plan and a filter.
type Finding struct {
	Flow      *paths.Flow // that is stopped, nil of what is open beside the plan
	From, To  string
	Target    netip.Addr
	Transport string
	Ports     paths.PortSet
	By        string
	Depends   string
	Warn      bool
}

// Check holds a filter against a plan: the flows that it would stop, and what
// it lets through between zones that no open flow needs.
func Check(p *paths.Plan, f Filter) (stopped, beside []Finding) {
	flows, _ := p.Flows()
	edges := partition(f.Edges())
	for _, flow := range flows {
		if flow.Expect != paths.Open || flow.Unproven != "" || flow.From.Zone == flow.To.Zone || len(flow.Calls) > 0 {
			continue
		}
		for _, g := range sweep(f, edges, packet(p, flow, flow.Transport), flow.Ports, func(d Decision) bool { return d.Stop }) {
			g.Flow, g.From, g.To, g.Warn = flow, flow.From.Name, flow.To.Name, flow.Warn
			stopped = append(stopped, g)
		}
	}
	for _, pair := range between(p, flows) {
		all := paths.PortsBetween(1, 65535)
		for _, transport := range []string{"tcp", "udp"} {
			needed := pair.open[transport]
			if transport == "tcp" {
				needed.AddSet(paths.Ports(p.Control)) // while one probes
			}
			for _, g := range sweep(f, edges, packet(p, &pair.way, transport), all.Minus(needed), func(d Decision) bool { return d.Pass }) {
				g.From, g.To = pair.way.From.Name, pair.way.To.Name
				beside = append(beside, g)
			}
		}
	}
	return stopped, beside
}

// pair is one way between two hosts of different zones, with the ports that
// are open by the plan.
type pair struct {
	way  paths.Flow
	open map[string]paths.PortSet
}

func between(p *paths.Plan, flows []*paths.Flow) []*pair {
	type key struct{ source, target netip.Addr }
	at := map[key]*pair{}
	var list []*pair
	for _, w := range p.Ways() {
		if w.From.Zone == w.To.Zone {
			continue
		}
		x := &pair{w, map[string]paths.PortSet{}}
		at[key{w.Source, w.Target}] = x
		list = append(list, x)
	}
	for _, f := range flows {
		x := at[key{f.Source, f.Target}]
		if x == nil || f.Expect != paths.Open {
			continue
		}
		set := x.open[f.Transport]
		set.AddSet(f.Ports)
		x.open[f.Transport] = set
	}
	return list
}

// packet is the first one of a flow.
func packet(p *paths.Plan, f *paths.Flow, transport string) Packet {
	return Packet{From: f.Source, To: f.Target, Transport: transport, In: p.Interface(f.From), Out: p.Interface(f.To)}
}

// partition sorts the ports at which decisions may change.
func partition(edges []uint16) []uint16 {
	edges = append(edges, 1)
	slices.Sort(edges)
	return slices.Compact(edges)
}

// sweep decides each part of a set of ports once and returns those that are
// wanted, joined by the rule that decided.
func sweep(f Filter, edges []uint16, p Packet, ports paths.PortSet, want func(Decision) bool) []Finding {
	by := map[reason]*Finding{}
	var order []reason
	var last Decision
	part := -1
	for port := range ports.All() {
		if i := section(edges, port); i != part {
			part = i
			p.Port = port
			last = f.Decide(p)
		}
		if !want(last) {
			continue
		}
		k := reason{last.By, last.Depends}
		if by[k] == nil {
			by[k] = &Finding{Target: p.To, Transport: p.Transport, By: last.By, Depends: last.Depends}
			order = append(order, k)
		}
		by[k].Ports.Add(port)
	}
	var list []Finding
	for _, k := range order {
		list = append(list, *by[k])
	}
	slices.SortFunc(list, func(a, b Finding) int { return cmp.Compare(a.Ports.First(), b.Ports.First()) })
	return list
}

type reason struct{ by, depends string }

// section is the part of the partition that a port is in.
func section(edges []uint16, p uint16) int {
	i, found := slices.BinarySearch(edges, p)
	if found {
		return i
	}
	return i - 1
}
