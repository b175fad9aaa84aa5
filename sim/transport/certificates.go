package transport

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"
)

// certificateFor is what a connector shows: of the server's certificates the one
// that it names as TlsCertificateName has it, <I>ISSUER<S>SUBJECT, or else one
// that names its FQDN, among several the one that lasts longest; without either
// the first one, which is the server's own. One whose time is over, or has not
// come, is none
// (https://techcommunity.microsoft.com, "TLS Certificates in Exchange Hybrid").
func certificateFor(certs []tls.Certificate, name, fqdn string, now time.Time) (best tls.Certificate, ok bool) {
	for _, c := range certs {
		leaf := c.Leaf
		switch {
		case leaf == nil || leaf.NotAfter.Before(now) || leaf.NotBefore.After(now):
		case name != "" && !sameName(name, CertificateName(leaf)):
		case name == "" && fqdn != "" && leaf.VerifyHostname(fqdn) != nil:
		case name == "" && fqdn == "":
			return c, true
		case !ok || leaf.NotAfter.After(best.Leaf.NotAfter):
			best, ok = c, true
		}
	}
	return best, ok
}

// CertificateName is how TlsCertificateName tells a certificate.
func CertificateName(c *x509.Certificate) string {
	return "<I>" + c.Issuer.String() + "<S>" + c.Subject.String()
}

// sameName compares such names, whatever stands around the commas.
func sameName(a, b string) bool {
	plain := strings.NewReplacer(", ", ",", "+ ", "+")
	return strings.EqualFold(plain.Replace(a), plain.Replace(b))
}
