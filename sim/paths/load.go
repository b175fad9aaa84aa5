package paths

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// formatVersion is that of the plan language.
const formatVersion = 1

// maxHosts and maxAddresses keep a plan's pairs within what can be probed.
const (
	maxHosts     = 64
	maxAddresses = 8
	maxClosed    = 1024
	closedSample = 8
)

// Load reads and checks a plan file. The error lists every mistake with its
// place.
func Load(name string, text []byte) (*Plan, error) {
	c, err := profile.DataPaths()
	if err != nil {
		return nil, err
	}
	p := &Plan{catalogue: c, text: text}
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	f.Decode(f.Root, p)
	if _, given := p.Places["closed"]; !given {
		p.Closed.Sample = closedSample
	}
	l := &loader{f: f, p: p}
	l.check()
	if err := f.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// Text is the file.
func (p *Plan) Text() []byte { return slices.Clone(p.text) }

// Digest tells two plans apart: the ends of a probe must have the same.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.text)
	return hex.EncodeToString(sum[:8])
}

type loader struct {
	f *yamlfile.File
	p *Plan
}

func (l *loader) check() {
	p := l.p
	if p.Format != formatVersion && p.Format != 0 {
		l.f.Report(p.Places.At("plan", p.Pos), "plan: 1", "the language of plans has version %d", formatVersion)
	}
	l.name("name", p.Name, p.Places.At("name", p.Pos))
	if strings.ContainsAny(p.Contact, "\r\n") || len(p.Contact) > 100 {
		l.f.Report(p.Places.At("contact", p.Pos), "", "contact: a line of at most 100 characters")
	}
	l.zones()
	l.hosts()
	l.features()
	for _, r := range []struct {
		key string
		r   Range
	}{{"rtp", p.RTP}, {"rpc", p.RPC}} {
		l.ports(r.key, r.r)
	}
	l.extra()
	if n := p.Closed.Sample; n < 0 || n > maxClosed {
		l.f.Report(p.Places.At("closed", p.Pos), "", "closed: sample is %d, 0 to %d", n, maxClosed)
	}
	if p.Closed.Also.Has(0) || p.Closed.Also.Has(p.Control) {
		l.f.Report(p.Places.At("closed", p.Pos), "", "closed: also: 0 is no port, and %d is that of the control connection", p.Control)
	}
	if p.Control == 0 {
		l.f.Report(p.Places.At("control-port", p.Pos), "", "control-port: 0 is no port")
	}
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

func (l *loader) name(key, name string, at yamlfile.Pos) {
	if strings.Trim(name, nameLetters) != "" || len(name) > 64 {
		l.f.Report(at, "letters, digits, hyphens, underscores and dots, 64 at most", "%s %q is no name", key, name)
	}
}

func (l *loader) zones() {
	seen := map[string]bool{}
	for _, z := range l.p.Zones {
		l.name("zone", z.Name, z.Pos)
		if seen[z.Name] {
			l.f.Report(z.Pos, "", "zone %q stands twice", z.Name)
		}
		seen[z.Name] = true
	}
}

func (l *loader) hosts() {
	p := l.p
	if len(p.Hosts) > maxHosts {
		l.f.Report(p.Places.At("hosts", p.Pos), "make a plan for each part of the network", "%d hosts; %d at most", len(p.Hosts), maxHosts)
		p.Hosts = p.Hosts[:maxHosts]
	}
	names, addrs := map[string]bool{}, map[netip.Addr]string{}
	for i := range p.Hosts {
		h := &p.Hosts[i]
		l.name("host", h.Name, h.Pos)
		if names[h.Name] {
			l.f.Report(h.Pos, "", "host %q stands twice", h.Name)
		}
		names[h.Name] = true
		if h.Zone != "" && p.zone(h.Zone) == nil {
			l.f.Report(h.Places.At("zone", h.Pos), yamlfile.Suggest(h.Zone, l.zoneNames()), "host %q: no zone %q", h.Name, h.Zone)
		}
		l.roles(h)
		l.addresses(h, addrs)
		l.ports("rtp", h.RTP)
		for _, r := range h.ReachedAt {
			if p.zone(r.From) == nil {
				l.f.Report(r.Pos, yamlfile.Suggest(r.From, l.zoneNames()), "host %q: reached-at: no zone %q", h.Name, r.From)
			}
			if l.count(h, r.Address.Is6()) > 1 {
				l.f.Report(r.Pos, "make a host of each", "host %q has several addresses of this family: which of them is %s?", h.Name, r.Address)
			}
			if h.Sends(r.Address.Is6()) == (netip.Addr{}) {
				l.f.Report(r.Pos, "", "host %q has no address of its own of the family of %s", h.Name, r.Address)
			}
		}
		if _, err := netip.ParseAddrPort(h.Control); h.Control != "" && err != nil {
			l.f.Report(h.Places.At("control", h.Pos), "", "host %q: control %q is no ADDRESS:PORT", h.Name, h.Control)
		}
	}
}

func (l *loader) count(h *Host, ipv6 bool) int {
	n := 0
	for _, a := range h.Addresses {
		if a.Unmap().Is6() == ipv6 {
			n++
		}
	}
	return n
}

func (l *loader) roles(h *Host) {
	p := l.p
	known := p.catalogue.RolesOf(p.Exchange)
	for _, r := range h.Roles {
		if !slices.Contains(known, r) && slices.Contains(p.catalogue.Versions(), p.Exchange) {
			l.f.Report(h.Places.At("roles", h.Pos), yamlfile.Suggest(r, known), "host %q: no role %q in a plan of Exchange %s (exsim ports --roles --version %s)", h.Name, r, p.Exchange, p.Exchange)
		}
	}
	if h.Runs != "" && !h.Has("edge-transport") {
		l.f.Report(h.Places.At("version", h.Pos), "", "host %q: only an Edge Transport server has a version of its own", h.Name)
	}
}

func (l *loader) addresses(h *Host, seen map[netip.Addr]string) {
	at := h.Places.At("addresses", h.Pos)
	if n := len(h.Addresses); n == 0 || n > maxAddresses {
		if _, given := h.Places["addresses"]; given {
			l.f.Report(at, "", "host %q has %d addresses, 1 to %d", h.Name, n, maxAddresses)
		}
	}
	for i, a := range h.Addresses {
		a = a.Unmap()
		h.Addresses[i] = a
		if a.IsUnspecified() || a.IsMulticast() {
			l.f.Report(at, "", "host %q: %s is no address of a host", h.Name, a)
		}
		if other, ok := seen[a]; ok {
			l.f.Report(at, "each host has addresses of its own", "host %q has the address %s of %q", h.Name, a, other)
		}
		seen[a] = h.Name
	}
}

func (l *loader) features() {
	var known []string
	for _, f := range l.p.catalogue.Features {
		known = append(known, f.ID)
	}
	for _, u := range l.p.Uses {
		if !slices.Contains(known, u) {
			l.f.Report(l.p.Places.At("uses", l.p.Pos), yamlfile.Suggest(u, known), "uses: no feature %q", u)
		}
	}
}

func (l *loader) ports(key string, r Range) {
	if r != (Range{}) && (r.Low == 0 || r.Low > r.High) {
		l.f.Report(r.Pos, "", "%s: %d to %d is no range of ports", key, r.Low, r.High)
	}
}

func (l *loader) extra() {
	for _, x := range l.p.Extra {
		for key, name := range map[string]string{"from": x.From, "to": x.To} {
			if name != "" && l.p.Host(name) == nil {
				l.f.Report(x.Places.At(key, x.Pos), yamlfile.Suggest(name, l.p.HostNames()), "extra: no host %q", name)
			}
		}
		if x.From == x.To && x.From != "" {
			l.f.Report(x.Pos, "", "extra: a path leads from one host to another")
		}
		if x.Ports.Has(0) {
			l.f.Report(x.Places.At("ports", x.Pos), "", "extra: 0 is no port")
		}
	}
}

func (l *loader) zoneNames() []string {
	var names []string
	for _, z := range l.p.Zones {
		names = append(names, z.Name)
	}
	return names
}
