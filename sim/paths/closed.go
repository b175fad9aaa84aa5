package paths

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// mayRestrict says whether the pages allow a filter between two hosts: a rule
// says so and none forbids it, or their version has no such rules and nobody
// calls it unsupported.
func (b *builder) mayRestrict(from, to *Host) bool {
	allowed, rules := false, false
	for _, d := range b.p.catalogue.Of(b.p.Exchange) {
		if d.Rule == nil {
			continue
		}
		between := b.p.plays(from, d.From) && b.p.plays(to, d.To) || b.p.plays(to, d.From) && b.p.plays(from, d.To)
		switch d.Rule.Check {
		case "any-any":
			if between {
				return false
			}
		case "no-filter":
			if between && from.Site == to.Site {
				return false
			}
		case "may-restrict":
			rules = true
			allowed = allowed || between
		}
	}
	return allowed || !rules
}

// undocumented adds what must be closed: between zones that may be restricted,
// and only where nothing of the plan needs it.
func (b *builder) undocumented() {
	for i := range b.p.Hosts {
		for k := range b.p.Hosts {
			from, to := &b.p.Hosts[i], &b.p.Hosts[k]
			if i != k && from.Zone != to.Zone && b.mayRestrict(from, to) {
				b.closed(from, to)
			}
		}
	}
}

func (b *builder) closed(from, to *Host) {
	for _, transport := range []string{"tcp", "udp"} {
		taken := b.known(from, to, transport)
		if transport == "udp" && b.unknownMedia(from, to) {
			taken.AddSet(PortsBetween(1024, 65535)) // nobody knows which of them must be open
		}
		shut := func(ports PortSet, why string) {
			if ports = ports.Minus(taken); ports.Len() > 0 {
				b.add(from, to, Flow{Transport: transport, Ports: ports, Kind: Undocumented, Expect: Closed, Why: why})
				taken.AddSet(ports)
			}
		}
		if transport == "tcp" {
			shut(b.p.Closed.Also, "the plan says so")
		}
		var often PortSet
		for _, w := range b.p.catalogue.Wrong {
			var ports PortSet
			if err := ports.UnmarshalText([]byte(w.Ports)); err != nil || w.Transport != transport {
				continue
			}
			switch {
			case w.Sample:
				often = ports
			case (w.Unless == "" || !b.p.uses(w.Unless)) && (w.FromZone == "" || b.p.zone(from.Zone).Kind == w.FromZone) &&
				(w.From == nil || slices.ContainsFunc(w.From, from.Has)) && slices.ContainsFunc(w.To, to.Has):
				shut(ports, w.Why)
			}
		}
		shut(b.sample(from, to, transport, often, taken), sampled)
	}
}

// sampled is why the ports of a sample must be closed.
const sampled = "no page names them between these roles"

// unknownMedia says whether media flows between two hosts to ports that the plan
// does not say.
func (b *builder) unknownMedia(from, to *Host) bool {
	return slices.ContainsFunc(b.flows, func(f *Flow) bool {
		return f.From == from && f.To == to && f.Unproven != "" && (f.Protocol == "RTP" || f.Protocol == "RTCP")
	})
}

// known are the ports that some flow between two hosts is about already.
func (b *builder) known(from, to *Host, transport string) PortSet {
	var set PortSet
	for _, f := range b.flows {
		if f.From == from && f.To == to && f.Transport == transport {
			set.AddSet(f.Ports)
		}
	}
	return set
}

// sample picks ports that nobody needs, half of them from those that are often
// open. Both ends pick the same: chance comes from the names.
func (b *builder) sample(from, to *Host, transport string, often, taken PortSet) PortSet {
	chance := func(n uint64) uint64 {
		h := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%s|%d", b.p.Name, from.Name, to.Name, transport, n))
		return binary.BigEndian.Uint64(h[:])
	}
	candidates := slices.Collect(often.Minus(taken).All())
	slices.SortFunc(candidates, func(x, y uint16) int { return cmp.Compare(chance(uint64(x)), chance(uint64(y))) })
	picked := Ports(candidates[:min(len(candidates), (b.p.Closed.Sample+1)/2)]...)
	for n := uint64(0); picked.Len() < b.p.Closed.Sample && n < 65536; n++ {
		port := uint16(chance(1<<20+n)%65535) + 1
		if !taken.Has(port) && port != b.p.Control {
			picked.Add(port)
		}
	}
	return picked
}
