package transport

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
)

// Trust is whose certificates mean something to receive connectors.
type Trust struct {
	// Direct are the SHA-256 thumbprints of certificates that are trusted because
	// they are there, as a subscription leaves them, with their owners.
	Direct map[[sha256.Size]byte]string
	// Roots verify those of domain security.
	Roots *x509.CertPool
}

// Thumbprint is that of a certificate.
func Thumbprint(c *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// directTrust is the owner of the certificate that a peer showed behind
// X-ANONYMOUSTLS, "" if it is not trusted: it counts that it is there, not who
// issued it, nor until when
// (https://learn.microsoft.com/previous-versions/office/exchange-server-2007/bb331973(v=exchg.80)).
func (c *ReceiveConnector) directTrust(p smtp.Peer) string {
	if p.Secured != verbAnonymousTLS || p.TLS == nil || len(p.TLS.PeerCertificates) == 0 || c.conf.Trust == nil {
		return ""
	}
	return c.conf.Trust.Direct[Thumbprint(p.TLS.PeerCertificates[0])]
}

// domainSecurity holds a sender of a domain that needs mutual TLS against what
// the peer has shown.
func (s *session) domainSecurity(from string) error {
	domain := strings.ToLower(domainOf(from))
	c := s.c
	if !c.fact.DomainSecure || !c.conf.Org.DomainSecurity.Receives(domain) {
		return nil
	}
	err := c.verified(s.peer, domain)
	s.c.conf.Trace.Record(s.peer.Trace, noCause, secureDomain{domain, err}, nil)
	if err != nil {
		return &smtp.Refusal{Reply: replyCertificateRequired, Cause: err}
	}
	if c.fact.Allows(profile.Partners) && s.who.group == profile.AnonymousUsers {
		s.become(identity{user: domain, group: profile.Partners})
	}
	return nil
}

// Why a sender of a secured domain is not one.
var (
	errInClear       = errors.New("the server did not use TLS")
	errNoCertificate = errors.New("the server showed no certificate")
)

// verified reports whether a peer has shown a certificate that names a domain.
func (c *ReceiveConnector) verified(p smtp.Peer, domain string) error {
	switch {
	case p.TLS == nil:
		return errInClear
	case len(p.TLS.PeerCertificates) == 0:
		return errNoCertificate
	}
	return namesDomain(p.TLS.PeerCertificates, c.conf.Trust.Roots, domain)
}

// verifyChain holds a peer's certificates against options without intermediates.
func verifyChain(chain []*x509.Certificate, o x509.VerifyOptions) error {
	o.Intermediates = x509.NewCertPool()
	for _, more := range chain[1:] {
		o.Intermediates.AddCert(more)
	}
	_, err := chain[0].Verify(o)
	return err
}

// namesDomain reports whether a peer's certificate is good and names a domain.
func namesDomain(chain []*x509.Certificate, roots *x509.CertPool, domain string) error {
	if err := verifyChain(chain, x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	for _, n := range chain[0].DNSNames {
		n = strings.ToLower(n)
		if n == domain || strings.HasSuffix(n, "."+domain) {
			return nil
		}
	}
	return fmt.Errorf("the certificate does not contain the domain name %s", domain)
}

// secureDomain is what came of a sender in a domain that needs mutual TLS.
type secureDomain struct {
	domain string
	err    error
}

func (secureDomain) EventName() string { return "smtp.domain_security" }
func (e secureDomain) AppendTo(f *trace.Fields) {
	f.Text("domain", e.domain)
	if e.err != nil {
		f.Text("why", e.err.Error())
	} else {
		f.Text("why", "")
	}
}

// noCertificate is a connector for whose name the server has no certificate.
type noCertificate struct{ connector, wanted string }

func (noCertificate) EventName() string { return "smtp.no_certificate" }
func (e noCertificate) AppendTo(f *trace.Fields) {
	f.Text("connector", e.connector)
	f.Text("wanted", e.wanted)
}
