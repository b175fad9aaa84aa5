package transport

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A connector shows the certificate that it names, or one with its name, or the
// server's own; never one that does not hold now.
func TestCertificateChoice(t *testing.T) {
	serial := int64(0)
	issue := func(from, until time.Duration, names ...string) tls.Certificate {
		serial++
		return tls.Certificate{Leaf: &x509.Certificate{
			SerialNumber: big.NewInt(serial), DNSNames: names, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
			Subject: pkix.Name{CommonName: names[0]}, Issuer: pkix.Name{CommonName: "lab", Organization: []string{"Contoso"}},
		}}
	}
	const hour = time.Hour
	own, short, long := issue(-hour, 2*hour, "ex1.contoso.lab"), issue(-hour, 3*hour, "mail.contoso.lab"), issue(-hour, 9*hour, "mail.contoso.lab")
	past, coming := issue(-3*hour, -hour, "old.contoso.lab"), issue(hour, 9*hour, "new.contoso.lab")
	all := []tls.Certificate{own, short, long, past, coming}
	for _, tt := range []struct {
		why, name, fqdn string
		want            *tls.Certificate
	}{
		{"no wish: the server's own, though others last longer", "", "", &own},
		{"its name", "", "ex1.contoso.lab", &own},
		{"of two the one that lasts longer", "", "mail.contoso.lab", &long},
		{"by name, whatever the FQDN", "<I>" + own.Leaf.Issuer.String() + "<S>CN=ex1.contoso.lab", "mail.contoso.lab", &own},
		{"with blanks behind commas", "<i>cn=lab, o=contoso<s>cn=EX1.contoso.lab", "", &own},
		{"nobody's name", "", "mx.elsewhere.lab", nil},
		{"over", "", "old.contoso.lab", nil},
		{"not yet", "", "new.contoso.lab", nil},
		{"gone", "<I>CN=x<S>CN=y", "ex1.contoso.lab", nil},
	} {
		got, ok := certificateFor(all, tt.name, tt.fqdn, time.Now())
		require.Equal(t, tt.want != nil, ok, tt.why)
		if ok {
			require.Equal(t, tt.want.Leaf.SerialNumber, got.Leaf.SerialNumber, tt.why)
		}
	}
}
