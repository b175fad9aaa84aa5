package admit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // old certificates are judged by the policy, not by what Go refuses
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// A real chain has two to four certificates. The bounds keep the signatures few
// that a stranger can let us check.
const (
	maxChain = 8
	maxSent  = 10
)

// chain leads from the first certificate to a trusted one, both included. A
// certificate that is itself trusted is a chain. Without a way the error says
// where it ends, and the chain is as far as it goes.
func (p *Policy) chain(certs []*x509.Certificate) ([]*x509.Certificate, error) {
	chain := []*x509.Certificate{certs[0]}
	for len(chain) <= maxChain {
		last := chain[len(chain)-1]
		if contains(p.Roots, last) {
			return chain, limits(chain)
		}
		next := issuer(last, p.Roots)
		if next == nil {
			next = issuer(last, certs[1:])
		}
		switch {
		case next == nil && selfIssued(last) && len(chain) == 1:
			return chain, errors.New("it is self-signed and not trusted")
		case next == nil:
			return chain, fmt.Errorf("its authority %s is not trusted", last.Issuer)
		case contains(chain, next):
			return chain, errors.New("its chain is a circle")
		}
		chain = append(chain, next)
	}
	return chain, fmt.Errorf("its chain is longer than %d", maxChain)
}

// limits checks what the authorities of a chain are limited to (RFC 5280
// §4.2.1.9, §6.1.4). Constraints on names are not judged, so that an authority
// with any is not taken.
func limits(chain []*x509.Certificate) error {
	for i, c := range chain {
		below := i - 1 // authorities between it and the peer
		switch {
		case len(c.UnhandledCriticalExtensions) > 0:
			return fmt.Errorf("%s has a critical extension that is not known (%s)", c.Subject, c.UnhandledCriticalExtensions[0])
		case i > 0 && (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen:
			return fmt.Errorf("%s allows %d authorities below it, and there are %d", c.Subject, c.MaxPathLen, below)
		case i > 0 && constrained(c):
			return fmt.Errorf("%s has name constraints, which are not judged here", c.Subject)
		}
	}
	return nil
}

func constrained(c *x509.Certificate) bool {
	for _, list := range [][]string{c.PermittedDNSDomains, c.ExcludedDNSDomains, c.PermittedEmailAddresses, c.ExcludedEmailAddresses, c.PermittedURIDomains, c.ExcludedURIDomains} {
		if len(list) > 0 {
			return true
		}
	}
	return len(c.PermittedIPRanges)+len(c.ExcludedIPRanges) > 0
}

// issuer finds the authority that signed a certificate, by its name and by the
// signature. An authority may have renewed its own certificate with the same
// key: the one that is valid today comes first.
func issuer(c *x509.Certificate, among []*x509.Certificate) (found *x509.Certificate) {
	now := time.Now()
	for _, a := range among {
		if bytes.Equal(a.RawSubject, c.RawIssuer) && !a.Equal(c) && a.BasicConstraintsValid && a.IsCA &&
			(a.KeyUsage == 0 || a.KeyUsage&x509.KeyUsageCertSign != 0) && signed(a, c) == nil {
			if now.After(a.NotBefore) && now.Before(a.NotAfter) {
				return a
			}
			found = a
		}
	}
	return found
}

// signed checks a certificate's signature.
func signed(by, c *x509.Certificate) error {
	return verify(by, c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
}

// verify checks a signature. SHA-1, which Go refuses whatever the policy says,
// is checked here: whether it is good enough is a check of its own.
func verify(by *x509.Certificate, algorithm x509.SignatureAlgorithm, content, signature []byte) error {
	sum := sha1.Sum(content) //nolint:gosec // see the import
	switch algorithm {
	case x509.SHA1WithRSA:
		if key, ok := by.PublicKey.(*rsa.PublicKey); ok {
			return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
		}
	case x509.ECDSAWithSHA1:
		if key, ok := by.PublicKey.(*ecdsa.PublicKey); ok && ecdsa.VerifyASN1(key, sum[:], signature) {
			return nil
		}
	default:
		return by.CheckSignature(algorithm, content, signature)
	}
	return x509.ErrUnsupportedAlgorithm
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	for _, o := range list {
		if o.Equal(c) {
			return true
		}
	}
	return false
}
