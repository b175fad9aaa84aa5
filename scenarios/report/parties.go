package report

import (
	"cmp"
	"net/netip"

	"github.com/exsim/exsim/sim/trace"
)

// parties are who has which address, as the trace says.
type parties struct {
	names   map[netip.Addr]string
	roles   map[string]string     // by name
	objects map[string]netip.Addr // UM IP gateways
}

// gatewayObject is the role of a UM IP gateway of the organisation; whoever
// plays it has a name of its own.
const gatewayObject = "um-ip-gateway"

func partiesOf(events []trace.Event) parties {
	p := parties{names: map[netip.Addr]string{}, roles: map[string]string{}, objects: map[string]netip.Addr{}}
	for i := range events {
		e := &events[i]
		if e.Name != "bench.party" {
			continue
		}
		at, err := netip.ParseAddr(e.Text("address"))
		if err != nil {
			continue
		}
		who, role := e.Text("who"), e.Text("role")
		if role == gatewayObject {
			p.objects[who] = at
			if p.names[at] != "" {
				continue
			}
		}
		p.names[at], p.roles[who] = who, role
	}
	return p
}

// at is who has the address of an address and port: a name, or else the address
// itself; "" if there is none.
func (p parties) at(peer string) string {
	ap, err := netip.ParseAddrPort(peer)
	at := ap.Addr()
	if err != nil {
		if at, err = netip.ParseAddr(peer); err != nil {
			return ""
		}
	}
	return cmp.Or(p.names[at.Unmap()], at.Unmap().String())
}

// object is who plays a UM IP gateway.
func (p parties) object(name string) string {
	return cmp.Or(p.names[p.objects[name]], name)
}

// actor reports whether a name is that of an actor: no server.
func (p parties) actor(name string) bool {
	return p.roles[name] != "" && p.roles[name] != "server"
}
