package org

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// ReceiveConnector is a receive connector of a server: a new one, or what
// differs in one that Setup has made.
type ReceiveConnector struct {
	Pos    yamlfile.Pos
	Places yamlfile.Places
	Name   string          `yaml:"name,required" doc:"of a new connector; or of one of the server's own, such as Default Frontend CAS1, of which only the settings that stand here differ"`
	Server string          `yaml:"server,required" doc:"name of the server"`
	Usage  Usage           `yaml:"usage" enum:"Client,Custom,Internal,Internet,Partner" doc:"of a new connector: gives it mechanisms and groups (Custom, if left out: Tls, and no group)"`
	Port   uint16          `yaml:"port" doc:"that it listens on, beside others there; left out: 25 of a new connector, and Setup's of the others"`
	Ranges []IPRange       `yaml:"remote-ip-ranges" doc:"who is served by it: addresses, networks (CIDR), LOW-HIGH; everybody if left out. Of several connectors at one port, the one with the narrowest range takes a connection"`
	Rights []profile.Right `yaml:"anonymous-rights" doc:"extended rights of ANONYMOUS LOGON here: ms-Exch-SMTP-Accept-Any-Recipient makes it a relay"`

	profile.ConnectorSettings
}

// Usage is a usage type of New-ReceiveConnector.
type Usage string

// IPRange is a range of addresses, both ends included.
type IPRange struct{ Low, High netip.Addr }

// UnmarshalText reads an address, a network or LOW-HIGH.
func (r *IPRange) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if p, err := netip.ParsePrefix(s); err == nil {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		r.Low, r.High = p.Masked().Addr(), last(p)
		return nil
	}
	low, high, two := strings.Cut(s, "-")
	var err, err2 error
	r.Low, err = netip.ParseAddr(strings.TrimSpace(low))
	if r.High = r.Low; two {
		r.High, err2 = netip.ParseAddr(strings.TrimSpace(high))
	}
	r.Low, r.High = r.Low.Unmap(), r.High.Unmap()
	if err != nil || err2 != nil || r.Low.Zone() != "" || r.High.Zone() != "" || r.Low.BitLen() != r.High.BitLen() || r.High.Less(r.Low) {
		return fmt.Errorf("%q is no address, network (10.0.0.0/8) or range (10.0.0.1-10.0.0.9)", s)
	}
	return nil
}

// MarshalText writes the range as it is read.
func (r IPRange) MarshalText() ([]byte, error) {
	if r.Low == r.High {
		return []byte(r.Low.String()), nil
	}
	return []byte(r.Low.String() + "-" + r.High.String()), nil
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Contains reports whether an address is in the range.
func (r IPRange) Contains(a netip.Addr) bool {
	a = a.Unmap()
	return a.BitLen() == r.Low.BitLen() && !a.Less(r.Low) && !r.High.Less(a)
}

// size is how many addresses lie between the ends, as a number of 16 octets.
func (r IPRange) size() [16]byte {
	low, high := r.Low.As16(), r.High.As16()
	borrow := 0
	var d [16]byte
	for i := 15; i >= 0; i-- {
		n := int(high[i]) - int(low[i]) - borrow
		borrow = 0
		if n < 0 {
			n, borrow = n+256, 1
		}
		d[i] = byte(n)
	}
	return d
}

// everywhere is the range of a connector that names none.
var everywhere = []IPRange{
	{netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})},
	{netip.IPv6Unspecified(), last(netip.MustParsePrefix("::/0"))},
}

// Connector is a receive connector as it is at work.
type Connector struct {
	ID     string // of its listener in events: the row of the port table, or its name
	Name   string
	Port   uint16 // as documented
	Ranges []IPRange
	Rights []profile.Right // of anonymous peers, besides those of their group
	Tail   []string        // keywords at the end of EHLO
	profile.ConnectorSettings
}

// ConnectorsOf are the receive connectors of a server: what Setup makes, as it was
// changed, and what was added.
func (o *Organisation) ConnectorsOf(p *profile.Profile, s *Server) []Connector {
	var list []Connector
	for _, r := range o.setupRows(p, s) {
		if f, ok := p.Connectors[r.ID]; ok && r.Protocol == "smtp" {
			name := strings.ReplaceAll(f.Name, "{server}", s.Name)
			list = append(list, Connector{ID: r.ID, Name: name, Port: r.Port, Ranges: everywhere, Tail: f.Tail, ConnectorSettings: f.ConnectorSettings})
		}
	}
	for i := range o.ReceiveConnectors {
		if rc := &o.ReceiveConnectors[i]; rc.Server == s.Name {
			list = rc.apply(p, list)
		}
	}
	return list
}

// ConnectorIDs are the IDs of the receive connectors of all servers.
func (o *Organisation) ConnectorIDs(p *profile.Profile) []string {
	var list []string
	for i := range o.Servers {
		s := &o.Servers[i]
		for _, c := range o.ConnectorsOf(p, s) {
			list = append(list, c.ID)
		}
	}
	return list
}

// apply changes the connector of its name, or adds one.
func (rc *ReceiveConnector) apply(p *profile.Profile, list []Connector) []Connector {
	i := slices.IndexFunc(list, func(c Connector) bool { return strings.EqualFold(c.Name, rc.Name) })
	if i < 0 {
		i = len(list)
		list = append(list, rc.fresh(p))
	}
	c := &list[i]
	if rc.Port != 0 {
		c.Port = rc.Port
	}
	yamlfile.Overlay(&c.ConnectorSettings, &rc.ConnectorSettings, rc.Places)
	if rc.Ranges != nil {
		c.Ranges = rc.Ranges
	}
	c.Rights = rc.Rights
	return list
}

// fresh is what New-ReceiveConnector makes of its usage.
func (rc *ReceiveConnector) fresh(p *profile.Profile) Connector {
	f, usage := p.Connectors["new"], p.Usages["Custom"]
	if rc.Usage != "" {
		usage = p.Usages[string(rc.Usage)]
	}
	c := Connector{ID: slug(rc.Name), Name: rc.Name, Port: 25, Ranges: everywhere, Tail: f.Tail, ConnectorSettings: f.ConnectorSettings}
	c.AuthMechanism, c.PermissionGroups = usage.AuthMechanism, usage.PermissionGroups
	return c
}

// slug is a name in the form of the ids of the port table.
func slug(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
}

// Serving is the connector of a list that takes a connection at a port: the one
// with the narrowest range that the address is in, nil if there is none.
func Serving(list []Connector, port uint16, from netip.Addr) *Connector {
	var best *Connector
	var size [16]byte
	for i := range list {
		for _, r := range list[i].Ranges {
			if d := r.size(); list[i].Port == port && r.Contains(from) && (best == nil || bytes.Compare(d[:], size[:]) < 0) {
				best, size = &list[i], d
			}
		}
	}
	return best
}
