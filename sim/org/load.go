package org

import (
	"cmp"
	"embed"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed data/*.yaml
var data embed.FS

// Default returns the text of the organisation that is simulated when none is
// given, for a version.
func Default(version string) (name string, text []byte, err error) {
	name = "organisation/" + version + ".yaml"
	text, err = data.ReadFile("data/" + version + ".yaml")
	if err != nil {
		return "", nil, fmt.Errorf("org: Exchange version %q is not known; known are %s", version, strings.Join(profile.Versions(), ", "))
	}
	return name, text, nil
}

// Load reads and validates an organisation. The error lists every mistake
// with its place.
func Load(name string, text []byte) (*Organisation, error) {
	var o Organisation
	f, err := yamlfile.Load(name, text, &o)
	if err != nil {
		return nil, err
	}
	for _, file := range []*string{&o.Facts, &o.TLS.Authority, &o.Prompts.Greeting, &o.Prompts.Pilot} {
		if *file != "" && !filepath.IsAbs(*file) { // beside the organisation's own file
			*file = filepath.Join(filepath.Dir(name), *file)
		}
	}
	return &o, o.Validate(f)
}

// FromValue reads an organisation that is part of another file: it says only
// what differs from the default organisation of its version.
func FromValue(f *yamlfile.File, v yamlfile.Value, version string) *Organisation {
	if given, ok := v.Get("version"); ok {
		version = given.Text
	}
	name, text, err := Default(version)
	if err != nil {
		f.Report(v.Pos, "", "%v", err)
		return nil
	}
	o, err := Load(name, text)
	if err != nil {
		f.Report(v.Pos, "", "%v", err)
		return nil
	}
	if v.Kind != yamlfile.None {
		clearPlaces(o, v.Pos)
		f.DecodeOver(v, o)
		_ = o.Validate(f) // reported to f
	}
	return o
}

// clearPlaces lets mistakes in what comes from the base point to the place
// that made the base be used.
func clearPlaces(o *Organisation, at yamlfile.Pos) {
	o.Pos = at
	for i := range o.Servers {
		o.Servers[i].Pos, o.Servers[i].Places = at, nil
	}
	for i := range o.DialPlans {
		o.DialPlans[i].Pos = at
	}
	for i := range o.Gateways {
		o.Gateways[i].Pos = at
	}
	for i := range o.HuntGroups {
		o.HuntGroups[i].Pos = at
	}
	for i := range o.Mailboxes {
		o.Mailboxes[i].Pos = at
	}
}

// Validate reports every mistake of the organisation to its file and fills in
// defaults.
func (o *Organisation) Validate(f *yamlfile.File) error {
	p, err := profile.Load(o.Version)
	if err != nil {
		f.Report(o.Pos, "known are "+strings.Join(profile.Versions(), ", "), "Exchange version %q is not known", o.Version)
		return f.Err()
	}
	c := checker{f: f, o: o, p: p}
	c.servers()
	c.dialPlans()
	c.gateways()
	c.huntGroups()
	c.association()
	c.mailboxes()
	c.security()
	c.ranges()
	return f.Err()
}

type checker struct {
	f *yamlfile.File
	o *Organisation
	p *profile.Profile // of its version
}

// unique reports a name that stands twice.
func (c checker) unique(seen map[string]bool, what, name string, at yamlfile.Pos) {
	key := strings.ToLower(name)
	if seen[key] {
		c.f.Report(at, "", "%s %q stands twice", what, name)
	}
	seen[key] = true
}

func (c checker) servers() {
	names, addrs := map[string]bool{}, map[netip.Addr]string{}
	roles := c.p.Roles()
	for i := range c.o.Servers {
		s := &c.o.Servers[i]
		c.unique(names, "server", s.Name, s.Pos)
		if other, ok := addrs[s.Address]; ok {
			c.f.Report(s.Pos, "each server has an address of its own", "server %q has the address of %q", s.Name, other)
		}
		addrs[s.Address] = s.Name
		if !hostName.MatchString(s.FQDN) {
			c.f.Report(s.Pos, "letters, digits, hyphens and dots", "server %q: fqdn %q is no host name", s.Name, s.FQDN)
		}
		for _, r := range s.Roles {
			if !slices.Contains(roles, string(r)) {
				c.f.Report(s.Pos, yamlfile.Suggest(string(r), roles), "unknown role %q; the roles of Exchange %s are %s", r, c.o.Version, strings.Join(roles, ", "))
			}
		}
		if !c.p.Separate && s.Has(ClientAccess) != s.Has(MailboxRole) {
			c.f.Report(s.Pos, "roles: [client-access, mailbox]", "from 2016 a Mailbox server holds the Client Access services too")
		}
	}
	for _, r := range roles {
		if len(c.o.ServersWith(Role(r))) == 0 {
			c.f.Report(c.o.Pos, "roles: ["+r+"]", "a call needs a server with the role %s", r)
		}
	}
}

func (c checker) dialPlans() {
	names := map[string]bool{}
	for i := range c.o.DialPlans {
		d := &c.o.DialPlans[i]
		c.unique(names, "dial plan", d.Name, d.Pos)
		if d.Digits < 1 || d.Digits > 20 {
			c.f.Report(d.Pos, "", "dial plan %q: digits is 1 to 20, not %d", d.Name, d.Digits)
		}
		if d.URIType == "" {
			d.URIType = TelExtn
		}
		switch d.VoIPSecurity {
		case "":
			d.VoIPSecurity = Unsecured
		case Unsecured, SIPSecured, Secured:
		default:
			c.f.Report(d.Pos, "Unsecured, SIPSecured or Secured", "dial plan %q: unknown voip-security %q", d.Name, d.VoIPSecurity)
		}
		if d.URIType != TelExtn {
			c.f.Report(d.Pos, "", "dial plan %q: uri-type %q is not simulated; TelExtn is", d.Name, d.URIType)
		}
	}
}

// plan reports a reference to a dial plan that does not exist.
func (c checker) plan(what, name string, at yamlfile.Pos) *DialPlan {
	d := c.o.DialPlanNamed(name)
	if d == nil {
		var names []string
		for _, d := range c.o.DialPlans {
			names = append(names, d.Name)
		}
		c.f.Report(at, yamlfile.Suggest(name, names), "%s: no dial plan %q", what, name)
	}
	return d
}

func (c checker) gateways() {
	names, fqdns, addrs := map[string]bool{}, map[string]bool{}, map[netip.Addr]string{}
	for i := range c.o.Gateways {
		g := &c.o.Gateways[i]
		c.unique(names, "gateway", g.Name, g.Pos)
		if other, ok := addrs[g.Address]; ok && g.Address.IsValid() {
			c.f.Report(g.Pos, "", "gateway %q has the address of %q", g.Name, other)
		}
		addrs[g.Address] = g.Name
		if !g.Address.IsValid() && g.FQDN == "" {
			c.f.Report(g.Pos, "address: for TCP, fqdn: for TLS", "gateway %q has neither an address nor an fqdn", g.Name)
		}
		if g.FQDN != "" {
			c.unique(fqdns, "the fqdn of gateway", g.FQDN, g.Pos)
			if !hostName.MatchString(g.FQDN) {
				c.f.Report(g.Pos, "letters, digits, hyphens and dots; no wildcard", "gateway %q: fqdn %q is no host name", g.Name, g.FQDN)
			}
		}
		if g.Status == "" {
			g.Status = Enabled
		}
		if !slices.Contains(Statuses, g.Status) {
			c.f.Report(g.Pos, "Enabled, Disabled or NoNewCalls", "gateway %q: unknown status %q", g.Name, g.Status)
		}
		if g.IPAddressFamily == "" {
			g.IPAddressFamily = IPv4Only
		}
		if !slices.Contains([]IPAddressFamily{IPv4Only, IPv6Only, AnyFamily}, g.IPAddressFamily) {
			c.f.Report(g.Pos, "IPv4Only, IPv6Only or Any", "gateway %q: unknown ip-address-family %q", g.Name, g.IPAddressFamily)
		}
		if g.DialPlan != "" {
			c.plan("gateway "+g.Name, g.DialPlan, g.Pos)
			c.defaultHuntGroup(g)
		}
	}
}

// defaultHuntGroup makes the hunt group that a gateway with a dial plan has by
// itself: every call of the gateway is the dial plan's.
func (c checker) defaultHuntGroup(g *UMIPGateway) {
	if !slices.ContainsFunc(c.o.HuntGroups, func(h HuntGroup) bool { return h.Gateway == g.Name }) {
		c.o.HuntGroups = append(c.o.HuntGroups, HuntGroup{Pos: g.Pos, Name: "default hunt group of " + g.Name, Gateway: g.Name, DialPlan: g.DialPlan})
	}
}

// association checks how gateways and dial plans belong together.
func (c checker) association() {
	gateways := map[string]int{}
	for i := range c.o.Gateways {
		g := &c.o.Gateways[i]
		secured := c.o.Secured(g)
		if secured && g.FQDN == "" {
			c.f.Report(g.Pos, "fqdn: the name in its certificate", "gateway %q: its dial plan wants TLS, and over TLS a gateway is known by its fqdn", g.Name)
		}
		if g.Port == 0 {
			g.Port = map[bool]uint16{false: 5060, true: 5061}[secured]
		}
		plans := map[string]bool{}
		for _, h := range c.o.HuntGroups {
			if h.Gateway == g.Name && !plans[h.DialPlan] {
				plans[h.DialPlan] = true
				gateways[h.DialPlan]++
			}
		}
		if len(plans) == 0 {
			c.f.Report(g.Pos, "dial-plan: PLAN, or a hunt group for it", "gateway %q belongs to no dial plan", g.Name)
		}
	}
	for plan, n := range gateways {
		if d := c.o.DialPlanNamed(plan); d != nil && n > c.p.UM.MaxGateways {
			c.f.Report(d.Pos, "Microsoft, UM IP gateways: the UM service does not start", "dial plan %q has %d gateways, more than %d", plan, n, c.p.UM.MaxGateways)
		}
	}
}

func (c checker) huntGroups() {
	names, pilots := map[string]bool{}, map[string]bool{}
	for i := range c.o.HuntGroups {
		h := &c.o.HuntGroups[i]
		c.unique(names, "hunt group", h.Name, h.Pos)
		c.unique(pilots, "the pilot of gateway "+h.Gateway+",", h.Gateway+" "+h.Pilot, h.Pos)
		c.plan("hunt group "+h.Name, h.DialPlan, h.Pos)
		if !slices.ContainsFunc(c.o.Gateways, func(g UMIPGateway) bool { return g.Name == h.Gateway }) {
			c.f.Report(h.Pos, "", "hunt group %q: no gateway %q", h.Name, h.Gateway)
		}
	}
}

// address is a plain SMTP address: what RFC 5321 calls a dot-string and a
// domain.
var address = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*@[A-Za-z0-9.-]+$`)

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func (c checker) mailboxes() {
	addrs, exts := map[string]bool{}, map[string]bool{}
	for i := range c.o.Mailboxes {
		m := &c.o.Mailboxes[i]
		c.unique(addrs, "mailbox", m.Address, m.Pos)
		if _, domain, _ := strings.Cut(m.Address, "@"); !address.MatchString(m.Address) || !strings.EqualFold(domain, c.o.Domain) {
			c.f.Report(m.Pos, "", "mailbox address %q is not NAME@%s", m.Address, c.o.Domain)
		}
		if s := c.o.ServerNamed(m.Server); s == nil || !s.Has(MailboxRole) {
			c.f.Report(m.Pos, "", "mailbox %q: no Mailbox server %q", m.Name, m.Server)
		}
		if m.Extension == "" {
			continue
		}
		c.unique(exts, "extension", m.DialPlan+" "+m.Extension, m.Pos)
		if d := c.plan("mailbox "+m.Name, m.DialPlan, m.Pos); d != nil && !isExtension(m.Extension, d.Digits) {
			c.f.Report(m.Pos, "", "extension %q does not have the %d digits of dial plan %q", m.Extension, d.Digits, d.Name)
		}
	}
}

func isExtension(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789") == ""
}

// security checks start-up modes, fixed ports and the certificate policy.
func (c checker) security() {
	o := c.o
	modes := c.p.UM.StartupModes
	why, _ := c.p.Fact("um.startup-modes")
	mode := func(at yamlfile.Pos, of string, m *StartupMode) {
		if *m == "" {
			*m = ModeTCP
		}
		if !slices.Contains(modes, string(*m)) {
			c.f.Report(at, strings.Join(modes, ", "), "%s: Exchange %s has no um-startup-mode %s (%s: %s)", of, o.Version, *m, c.p.Sources[why.Source].Title, cmp.Or(why.Note, "see there"))
		}
	}
	if c.p.RoleOf("call-router") != "" {
		mode(o.Router.Pos, "call-router", &o.Router.UMStartupMode)
	} else if o.Router != (RouterSettings{}) {
		c.f.Report(o.Router.Pos, "um-startup-mode at a server", "Exchange %s has no call router", o.Version)
	}
	for i := range o.Servers {
		mode(o.Servers[i].Places.At("um-startup-mode", o.Servers[i].Pos), "server "+o.Servers[i].Name, &o.Servers[i].UMStartupMode)
	}
	c.reachable()
	for name, p := range map[string]FixedPorts{"um-service": o.UMService, "um-worker": o.UMWorker} {
		if p.SipTCPListeningPort != 0 || p.SipTLSListeningPort != 0 {
			c.f.Report(p.Pos, "the port that is bound is free: --port-offset", "%s: Exchange does not let this port be changed (%s)", name, umPorts)
		}
	}
	if o.WorkerPorts == "" {
		o.WorkerPorts = WorkerPortsDocumented
	}
	if o.WorkerPorts != WorkerPortsDocumented && o.WorkerPorts != WorkerPortsMajority {
		c.f.Report(o.Pos, "documented or majority", "unknown worker-ports %q", o.WorkerPorts)
	}
	for check, level := range o.TLS.Checks {
		if !slices.Contains(tlsChecks, check) {
			c.f.Report(o.TLS.Pos, yamlfile.Suggest(check, tlsChecks), "tls: unknown check %q", check)
		}
		if !slices.Contains([]string{"require", "warn", "ignore"}, level) {
			c.f.Report(o.TLS.Pos, "require, warn or ignore", "tls: check %s: unknown level %q", check, level)
		}
	}
	if v := o.TLS.MinVersion; v != "" && !slices.Contains([]string{"1.0", "1.1", "1.2", "1.3"}, v) {
		c.f.Report(o.TLS.Pos, `"1.0", "1.1", "1.2" or "1.3"`, "tls: unknown min-version %q", v)
	}
}

// reachable reports a dial plan whose calls no server could take.
func (c checker) reachable() {
	listens := func(service, transport string) bool {
		for _, s := range c.o.ServersWith(Role(c.p.RoleOf(service))) {
			mode := s.UMStartupMode
			if service == "call-router" {
				mode = c.o.Router.UMStartupMode
			}
			if mode.Listens(transport) {
				return true
			}
		}
		return false
	}
	for _, d := range c.o.DialPlans {
		transport := map[bool]string{true: "tcp", false: "tls"}[d.VoIPSecurity == Unsecured]
		used := slices.ContainsFunc(c.o.HuntGroups, func(h HuntGroup) bool { return h.DialPlan == d.Name })
		for _, service := range []string{c.p.Front(), "um-service"} {
			if used && !listens(service, transport) {
				c.f.Report(d.Pos, "um-startup-mode: "+strings.Join(c.p.UM.StartupModes, ", "), "dial plan %q is %s, and no %s listens on %s: none of its calls could be taken", d.Name, d.VoIPSecurity, service, transport)
				break
			}
		}
	}
}

// umPorts is where the ports that cannot be changed are documented.
const umPorts = "Microsoft, UM protocols, ports, and services"

var tlsChecks = []string{"chain", "dates", "revocation", "usage", "name", "algorithm", "key-size"}

func (c checker) ranges() {
	o := c.o
	if o.RTP.Low == 0 && o.RTP.High == 0 {
		o.RTP.Low, o.RTP.High = 1024, 65535
	}
	if o.RTP.Low < 1024 || o.RTP.Low >= o.RTP.High {
		c.f.Report(o.RTP.Pos, "", "rtp: %d-%d is not a range within 1024-65535", o.RTP.Low, o.RTP.High)
	}
	l := o.Limits
	for _, r := range []struct {
		name     string
		got      time.Duration
		min, max time.Duration
	}{
		{"max-call-duration", l.MaxCallDuration, 10 * time.Minute, 120 * time.Minute},
		{"max-recording-duration", l.MaxRecordingDuration, time.Minute, 100 * time.Minute},
		{"recording-idle-timeout", l.RecordingIdleTimeout, 2 * time.Second, 10 * time.Second},
	} {
		if r.got != 0 && (r.got < r.min || r.got > r.max) {
			c.f.Report(l.Pos, "the range of Set-UMDialPlan", "%s: %s is not within %s to %s", r.name, r.got, r.min, r.max)
		}
	}
	if r := o.Recycling; r.Interval < 0 || r.AfterCalls < 0 || r.DrainLimit < 0 {
		c.f.Report(r.Pos, "leave it out for the profile's", "recycling: a negative value")
	}
	if l.MaxCallsAllowed < 0 || l.MaxCallsAllowed > 200 {
		c.f.Report(l.Pos, "the range of Set-UMService", "max-calls-allowed: %d is not within 0 to 200", l.MaxCallsAllowed)
	}
}
