package org

import (
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// maxRanges is about how many remote ranges a connector holds
// (https://learn.microsoft.com/en-us/troubleshoot/exchange/mailflow/connector-remote-ip-address-limit-exceeded).
const maxRanges = 1200

func (c checker) connectors() {
	for i := range c.o.ReceiveConnectors {
		rc := &c.o.ReceiveConnectors[i]
		if c.o.ServerNamed(rc.Server) == nil {
			c.f.Report(rc.Places.At("server", rc.Pos), "", "connector %q: no server %q", rc.Name, rc.Server)
			continue
		}
		if slug(rc.Name) == "" {
			c.f.Report(rc.Pos, "", "connector %q: a name has letters or digits", rc.Name)
		}
		if len(rc.Ranges) > maxRanges {
			c.f.Report(rc.Places.At("remote-ip-ranges", rc.Pos), "use networks, or a second connector", "connector %q: %d ranges; Exchange takes about %d", rc.Name, len(rc.Ranges), maxRanges)
		}
		c.words(rc)
	}
	if len(c.o.ReceiveConnectors) > 0 {
		for i := range c.o.Servers {
			c.connectorsOf(&c.o.Servers[i])
		}
	}
}

// mailSettings checks what concerns all connectors.
func (c checker) mailSettings() {
	if k := c.o.Kerberos; k.KDC.IsValid() && k.Keytab == "" {
		c.f.Report(k.Pos, "keytab: servers.keytab", "kerberos: a KDC gives tickets to who has a key, and there is no keytab")
	}
	if c.o.Limits.MaxReceiveSize < 0 {
		c.f.Report(c.o.Limits.Pos, "octets", "limits: max-receive-size %d", c.o.Limits.MaxReceiveSize)
	}
	edge := slices.ContainsFunc(c.o.Servers, func(s Server) bool { return s.Has(EdgeTransport) })
	if (len(c.o.IPBlockList) > 0 || len(c.o.BlockedSenders) > 0) && !edge {
		c.f.Report(c.o.Pos, "a server with the role edge-transport", "ip-block-list and blocked-senders are of Edge servers, and there is none")
	}
	for _, b := range c.o.BlockedSenders {
		if domain := b[strings.LastIndexByte(b, '@')+1:]; !hostName.MatchString(domain) {
			c.f.Report(c.o.Pos, "spam.example, or bob@spam.example", "blocked-senders: %q is no domain and no address", b)
		}
	}
	for _, list := range [][]string{c.o.DomainSecurity.Receive, c.o.DomainSecurity.Send} {
		for _, domain := range list {
			if !hostName.MatchString(domain) {
				c.f.Report(c.o.DomainSecurity.Pos, "fabrikam.example", "domain-security: %q is no domain", domain)
			}
		}
	}
	for i := range c.o.Servers {
		for _, name := range c.o.Servers[i].Certificates {
			if !hostName.MatchString(strings.TrimPrefix(name, "*.")) {
				c.f.Report(c.o.Servers[i].Pos, "mail.contoso.lab", "server %q: certificates: %q is no host name", c.o.Servers[i].Name, name)
			}
		}
	}
}

// words checks mechanisms, groups and rights.
func (c checker) words(rc *ReceiveConnector) {
	for _, m := range rc.AuthMechanism {
		if !slices.Contains(profile.AuthMechanisms(), m) {
			c.f.Report(rc.Places.At("auth-mechanism", rc.Pos), yamlfile.Suggest(string(m), texts(profile.AuthMechanisms())), "connector %q: unknown mechanism %q", rc.Name, m)
		}
	}
	for _, g := range rc.PermissionGroups {
		if !slices.Contains(profile.PermissionGroups(), g) {
			c.f.Report(rc.Places.At("permission-groups", rc.Pos), yamlfile.Suggest(string(g), texts(profile.PermissionGroups())), "connector %q: unknown group %q", rc.Name, g)
		}
	}
	for _, r := range rc.Rights {
		known := slices.ContainsFunc(c.p.Permissions, func(p profile.Permission) bool { return p.Right == r })
		if !known {
			var all []string
			for _, p := range c.p.Permissions {
				all = append(all, string(p.Right))
			}
			c.f.Report(rc.Places.At("anonymous-rights", rc.Pos), yamlfile.Suggest(string(r), all), "connector %q: unknown right %q", rc.Name, r)
		}
	}
	if rc.TLSCertificate != "" && !strings.HasPrefix(rc.TLSCertificate, "<I>") {
		c.f.Report(rc.Places.At("tls-certificate-name", rc.Pos), "<I>CN=Contoso CA<S>CN=mail.contoso.lab, as openssl x509 -issuer -subject tells them", "connector %q: tls-certificate-name is <I>ISSUER<S>SUBJECT", rc.Name)
	}
	if rc.FQDN != "" && !hostName.MatchString(rc.FQDN) {
		c.f.Report(rc.Places.At("fqdn", rc.Pos), "mail.contoso.lab", "connector %q: fqdn %q is no host name", rc.Name, rc.FQDN)
	}
	if rc.Banner != "" && !strings.HasPrefix(rc.Banner, "220 ") {
		c.f.Report(rc.Places.At("banner", rc.Pos), "banner: 220 ...", "connector %q: a banner begins with 220 (Set-ReceiveConnector)", rc.Name)
	}
}

func texts[T ~string](list []T) []string {
	all := make([]string, len(list))
	for i, t := range list {
		all[i] = string(t)
	}
	return all
}

// connectorsOf checks what the connectors of a server are together.
func (c checker) connectorsOf(s *Server) {
	list := c.o.ConnectorsOf(c.p, s)
	for i := range list {
		a := &list[i]
		at := s.Pos
		if k := slices.IndexFunc(c.o.ReceiveConnectors, func(rc ReceiveConnector) bool {
			return rc.Server == s.Name && strings.EqualFold(rc.Name, a.Name)
		}); k >= 0 {
			at = c.o.ReceiveConnectors[k].Pos
		}
		c.mechanisms(a, at)
		for j := range list[:i] {
			if b := &list[j]; a.Port == b.Port && slices.ContainsFunc(a.Ranges, func(r IPRange) bool { return slices.Contains(b.Ranges, r) }) {
				c.f.Report(at, "give it narrower remote-ip-ranges, or another port", "connector %q has the port and the range of %q: Exchange takes no two of them", a.Name, b.Name)
			}
			if list[j].ID == a.ID {
				c.f.Report(at, "", "connectors %q and %q have one name in events: %s", a.Name, list[j].Name, a.ID)
			}
		}
	}
}

// mechanisms checks what Set-ReceiveConnector asks of AuthMechanism.
func (c checker) mechanisms(a *Connector, at yamlfile.Pos) {
	for _, rule := range []struct {
		broken bool
		want   string
	}{
		{a.Has(profile.AuthBasicRequireTLS) && (!a.Has(profile.AuthBasic) || !a.Has(profile.AuthTLS)), "BasicAuthRequireTLS needs BasicAuth and Tls"},
		{a.RequireTLS && !a.Has(profile.AuthTLS), "require-tls needs Tls"},
		{a.DomainSecure && !a.Has(profile.AuthTLS), "domain-secure-enabled needs Tls"},
		{a.DomainSecure && a.Has(profile.AuthExternalAuthoritative), "domain-secure-enabled does not go with ExternalAuthoritative"},
		{a.Has(profile.AuthExternalAuthoritative) && !a.Allows(profile.ExchangeServers), "ExternalAuthoritative needs the group ExchangeServers"},
		{a.Has(profile.AuthExternalAuthoritative) && slices.ContainsFunc(a.AuthMechanism, func(m profile.AuthMechanism) bool {
			return m != profile.AuthTLS && m != profile.AuthExternalAuthoritative
		}), "ExternalAuthoritative goes with Tls alone"},
	} {
		if rule.broken {
			c.f.Report(at, "Set-ReceiveConnector", "connector %q: %s", a.Name, rule.want)
		}
	}
}
