package admit

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Bad is a way in which a certificate can be wrong.
type Bad string

// The bad certificates.
const (
	Expired     Bad = "expired"
	NotYetValid Bad = "not-yet-valid"
	WrongName   Bad = "wrong-name"
	Wildcard    Bad = "wildcard"    // for every name of the domain, and so for none
	WrongUse    Bad = "wrong-use"   // for code signing
	CNOnly      Bad = "cn-only"     // no subject alternative name: Exchange takes it, many devices do not
	SHA1        Bad = "sha1"        // signed with SHA-1
	RSA1024     Bad = "rsa-1024"    // a key of 1024 bits
	SelfSigned  Bad = "self-signed" // trusted by nobody
	UnknownCA   Bad = "unknown-ca"  // of an authority that nobody knows
	Revoked     Bad = "revoked"     // on the revocation list

	Good Bad = "good" // nothing is wrong
)

// Bads lists the bad certificates.
func Bads() []Bad {
	return []Bad{Expired, NotYetValid, WrongName, Wildcard, WrongUse, CNOnly, SHA1, RSA1024, SelfSigned, UnknownCA, Revoked}
}

// IssueBad makes a certificate that is wrong in one way and right in all
// others.
func (a *Authority) IssueBad(bad Bad, r Request) (tls.Certificate, error) {
	t, by := r.template(), a
	r.RSA = r.RSA || bad == RSA1024
	bits := 2048
	switch bad {
	case Good:
	case Expired:
		t.NotBefore, t.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
	case NotYetValid:
		t.NotBefore, t.NotAfter = time.Now().AddDate(1, 0, 0), time.Now().AddDate(2, 0, 0)
	case WrongName:
		t.Subject.CommonName, t.DNSNames, t.IPAddresses = "somebody-else.invalid", []string{"somebody-else.invalid"}, nil
	case Wildcard:
		_, domain, _ := strings.Cut(t.Subject.CommonName, ".")
		t.Subject.CommonName, t.DNSNames, t.IPAddresses = "*."+domain, []string{"*." + domain}, nil
	case WrongUse:
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	case CNOnly:
		t.DNSNames, t.IPAddresses = nil, nil
	case SHA1:
		t.SignatureAlgorithm = x509.ECDSAWithSHA1
	case RSA1024:
		bits = 1024
	case UnknownCA:
		var err error
		if by, err = newAuthority("an authority that nobody knows"); err != nil {
			return tls.Certificate{}, err
		}
	case SelfSigned, Revoked:
	default:
		return tls.Certificate{}, fmt.Errorf("admit: no bad certificate %q; there are %s", bad, bads())
	}
	key, err := newKey(r.RSA, bits)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("admit: %w", err)
	}
	if bad == SelfSigned {
		cert, err := sign(t, t, key.Public(), key)
		if err != nil {
			return tls.Certificate{}, err
		}
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
	}
	cert, err := by.sign(t, key.Public())
	if err == nil && bad == Revoked {
		err = a.Revoke(cert)
	}
	return by.chained(cert, key), err
}

// bads lists them in words.
func bads() string {
	var list []string
	for _, b := range Bads() {
		list = append(list, string(b))
	}
	return strings.Join(list, ", ")
}
