package admit

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// certsOf are the certificates that a peer would see.
func certsOf(t *testing.T, c tls.Certificate) []*x509.Certificate {
	t.Helper()
	var list []*x509.Certificate
	for _, der := range c.Certificate {
		p, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

// An authority in a folder is the same one when it is opened again, with what
// it issued, revoked and trusts; its keys are its owner's alone.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	_, err := OpenAuthority(dir)
	require.ErrorContains(t, err, "exsim pki init")
	a, err := CreateAuthority(dir)
	require.NoError(t, err)
	_, err = CreateAuthority(dir)
	require.ErrorContains(t, err, "has an authority already")

	c, err := a.Issue(Request{Names: []string{"gw1.contoso.lab"}})
	require.NoError(t, err)
	path, err := a.Keep("gw1.contoso.lab", c, false)
	require.NoError(t, err)
	_, err = a.Keep("gw1.contoso.lab", c, false)
	require.ErrorContains(t, err, "is there already")
	for _, key := range []string{filepath.Join(dir, "ca.key"), path[:len(path)-len("pem")] + "key"} {
		info, err := os.Stat(key)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), key)
	}
	for _, name := range []string{"", "../ca", "a/b", ".hidden"} {
		_, err = a.Keep(name, c, false)
		require.ErrorContains(t, err, "is no name", name)
	}
	require.NoError(t, a.Revoke(c.Leaf))

	b, err := OpenAuthority(dir)
	require.NoError(t, err)
	kept, found, err := b.Kept("gw1.contoso.lab")
	require.NoError(t, err)
	require.True(t, found)
	judge := func(a *Authority, c tls.Certificate) []Finding {
		_, findings := (&Policy{Roots: a.Roots(), Revoked: a.Lists}).judge(certsOf(t, c), asClient, expect("gw1.contoso.lab"))
		return findings
	}
	require.Equal(t, CheckRevocation, judge(b, kept)[0].Check)
	second, err := b.Issue(Request{Names: []string{"gw1.contoso.lab"}})
	require.NoError(t, err)
	require.Empty(t, judge(b, second))
	require.NoError(t, b.Revoke(second.Leaf))
	require.Len(t, b.Lists(), 1)
	require.Equal(t, CheckRevocation, judge(b, kept)[0].Check, "the first stays on the list")
}

// Import tells apart an authority to trust, one to become, and a certificate to
// show; PFX goes out and comes in.
func TestImport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	_, err := CreateAuthority(dir)
	require.NoError(t, err)
	company, err := CreateAuthority(filepath.Join(t.TempDir(), "company"))
	require.NoError(t, err)

	done, err := Import(dir, "company.crt", company.PEM(), "")
	require.NoError(t, err)
	require.Equal(t, "trusted", done.What)
	a, err := OpenAuthority(dir)
	require.NoError(t, err)
	require.Len(t, a.Roots(), 2)
	foreign, err := company.Issue(Request{Names: []string{"x.company.lab"}})
	require.NoError(t, err)
	require.ErrorContains(t, a.Revoke(foreign.Leaf), "was not issued by this authority")
	require.NoError(t, company.Revoke(foreign.Leaf))
	list, err := os.ReadFile(filepath.Join(company.dir, "crl.pem"))
	require.NoError(t, err)
	_, err = Import(dir, "company.crl", list, "")
	require.NoError(t, err)
	require.Len(t, a.Lists(), 1)
	_, found := (&Policy{Roots: a.Roots(), Revoked: a.Lists}).judge(certsOf(t, foreign), asClient, expect("x.company.lab"))
	require.Equal(t, CheckRevocation, found[0].Check, "an open authority reads what has come to its folder")
	a, err = OpenAuthority(dir)
	require.NoError(t, err)
	require.Len(t, a.Roots(), 2, "a list of the same name does not take the place of the authority")

	key, err := x509.MarshalPKCS8PrivateKey(company.key)
	require.NoError(t, err)
	withKey := append(company.PEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	_, err = Import(dir, "company.pem", withKey, "")
	require.ErrorContains(t, err, "import into a new folder")
	other := filepath.Join(t.TempDir(), "other")
	done, err = Import(other, "company.pem", withKey, "")
	require.NoError(t, err)
	require.Equal(t, "authority", done.What)
	became, err := OpenAuthority(other)
	require.NoError(t, err)
	require.True(t, became.cert.Equal(company.cert))

	c, err := company.Issue(Request{Names: []string{"mbx1.contoso.lab"}})
	require.NoError(t, err)
	pfx, err := PFX(c, "word")
	require.NoError(t, err)
	_, err = Import(dir, "mbx1.pfx", pfx, "wrong")
	require.ErrorContains(t, err, "no PFX that this password opens")
	done, err = Import(dir, "mbx1.pfx", pfx, "word")
	require.NoError(t, err)
	require.Equal(t, "certificate", done.What)
	kept, there, err := a.Kept("mbx1.contoso.lab")
	require.NoError(t, err)
	require.True(t, there)
	_, err = a.KeepCertificate("mbx1.contoso.lab", c.Leaf)
	require.ErrorContains(t, err, "has its key beside it")
	require.True(t, kept.Leaf.Equal(c.Leaf))

	der := filepath.Join(t.TempDir(), "der")
	_, err = CreateAuthority(der)
	require.NoError(t, err)
	_, err = Import(der, "company.cer", company.cert.Raw, "")
	require.NoError(t, err)
	b, err := OpenAuthority(der)
	require.NoError(t, err)
	require.True(t, b.Roots()[1].Equal(company.cert))
	_, err = OpenAuthority(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = Import(dir, "x.pem", []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"), "")
	require.ErrorContains(t, err, "no certificate and no revocation list")
}
