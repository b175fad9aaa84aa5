package org

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Validate reports every mistake of the organisation to its file and fills in
// defaults.
func (o *Organisation) Validate(f *yamlfile.File) error {
	p, err := profile.Load(o.Version)
	if err != nil {
		f.Report(o.Pos, "", "%s", strings.TrimPrefix(err.Error(), "profile: "))
		return f.Err()
	}
	c := checker{f: f, o: o, p: p}
	c.servers()
	c.unifiedMessaging()
	c.dialPlans()
	c.gateways()
	c.huntGroups()
	c.association()
	c.policies()
	c.mailboxes()
	c.connectors()
	c.sendConnectors()
	c.mailSettings()
	c.attendants()
	c.security()
	c.redirect()
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
	o := c.o
	if len(o.DialPlans)+len(o.Gateways)+len(o.HuntGroups)+len(o.Attendants) == 0 {
		return // it is for mail alone
	}
	for _, r := range roles {
		if r != string(EdgeTransport) && len(c.o.ServersWith(Role(r))) == 0 {
			c.f.Report(c.o.Pos, "roles: ["+r+"]", "a call needs a server with the role %s", r)
		}
	}
}

// address is a plain SMTP address: what RFC 5321 calls a dot-string and a
// domain.
var address = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*@[A-Za-z0-9.-]+$`)

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

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

// redirect checks what redirects name.
func (c checker) redirect() {
	for _, h := range []profile.Host{c.o.Redirect.Router, c.o.Redirect.Service} {
		if h != "" && !hostName.MatchString(string(h)) && !isAddress(string(h)) {
			c.f.Report(c.o.Redirect.Pos, "address, server-fqdn, echo, or a name", "redirect: %q is no host name", h)
		}
	}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
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
	if !c.p.HasUM() {
		return
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

// unifiedMessaging reports what a version without it cannot have.
func (c checker) unifiedMessaging() {
	if c.p.HasUM() {
		return
	}
	none := func(there bool, at yamlfile.Pos, what string) {
		if there {
			c.f.Report(at, "Microsoft, What's discontinued in Exchange Server 2019", "%s: Exchange %s has no Unified Messaging; mail alone is simulated", what, c.o.Version)
		}
	}
	for _, d := range c.o.DialPlans {
		none(true, d.Pos, "dial plan "+d.Name)
	}
	for _, g := range c.o.Gateways {
		none(true, g.Pos, "gateway "+g.Name)
	}
	for _, m := range c.o.Mailboxes {
		none(m.Extension != "", m.Pos, "extension "+m.Extension)
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
	if o.RTP.DSCP > 63 {
		c.f.Report(o.RTP.Pos, "0 to 63", "rtp: dscp: %d", o.RTP.DSCP)
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
	if l.SubmitRetry != 0 && l.SubmitRetry < time.Second {
		c.f.Report(l.Pos, "at least 1s", "submit-retry: %s", l.SubmitRetry)
	}
	if r := o.Recycling; r.Interval < 0 || r.AfterCalls < 0 || r.DrainLimit < 0 {
		c.f.Report(r.Pos, "leave it out for the profile's", "recycling: a negative value")
	}
	if l.MaxCallsAllowed < 0 || l.MaxCallsAllowed > 200 {
		c.f.Report(l.Pos, "the range of Set-UMService", "max-calls-allowed: %d is not within 0 to 200", l.MaxCallsAllowed)
	}
}
