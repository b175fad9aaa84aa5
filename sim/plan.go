package sim

import (
	"net/netip"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// PlannedPort is a listener that an organisation opens, now or, for the second
// worker process, once the first was recycled.
type PlannedPort struct {
	Server            *org.Server
	Row               profile.Port
	Documented, Bound uint16 // Bound is 0 for any free port
}

// Addr is where peers reach it.
func (p *PlannedPort) Addr() netip.AddrPort { return netip.AddrPortFrom(p.Server.Public(), p.Bound) }

// Plan lists what Start would bind.
func Plan(o *org.Organisation, p *profile.Profile, ports Ports) []PlannedPort {
	var list []PlannedPort
	for i := range o.Servers {
		s := &o.Servers[i]
		for _, r := range o.Rows(p, s) {
			list = append(list, PlannedPort{s, r, r.Port, ports.bound(r.Port)})
		}
	}
	return list
}
