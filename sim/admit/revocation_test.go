package admit

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A list that ran out, or that nobody can verify, leaves a doubt that is told;
// whom it names is revoked all the same, and a current list ends the doubt.
func TestRevocationInDoubt(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	other, err := NewAuthority() // of the same name
	require.NoError(t, err)
	good, err := lab.Issue(Request{Names: []string{"gw1"}})
	require.NoError(t, err)
	bad, err := lab.Issue(Request{Names: []string{"gw1"}})
	require.NoError(t, err)
	list := func(a *Authority, end time.Time, names ...*x509.Certificate) *x509.RevocationList {
		r := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: end}
		for _, c := range names {
			r.RevokedCertificateEntries = append(r.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, r, a.cert, a.key)
		require.NoError(t, err)
		made, err := x509.ParseRevocationList(der)
		require.NoError(t, err)
		return made
	}
	old, current := list(lab, time.Now().Add(-time.Hour), bad.Leaf), list(lab, time.Now().Add(time.Hour))
	forged := list(lab, time.Now().Add(time.Hour))
	forged.Signature = forged.Signature[1:]

	for _, tt := range []struct {
		cert  *x509.Certificate
		lists []*x509.RevocationList
		level Level
		want  string
		as    Level
	}{
		{good.Leaf, []*x509.RevocationList{old}, Require, "ran out on", Warn},
		{good.Leaf, []*x509.RevocationList{forged}, Require, "cannot be verified", Warn},
		{good.Leaf, []*x509.RevocationList{old, current}, Require, "", ""},
		{good.Leaf, []*x509.RevocationList{old}, Ignore, "", ""},
		{good.Leaf, []*x509.RevocationList{list(other, time.Now().Add(-time.Hour), good.Leaf)}, Require, "", ""},
		{bad.Leaf, []*x509.RevocationList{current, old}, Require, "is revoked", Require},
	} {
		p := &Policy{Roots: lab.Roots(), Revoked: func() []*x509.RevocationList { return tt.lists }, Levels: map[Check]Level{CheckRevocation: tt.level}}
		_, found := p.judge([]*x509.Certificate{tt.cert}, asClient, expect("gw1"))
		if tt.want == "" {
			require.Empty(t, found)
			continue
		}
		require.Len(t, found, 1)
		require.Equal(t, CheckRevocation, found[0].Check)
		require.Contains(t, found[0].What, tt.want)
		require.Equal(t, tt.as, found[0].Level)
	}
}

// An authority that renewed its certificate with the same key is found by the
// one that is valid today.
func TestRenewedAuthority(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	leaf, err := lab.Issue(Request{Names: []string{"gw1"}})
	require.NoError(t, err)
	old := *lab.cert
	old.NotBefore, old.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired, err := sign(&old, &old, lab.key.Public(), lab.key)
	require.NoError(t, err)
	p := &Policy{Roots: []*x509.Certificate{expired, lab.cert}}
	_, found := p.judge([]*x509.Certificate{leaf.Leaf}, asClient, expect("gw1"))
	require.Empty(t, found)
	p.Roots = p.Roots[:1]
	_, found = p.judge([]*x509.Certificate{leaf.Leaf}, asClient, expect("gw1"))
	require.Equal(t, CheckDates, found[0].Check)
}
