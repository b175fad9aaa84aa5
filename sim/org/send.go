package org

import (
	"net/netip"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/yamlfile"
)

// SendConnector sends what is not for the organisation to one next hop. Its
// settings have the names of Set-SendConnector
// (https://learn.microsoft.com/powershell/module/exchangepowershell/set-sendconnector).
type SendConnector struct {
	Pos           yamlfile.Pos
	Places        yamlfile.Places
	Name          string         `yaml:"name,required" doc:"of the connector"`
	Server        string         `yaml:"server,required" doc:"name of the server that sends"`
	AddressSpaces []string       `yaml:"address-spaces,required" doc:"domains that it is for: fabrikam.example, *.fabrikam.example (those below it), * (all others)"`
	SmartHost     netip.AddrPort `yaml:"smart-host,required" doc:"ADDRESS:PORT of the next hop"`
	SmartHostName string         `yaml:"smart-host-name" doc:"its name, for domain validation"`
	FQDN          string         `yaml:"fqdn" doc:"name in EHLO; left out: the server's"`

	ForceHELO       bool          `yaml:"force-helo" doc:"says HELO, not EHLO"`
	IgnoreSTARTTLS  bool          `yaml:"ignore-starttls" doc:"sends in clear, whatever is offered"`
	RequireTLS      bool          `yaml:"require-tls" doc:"sends nothing in clear"`
	TLSAuthLevel    TLSAuthLevel  `yaml:"tls-auth-level" enum:"EncryptionOnly,CertificateValidation,DomainValidation" doc:"what is asked of the next hop's certificate; left out: nothing"`
	TLSDomain       string        `yaml:"tls-domain" doc:"name that DomainValidation wants in it; left out: smart-host-name"`
	DomainSecure    bool          `yaml:"domain-secure-enabled" doc:"mutual TLS with the domains of domain-security, whose servers the next hop stands for"`
	TLSCertificate  string        `yaml:"tls-certificate-name" doc:"<I>ISSUER<S>SUBJECT of the certificate that is shown; one that the server does not have keeps all mail in the queue"`
	Auth            SendAuth      `yaml:"smart-host-auth-mechanism" enum:"None,BasicAuth,BasicAuthRequireTLS,ExchangeServer" doc:"how it logs on (None, if left out)"`
	User            string        `yaml:"user" doc:"that logs on"`
	Password        string        `yaml:"password" doc:"of the user"`
	InactiveTimeout time.Duration `yaml:"connection-inactivity-timeout" doc:"wait for an answer; 10m if left out"`
	Retry           time.Duration `yaml:"message-retry-interval" doc:"wait before a message is tried again (Set-TransportService); 5m if left out"`
}

// ID is the name of the connector's queue.
func (s *SendConnector) ID() string { return slug(s.Name) }

// Unreachable is the queue of what no connector is for.
const Unreachable = "unreachable"

// TLSAuthLevel is what a send connector asks of a certificate.
type TLSAuthLevel string

// The levels, each with what the one before it asks.
const (
	EncryptionOnly        TLSAuthLevel = "EncryptionOnly"
	CertificateValidation TLSAuthLevel = "CertificateValidation"
	DomainValidation      TLSAuthLevel = "DomainValidation"
)

// SendAuth is how a send connector logs on.
type SendAuth string

// The mechanisms of a send connector.
const (
	SendAuthNone            SendAuth = "None"
	SendAuthBasic           SendAuth = "BasicAuth"
	SendAuthBasicRequireTLS SendAuth = "BasicAuthRequireTLS"
	SendAuthExchangeServer  SendAuth = "ExchangeServer"
)

// SendConnectorFor is the connector that a domain's mail leaves by: that with
// the narrowest address space, nil if there is none.
func (o *Organisation) SendConnectorFor(domain string) *SendConnector {
	var best *SendConnector
	narrow := -1
	for i := range o.SendConnectors {
		for _, space := range o.SendConnectors[i].AddressSpaces {
			if n := matches(strings.ToLower(space), strings.ToLower(domain)); n > narrow {
				best, narrow = &o.SendConnectors[i], n
			}
		}
	}
	return best
}

// matches is how narrow an address space is that a domain is in, -1 if it is not.
func matches(space, domain string) int {
	rest, below := strings.CutPrefix(space, "*")
	switch {
	case space == domain:
		return 2 * len(space)
	case below && strings.HasSuffix(domain, rest):
		return len(space)
	}
	return -1
}

func (c checker) sendConnectors() {
	names := map[string]bool{}
	for i := range c.o.SendConnectors {
		s := &c.o.SendConnectors[i]
		c.unique(names, "send connector", s.ID(), s.Pos)
		if id := s.ID(); id == "" || id == Unreachable {
			c.f.Report(s.Places.At("name", s.Pos), "", "send connector %q: the name of its queue would be %q", s.Name, id)
		}
		if c.o.ServerNamed(s.Server) == nil {
			c.f.Report(s.Places.At("server", s.Pos), "", "send connector %q: no server %q", s.Name, s.Server)
		}
		for _, space := range s.AddressSpaces {
			name := strings.TrimPrefix(strings.TrimPrefix(space, "*"), ".")
			if space != "*" && !hostName.MatchString(name) {
				c.f.Report(s.Places.At("address-spaces", s.Pos), "fabrikam.example, *.fabrikam.example or *", "send connector %q: address space %q", s.Name, space)
			}
		}
		basic := s.Auth == SendAuthBasic || s.Auth == SendAuthBasicRequireTLS
		for _, rule := range []struct {
			broken bool
			want   string
		}{
			{basic && (s.User == "" || s.Password == ""), "BasicAuth wants user and password"},
			{!basic && (s.User != "" || s.Password != ""), "user and password go with BasicAuth"},
			{s.Auth == SendAuthExchangeServer && c.o.Kerberos.KDC.IsValid() && s.SmartHostName == "", "ExchangeServer wants smart-host-name: a ticket is for a name"},
			{s.RequireTLS && s.IgnoreSTARTTLS, "require-tls and ignore-starttls are opposites"},
			{s.TLSAuthLevel == DomainValidation && s.TLSDomain == "" && s.SmartHostName == "", "DomainValidation wants tls-domain or smart-host-name"},
			{s.TLSAuthLevel != "" && s.IgnoreSTARTTLS, "tls-auth-level asks for TLS, which ignore-starttls leaves out"},
			{s.DomainSecure && s.IgnoreSTARTTLS, "domain-secure-enabled and ignore-starttls are opposites"},
			{s.TLSCertificate != "" && !strings.HasPrefix(s.TLSCertificate, "<I>"), "tls-certificate-name is <I>ISSUER<S>SUBJECT"},
		} {
			if rule.broken {
				c.f.Report(s.Pos, "Set-SendConnector", "send connector %q: %s", s.Name, rule.want)
			}
		}
	}
}
