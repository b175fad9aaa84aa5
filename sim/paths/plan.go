// Package paths says what a network between Exchange servers and their peers
// must let through and what not: a plan file names zones, hosts and roles, and
// from the catalogue of documented data paths follow the flows between them,
// each with what is expected of it.
package paths

import (
	"net/netip"
	"slices"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Plan is one plan file.
type Plan struct {
	Pos      yamlfile.Pos
	Places   yamlfile.Places
	Format   int    `yaml:"plan,required" doc:"of the language: 1"`
	Name     string `yaml:"name,required" doc:"letters, digits, hyphens, underscores and dots"`
	Exchange string `yaml:"exchange,required" enum:"2007,2013,2016,2019" doc:"version whose port pages hold"`
	Contact  string `yaml:"contact" doc:"who answers for the probes, such as an address or a ticket; each probe carries it in clear"`

	Zones []Zone `yaml:"zones,required" doc:"networks with a filter between them"`
	Hosts []Host `yaml:"hosts,required" doc:"machines in the zones"`

	SIP       string     `yaml:"sip" default:"dual" enum:"dual,tcp,tls" doc:"transports of Unified Messaging that are in use, by its start-up mode"`
	RTP       Range      `yaml:"rtp" doc:"media ports of UM servers, where they were narrowed; 1024 to 65535 as documented if left out"`
	RPC       Range      `yaml:"rpc" doc:"dynamic RPC ports, where the range was fixed; without it paths over dynamic ports cannot be proven"`
	Media     Media      `yaml:"media" default:"static" enum:"static,signalled" doc:"how the filter opens media: by rules for the range, or for each call by the SIP that it reads"`
	ProxyPort uint16     `yaml:"proxy-port" doc:"of the proxy server that sender reputation uses; no page names one"`
	Uses      []string   `yaml:"uses" doc:"features that are in use: what is off by default, such as pop3, and those whose derived paths must then be open, such as play-on-phone"`
	Closed    ClosedRule `yaml:"closed" doc:"what must be closed, between zones that the pages allow to be restricted"`
	Extra     []Extra    `yaml:"extra" doc:"paths of your own beside the documented ones"`
	Control   uint16     `yaml:"control-port" default:"7800" doc:"TCP port on which the listening end is asked and tells what arrived"`

	catalogue *profile.Catalogue
	text      []byte
}

// Zone is a network with one policy.
type Zone struct {
	Pos  yamlfile.Pos
	Name string `yaml:"name,required" doc:"of the zone"`
	Kind string `yaml:"kind,required" enum:"internal,perimeter,internet" doc:"where it lies: inside, between two firewalls, or outside"`
	// Interface is of the filter, for rules that name it.
	Interface string `yaml:"interface" doc:"of the filter towards this zone, for exsim ports --check of rules that name interfaces"`
}

// Host is a machine, or one that stands in its place for the probes.
type Host struct {
	Pos       yamlfile.Pos
	Places    yamlfile.Places
	Name      string       `yaml:"name,required" doc:"of the host: exsim listen --as NAME"`
	Zone      string       `yaml:"zone,required" doc:"that it is in"`
	Roles     []string     `yaml:"roles,required" doc:"what it is; exsim ports --roles lists them"`
	Addresses []netip.Addr `yaml:"addresses,required" doc:"IPv4 and IPv6 addresses that it listens on and sends from; one path each"`
	ReachedAt []ReachedAt  `yaml:"reached-at" doc:"addresses under which other zones know it, where the network translates"`
	Runs      string       `yaml:"version" enum:"2007,2010,2013,2016,2019" doc:"of an Edge Transport server, where it is not the plan's"`
	Site      string       `yaml:"site" doc:"Active Directory site; servers without one are in one site"`
	RTP       Range        `yaml:"rtp" doc:"media ports of a gateway; without it the path to its media cannot be proven"`
	Control   string       `yaml:"control" doc:"ADDRESS:PORT of its control connection, where that takes another way than the probes"`
}

// ReachedAt is a host's address as another zone sees it.
type ReachedAt struct {
	Pos     yamlfile.Pos
	From    string     `yaml:"from,required" doc:"zone that uses this address"`
	Address netip.Addr `yaml:"address,required" doc:"that packets are sent to"`
}

// Range is a range of ports.
type Range struct {
	Pos  yamlfile.Pos
	Low  uint16 `yaml:"low,required" doc:"first port"`
	High uint16 `yaml:"high,required" doc:"last port"`
}

// Set is the range as a set; of a range that is left out, what otherwise holds.
func (r Range) Set(otherwise PortSet) PortSet {
	if r == (Range{}) {
		return otherwise
	}
	return PortsBetween(r.Low, r.High)
}

// ClosedRule says how much is tried that must be closed.
type ClosedRule struct {
	Sample int     `yaml:"sample" default:"8" doc:"how many undocumented ports are tried of each transport and pair of hosts"`
	Also   PortSet `yaml:"also" doc:"more TCP ports that must be closed, such as \"21,3389,5985\""`
}

// Extra is a path that no page knows.
type Extra struct {
	Pos       yamlfile.Pos
	Places    yamlfile.Places
	From      string  `yaml:"from,required" doc:"host that connects"`
	To        string  `yaml:"to,required" doc:"host that is connected to"`
	Transport string  `yaml:"transport" default:"tcp" enum:"tcp,udp" doc:"of the path"`
	Ports     PortSet `yaml:"ports,required" doc:"such as 8443 or \"8000-8010,8443\""`
	Expect    Expect  `yaml:"expect" default:"open" enum:"open,closed" doc:"what must be found"`
	Why       string  `yaml:"why" doc:"what it is for"`
}

// Expect is what must be found of a flow.
type Expect string

// The expectations.
const (
	Open   Expect = "open"
	Closed Expect = "closed"
)

// Host returns the host of this name, nil if there is none.
func (p *Plan) Host(name string) *Host {
	i := slices.IndexFunc(p.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Hosts[i]
}

// HostNames lists the hosts.
func (p *Plan) HostNames() []string {
	names := make([]string, len(p.Hosts))
	for i, h := range p.Hosts {
		names[i] = h.Name
	}
	return names
}

func (p *Plan) zone(name string) *Zone {
	i := slices.IndexFunc(p.Zones, func(z Zone) bool { return z.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Zones[i]
}

// Interface is the filter's interface towards a host, "" if the plan names none.
func (p *Plan) Interface(h *Host) string { return p.zone(h.Zone).Interface }

func (p *Plan) uses(feature string) bool { return slices.Contains(p.Uses, feature) }

func (p *Plan) hasRole(role string) bool {
	return slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.Has(role) })
}

// plays says whether a host is what a page calls role.
func (p *Plan) plays(h *Host, role string) bool {
	version := h.Runs
	if version == "" {
		version = p.Exchange
	}
	return role != "" && p.catalogue.Plays(p.Exchange, version, h.Roles, role)
}

// IsExchange says whether a host is an Exchange server, Edge Transport included.
func (p *Plan) IsExchange(h *Host) bool {
	return slices.ContainsFunc(h.Roles, func(r string) bool { return r == "edge-transport" || p.catalogue.Internal(r) })
}

// FirewallRules are the names of the rules that Setup makes on the servers.
func (p *Plan) FirewallRules() []string { return p.catalogue.FirewallRules(p.Exchange) }

// Has says whether the host has a role.
func (h *Host) Has(role string) bool { return slices.Contains(h.Roles, role) }

// Sends is the host's own address of a family, the zero Addr if it has none.
func (h *Host) Sends(ipv6 bool) netip.Addr {
	for _, a := range h.Addresses {
		if a.Is6() == ipv6 {
			return a
		}
	}
	return netip.Addr{}
}

// at is where a peer in a zone reaches the host, by its own address.
func (h *Host) at(zone string, own netip.Addr) netip.Addr {
	for _, r := range h.ReachedAt {
		if r.From == zone && r.Address.Is6() == own.Is6() {
			return r.Address
		}
	}
	return own
}
