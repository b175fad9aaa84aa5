package sim

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// certificate is what a server shows: the one that its authority's folder
// keeps under the server's name, or a new one.
func (x *Exchange) certificate(s *org.Server) (tls.Certificate, error) {
	return x.named(s.Name, s.FQDN, admit.Request{Names: []string{s.FQDN, s.Name}, Addrs: []netip.Addr{s.Address}, RSA: x.conf.Org.TLS.Legacy})
}

// mailCertificates are those that a server's connectors choose from: its own, and
// those of the further names that it has.
func (x *Exchange) mailCertificates(s *org.Server) ([]tls.Certificate, error) {
	own, err := x.certificate(s)
	certs := []tls.Certificate{own}
	for _, name := range s.Certificates {
		c, cerr := x.named(s.Name+"/"+name, name, admit.Request{Names: []string{name}, RSA: x.conf.Org.TLS.Legacy})
		certs, err = append(certs, c), errors.Join(err, cerr)
	}
	return certs, err
}

// named is a certificate that the authority's folder keeps under a name, or a new
// one: each time the same.
func (x *Exchange) named(key, name string, r admit.Request) (tls.Certificate, error) {
	if c, ok := x.certs[key]; ok {
		return c, nil
	}
	c, kept, err := x.lab.Kept(name)
	if err == nil && !kept {
		c, err = x.lab.Issue(r)
	}
	x.certs[key] = c
	return c, err
}

// MutualTLS is how the organisation shakes hands, with a certificate of its
// authority for these names: for a simulated gateway.
func (x *Exchange) MutualTLS(names ...string) (admit.TLS, error) {
	cert, err := x.lab.Issue(admit.Request{Names: names})
	return x.mutualTLS(cert), err
}

// Lab is the authority that the organisation trusts and is certified by.
func (x *Exchange) Lab() *admit.Authority { return x.lab }

// mutualTLS takes the certificates of gateways and servers, as the profile and
// the organisation say.
func (x *Exchange) mutualTLS(cert tls.Certificate) admit.TLS {
	t, o := x.profile.TLS, x.conf.Org.TLS
	policy := &admit.Policy{
		Roots: x.lab.Roots(), Revoked: x.lab.Lists, MinRSA: t.MinRSA,
		Levels: map[admit.Check]admit.Level{
			admit.CheckChain: admit.Level(t.Chain), admit.CheckDates: admit.Level(t.Dates), admit.CheckRevocation: admit.Level(t.Revocation),
			admit.CheckUsage: admit.Level(t.Usage), admit.CheckName: admit.Level(t.Name),
			admit.CheckAlgorithm: admit.Level(t.Algorithm), admit.CheckKeySize: admit.Level(t.KeySize),
		},
	}
	for check, level := range o.Checks {
		policy.Levels[admit.Check(check)] = admit.Level(level)
	}
	least := o.MinVersion
	if least == "" {
		least = t.MinVersion
	}
	expected := x.names()
	return admit.TLS{
		Keys:   x.conf.Capture.Keys(),
		Policy: policy, Cert: cert, Legacy: o.Legacy, Expect: anyOf(expected), Expected: strings.Join(expected, ", "),
		MinVersion: profile.TLSVersion(least),
	}
}

// names are those of all gateway objects and servers.
func (x *Exchange) names() []string {
	var list []string
	for _, g := range x.conf.Org.Gateways {
		if g.FQDN != "" {
			list = append(list, g.FQDN)
		}
	}
	for _, s := range x.conf.Org.Servers {
		list = append(list, s.FQDN)
	}
	return list
}

// expecting narrows the names to that of an address, where it is known.
func (x *Exchange) expecting(t admit.TLS, at netip.Addr) admit.TLS {
	name := ""
	if g, _ := x.gateways.At(at, ""); g != nil {
		name = g.FQDN
	}
	for i := range x.conf.Org.Servers {
		if s := &x.conf.Org.Servers[i]; s.Public() == at {
			name = s.FQDN
		}
	}
	if name != "" {
		t.Expect, t.Expected = anyOf([]string{name}), name
	}
	return t
}

// anyOf expects one of some names; it answers the one that was found.
func anyOf(expected []string) func([]string) (string, bool) {
	return func(names []string) (string, bool) {
		for _, e := range expected {
			if slices.ContainsFunc(names, func(n string) bool { return len(n) == len(e) && strings.EqualFold(n, e) }) { // no fold of Unicode
				return e, true
			}
		}
		return "", false
	}
}
