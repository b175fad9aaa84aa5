package sim

import (
	"net/netip"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/um"
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
		for _, r := range rows(o, p, s) {
			list = append(list, PlannedPort{s, r, r.Port, ports.bound(r.Port)})
		}
	}
	return list
}

// MailFront is the service of a version whose connectors take mail from
// everybody.
func MailFront(p *profile.Profile) string {
	const frontEnd, transport = "front-end-transport", "transport"
	if p.RoleOf(frontEnd) != "" {
		return frontEnd
	}
	return transport
}

// rows are the port rows that a server listens on, at the ports that hold for
// it.
func rows(o *org.Organisation, p *profile.Profile, s *org.Server) []profile.Port {
	var list []profile.Port
	for _, r := range p.Ports {
		if r.Listens == "" || !s.Has(org.Role(r.Role)) {
			continue
		}
		if r.Beside != 0 && s.Has(org.ClientAccess) {
			r.Port = r.Beside
		}
		if r.Protocol == "sip" && !sipPort(o, s, &r) {
			continue
		}
		list = append(list, r)
	}
	return list
}

// sipPort settles the port of a row; false if the start-up mode does not open
// it.
func sipPort(o *org.Organisation, s *org.Server, r *profile.Port) bool {
	mode := s.UMStartupMode
	if r.Service == um.CallRouter {
		mode = o.Router.UMStartupMode
		if p := map[string]uint16{"tcp": o.Router.SipTCPListeningPort, "tls": o.Router.SipTLSListeningPort}[r.Transport]; p != 0 {
			r.Port = p
		}
	}
	if mode == org.ModeTLS && r.TLSOnly != 0 && o.WorkerPorts != org.WorkerPortsMajority {
		r.Port = r.TLSOnly
	}
	return mode.Listens(r.Transport)
}
