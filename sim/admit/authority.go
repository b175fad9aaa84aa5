package admit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Authority is the lab's certificate authority: ECDSA P-256, in memory or in a
// folder.
type Authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	dir     string              // "" is in memory
	trusted []*x509.Certificate // authorities beside it

	readOnly bool // the folder stays as it is

	mu    sync.Mutex
	lists []*x509.RevocationList // that lie in no file
	files map[string]listFile    // of the folder
}

// NewAuthority makes an authority that lasts as long as the process.
func NewAuthority() (*Authority, error) { return newAuthority("exsim lab authority") }

func newAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("admit: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(5, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := &Authority{key: key}
	a.cert, err = sign(template, template, key.Public(), key)
	return a, err
}

// Request is what a certificate shall say.
type Request struct {
	Names []string // DNS names; the first is the subject
	Addrs []netip.Addr
	RSA   bool // a key of RSA 2048 in place of ECDSA P-256
}

// Issue makes a certificate for client and server, valid for five years as
// Exchange's own.
func (a *Authority) Issue(r Request) (tls.Certificate, error) {
	key, err := newKey(r.RSA, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := a.sign(r.template(), key.Public())
	return a.chained(cert, key), err
}

func (r Request) template() *x509.Certificate {
	t := &x509.Certificate{
		DNSNames:    r.Names,
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().AddDate(5, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(r.Names) > 0 {
		t.Subject.CommonName = r.Names[0]
	}
	for _, ip := range r.Addrs {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	return t
}

// SignRequest signs the certificate request of a device, in PEM. Its names are
// those of the request, or names if they are given.
func (a *Authority) SignRequest(text []byte, names []string) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, errors.New("admit: no certificate request in PEM (BEGIN CERTIFICATE REQUEST)")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("admit: certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("admit: the certificate request is not signed by its own key: %w", err)
	}
	t := Request{Names: names}.template()
	if len(names) == 0 {
		t.Subject, t.DNSNames, t.IPAddresses = csr.Subject, csr.DNSNames, csr.IPAddresses
	}
	return a.sign(t, csr.PublicKey)
}

func newKey(useRSA bool, bits int) (crypto.Signer, error) {
	if useRSA {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func (a *Authority) sign(template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	return sign(template, a.cert, key, a.key)
}

// sign makes a certificate with a serial number of its own.
func sign(template, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("admit: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("admit: %w", err)
	}
	return x509.ParseCertificate(der)
}

// chained is a certificate as it is shown, with the authority behind it.
func (a *Authority) chained(cert *x509.Certificate, key crypto.Signer) tls.Certificate {
	if cert == nil {
		return tls.Certificate{}
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Revoke puts a certificate on the authority's revocation list.
func (a *Authority) Revoke(cert *x509.Certificate) error {
	if signed(a.cert, cert) != nil || !bytes.Equal(cert.RawIssuer, a.cert.RawSubject) || cert.Equal(a.cert) {
		return fmt.Errorf("admit: %s was not issued by this authority; its own authority revokes it", printable(cert.Subject.String()))
	}
	known := a.Lists()
	a.mu.Lock()
	defer a.mu.Unlock()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().AddDate(5, 0, 0)}
	entries := map[string]x509.RevocationListEntry{cert.SerialNumber.String(): {SerialNumber: cert.SerialNumber, RevocationTime: time.Now()}}
	for _, l := range known {
		if l.CheckSignatureFrom(a.cert) != nil {
			continue
		}
		for _, e := range l.RevokedCertificateEntries {
			entries[e.SerialNumber.String()] = e
		}
	}
	list.RevokedCertificateEntries = slices.Collect(maps.Values(entries))
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	if a.dir != "" && !a.readOnly {
		return a.writeList(der)
	}
	made, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	a.lists = []*x509.RevocationList{made}
	return nil
}

// Roots are the authorities that the lab trusts: itself and those imported.
func (a *Authority) Roots() []*x509.Certificate {
	return append([]*x509.Certificate{a.cert}, a.trusted...)
}

// Pool holds what Roots lists.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range a.Roots() {
		p.AddCert(c)
	}
	return p
}

// PEM is the authority's certificate, for a peer's trust store.
func (a *Authority) PEM() []byte { return certPEM(a.cert.Raw) }

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
