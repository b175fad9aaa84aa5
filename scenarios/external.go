package scenarios

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Device is who plays an actor.
type Device string

// A simulated device is part of the run; an external one is the device under
// test: the run says what to do on it and waits.
const (
	Simulated Device = "simulated"
	External  Device = "external"
)

// SetDevice says who plays an actor, or, without a name, all of them.
func (s *Scenario) SetDevice(actor string, d Device) error {
	if d != Simulated && d != External {
		return fmt.Errorf("device %q is neither simulated nor external", d)
	}
	found := false
	var names []string
	for name, a := range s.Actors {
		names = append(names, name)
		if actor == "" || actor == name {
			a.Device, found = d, true
			s.Actors[name] = a
		}
	}
	if !found {
		slices.Sort(names)
		return fmt.Errorf("%s has no actor %q; %s", s.Name, actor, yamlfile.Suggest(actor, names))
	}
	return nil
}

// Guided reports whether a person plays an actor.
func (s *Scenario) Guided() bool {
	for _, a := range s.Actors {
		if a.Device == External {
			return true
		}
	}
	return false
}

// Playable reports what nobody can do at an external device: a fault, which is
// its own affair, or a step that no person can take. With catches it looks at
// those, too.
func (s *Scenario) Playable(catches bool) error {
	list := s.Faults
	if catches {
		list = slices.Concat(list, s.Catches)
	}
	for _, f := range list {
		if s.Actors[f.Actor].Device == External {
			return fmt.Errorf("%s: the fault %s cannot be planted in %s, which is an external device", s.Name, f.Do, f.Actor)
		}
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		if p, ok := step.action.(*repeat); ok {
			if name := p.byDevice(s); name != "" {
				return fmt.Errorf("%s: step %d, repeat: no person can do that so often at %s, which is an external device; call it with to: %s from a simulated actor", s.Name, i+1, name, name)
			}
		}
		actor := s.actor(step)
		_, can := step.action.(guide)
		_, does := step.action.(observer)
		if s.Actors[actor].Device == External && !can && !does {
			return fmt.Errorf("%s: step %d, %s: no person can do that at %s, which is an external device", s.Name, i+1, step.Verb, actor)
		}
		if f, ok := step.action.(*plantFault); ok && s.Actors[f.Actor].Device == External {
			return fmt.Errorf("%s: step %d: the fault %s cannot be planted in %s, which is an external device", s.Name, i+1, f.Do, f.Actor)
		}
		if c, ok := step.action.(*call); ok && c.Raw != nil && s.Actors[actor].Device == External {
			return fmt.Errorf("%s: step %d: raw: %s is an external device: it sends what it sends", s.Name, i+1, actor)
		}
	}
	for name, a := range s.Actors {
		if a.Role == roleBox && s.Actors[a.Between].Device == External {
			return fmt.Errorf("%s: %s is simulated, and the traffic of %s, an external device, does not pass through it", s.Name, name, a.Between)
		}
	}
	return nil
}

// Parties are the names of all: of the actors, and of the servers.
func (s *Scenario) Parties() []string {
	list := slices.Collect(maps.Keys(s.Actors))
	if s.Organisation != nil {
		for i := range s.Organisation.Servers {
			list = append(list, s.Organisation.Servers[i].Name)
		}
	}
	slices.Sort(list)
	return list
}

// Ours are the addresses that a run binds, by the names of who has them.
func (s *Scenario) Ours() map[string]netip.Addr {
	list := map[string]netip.Addr{}
	for name, a := range s.Actors {
		if a.Device != External {
			list[name] = a.Address
		}
	}
	for i := range s.Organisation.Servers {
		list[s.Organisation.Servers[i].Name] = s.Organisation.Servers[i].Address
	}
	return list
}

// Unreachable names a server that a device elsewhere cannot reach, because it is
// on the loopback; "" if there is none.
func (s *Scenario) Unreachable() string {
	away := false
	for _, a := range s.Actors {
		away = away || a.Device == External && !a.Address.IsLoopback()
	}
	for i := range s.Organisation.Servers {
		if server := &s.Organisation.Servers[i]; away && server.Address.IsLoopback() {
			return server.Name
		}
	}
	return ""
}

// moveHost gives a URI another host, if it has the one that moved.
func moveHost(uri string, from, to netip.Addr) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	if after, ok := strings.CutPrefix(rest, hostOf(from)); ok && (after == "" || strings.ContainsRune(":;", rune(after[0]))) {
		return scheme + ":" + hostOf(to) + after
	}
	return uri
}

// hostOf is an address as a URI has it.
func hostOf(a netip.Addr) string { return strings.TrimSuffix(net.JoinHostPort(a.String(), ""), ":") }

// SetAuthority takes a folder of exsim pki as the lab's certificate authority.
func (s *Scenario) SetAuthority(folder string) { s.Organisation.TLS.Authority = folder }

// SetAddresses gives servers, and actors with their gateway objects, other
// addresses, by name.
func (s *Scenario) SetAddresses(addresses map[string]netip.Addr) error {
	o := s.Organisation
	objects := map[string]*org.UMIPGateway{} // as they were before any has moved
	for name, a := range s.Actors {
		objects[name] = o.GatewayAt(a.Address)
	}
	for name, addr := range addresses {
		s.moved = append(s.moved, fmt.Sprintf("--address %s=%s", name, addr))
		a, isActor := s.Actors[name]
		server := o.ServerNamed(name)
		switch {
		case server != nil:
			server.Address = addr
		case isActor:
			if objects[name] != nil {
				objects[name].Address = addr
			}
			for _, uri := range o.PartnerURIs() {
				*uri = moveHost(*uri, a.Address, addr)
			}
			a.Address = addr
			s.Actors[name] = a
		default:
			return fmt.Errorf("%s has no server and no actor %q; %s", s.Name, name, yamlfile.Suggest(name, s.Parties()))
		}
	}
	slices.Sort(s.moved)
	return nil
}
