package admit

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Check is one property of a peer's certificate.
type Check string

// The checks, in the order in which they are made.
const (
	CheckChain      Check = "chain"      // it leads to a trusted authority
	CheckDates      Check = "dates"      // it is valid today
	CheckRevocation Check = "revocation" // no revocation list names it
	CheckUsage      Check = "usage"      // its extended key usage fits its side
	CheckName       Check = "name"       // it names who is expected
	CheckAlgorithm  Check = "algorithm"  // it is signed with SHA-256 or better
	CheckKeySize    Check = "key-size"   // its key is long enough
)

// Checks lists the checks.
func Checks() []Check {
	return []Check{CheckChain, CheckDates, CheckRevocation, CheckUsage, CheckName, CheckAlgorithm, CheckKeySize}
}

// Level says what a failed check does.
type Level string

// The levels.
const (
	Require Level = "require" // the peer is refused
	Warn    Level = "warn"    // an event says so
	Ignore  Level = "ignore"  // nothing
)

// Policy says which certificates are taken. It stands in place of Go's own
// rules: gateways of Exchange's time have certificates that these refuse, with
// a common name only, signed with SHA-1, or for servers only.
type Policy struct {
	Levels map[Check]Level // a check that is not here is required
	Roots  []*x509.Certificate
	// Revoked returns the revocation lists that are known; nil is none.
	Revoked func() []*x509.RevocationList
	MinRSA  int // bits; 0 means 2048
}

// Finding is a failed check.
type Finding struct {
	Check Check
	Level Level
	What  string // is wrong with the certificate
}

// side is what a certificate is shown as.
type side struct {
	name  string
	usage x509.ExtKeyUsage
}

var (
	asClient = side{"client", x509.ExtKeyUsageClientAuth}
	asServer = side{"server", x509.ExtKeyUsageServerAuth}
)

// judge holds a certificate, with the others that were sent along, against the
// policy. names tells whether one of its names is expected, and whose it is.
func (p *Policy) judge(certs []*x509.Certificate, s side, names func([]string) (who string, ok bool)) (who string, found []Finding) {
	j := judgement{Policy: p}
	if len(certs) == 0 {
		j.fail(CheckChain, "no certificate was shown")
		return "", j.found
	}
	if len(certs) > maxSent {
		j.fail(CheckChain, "%d certificates are sent along, more than %d", len(certs), maxSent)
		return "", append(j.found, Finding{CheckChain, Require, "they are not looked at"})
	}
	chain, err := p.chain(certs)
	if err != nil {
		j.fail(CheckChain, "%v", err)
	}
	j.validity(chain)
	for _, c := range chain {
		if !fits(c, s.usage) {
			j.fail(CheckUsage, "the extended key usage of %s is not for a %s: %s", c.Subject, s.name, usages(c))
		}
	}
	who, ok := names(Names(certs[0]))
	if !ok {
		j.fail(CheckName, "it names %s", orNobody(Names(certs[0])))
	}
	j.strength(chain)
	return who, j.found
}

// judgement collects what is wrong with a certificate.
type judgement struct {
	*Policy
	found []Finding
}

func (j *judgement) fail(c Check, format string, args ...any) {
	level := j.Levels[c]
	if level == "" {
		level = Require
	}
	j.add(c, level, format, args...)
}

// doubt is a finding that refuses nobody.
func (j *judgement) doubt(c Check, format string, args ...any) { j.add(c, Warn, format, args...) }

func (j *judgement) add(c Check, level Level, format string, args ...any) {
	if j.Levels[c] != Ignore {
		j.found = append(j.found, Finding{c, level, printable(fmt.Sprintf(format, args...))})
	}
}

// validity checks whether each certificate counts today.
func (j *judgement) validity(chain []*x509.Certificate) {
	now := time.Now()
	for i, c := range chain {
		switch {
		case now.After(c.NotAfter):
			j.fail(CheckDates, "%s expired on %s", c.Subject, c.NotAfter.Format(time.RFC3339))
		case now.Before(c.NotBefore):
			j.fail(CheckDates, "%s is not valid before %s", c.Subject, c.NotBefore.Format(time.RFC3339))
		}
		if i+1 == len(chain) {
			break
		}
		revoked, doubt := j.revocation(c, chain[i+1])
		if revoked {
			j.fail(CheckRevocation, "%s is revoked (serial %s)", c.Subject, c.SerialNumber.Text(16))
		} else if doubt != "" {
			j.doubt(CheckRevocation, "%s", doubt)
		}
	}
}

// strength checks signatures and keys.
func (j *judgement) strength(chain []*x509.Certificate) {
	for _, c := range chain {
		if weak(c.SignatureAlgorithm) && !contains(j.Roots, c) {
			j.fail(CheckAlgorithm, "%s is signed with %s", c.Subject, c.SignatureAlgorithm)
		}
		if bits, enough := j.keySize(c); !enough {
			j.fail(CheckKeySize, "the key of %s has %d bits", c.Subject, bits)
		}
	}
}

// refusal is the first finding that refuses the peer.
func refusal(found []Finding) (Finding, bool) {
	i := slices.IndexFunc(found, func(f Finding) bool { return f.Level != Warn }) // a level that nobody knows refuses
	if i < 0 {
		return Finding{}, false
	}
	return found[i], true
}

// maxText bounds what a stranger's certificate writes into an event.
const maxText = 300

// printable is text of a certificate as it may be shown: bounded, and without
// what steers a terminal.
func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '.'
		}
		return r
	}, s)
}

// Names are all that a certificate says it is: its DNS names, addresses and,
// as Exchange's peers have it, the common name.
func Names(c *x509.Certificate) []string {
	list := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if cn := c.Subject.CommonName; cn != "" && !slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, cn) }) {
		list = append(list, cn)
	}
	return list
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// fits reports whether an extended key usage allows a side; none allows all
// (RFC 5280 §4.2.1.12).
func fits(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func usages(c *x509.Certificate) string {
	var list []string
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			list = append(list, "server authentication")
		case x509.ExtKeyUsageClientAuth:
			list = append(list, "client authentication")
		default:
			list = append(list, "another")
		}
	}
	if len(list) == 0 {
		return "another"
	}
	return strings.Join(list, ", ")
}

func (p *Policy) keySize(c *x509.Certificate) (bits int, enough bool) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		least := p.MinRSA
		if least == 0 {
			least = 2048
		}
		return k.N.BitLen(), k.N.BitLen() >= least
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize, k.Curve.Params().BitSize >= 256
	case ed25519.PublicKey:
		return 256, true
	}
	return 0, false
}

func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS, x509.PureEd25519:
		return false
	}
	return true
}
