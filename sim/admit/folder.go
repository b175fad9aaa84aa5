package admit

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// An authority's folder holds ca.pem, ca.key and crl.pem; in trusted the
// authorities beside it and their lists; in certs what was issued or imported,
// NAME.pem and NAME.key. Private keys are readable by their owner alone.
const (
	trustedFolder = "trusted"
	certsFolder   = "certs"
	listName      = "crl.pem"
)

// CreateAuthority makes an authority in a folder that has none.
func CreateAuthority(dir string) (*Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
		return nil, fmt.Errorf("admit: %s has an authority already; to begin anew, remove the folder", dir)
	}
	a, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	return a, a.keep(dir)
}

// keep writes the authority to a folder, where it stays from now on.
func (a *Authority) keep(dir string) error {
	a.dir, a.files = dir, map[string]listFile{}
	for _, sub := range []string{trustedFolder, certsFolder} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("admit: %w", err)
		}
	}
	return writePair(filepath.Join(dir, "ca"), tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key})
}

// OpenAuthority reads the authority of a folder.
func OpenAuthority(dir string) (*Authority, error) {
	pair, err := readPair(filepath.Join(dir, "ca"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admit: %s has no authority; make one with: exsim pki init --dir %s (%w)", dir, dir, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("admit: %s is no authority", filepath.Join(dir, "ca.pem"))
	}
	a := &Authority{cert: pair.Leaf, key: signer, dir: dir, files: map[string]listFile{}}
	files, err := filepath.Glob(filepath.Join(dir, trustedFolder, "*.pem"))
	if err != nil {
		return nil, fmt.Errorf("admit: %w", err)
	}
	for _, f := range append(files, filepath.Join(dir, listName)) {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("admit: %w", err)
		}
		certs, _, err := parsePEM(f, text)
		if err != nil {
			return nil, err
		}
		a.trusted = append(a.trusted, certs...)
	}
	return a, nil
}

// ReadOnly lets the authority leave its folder as it is: what is revoked from
// now on is remembered by this process alone.
func (a *Authority) ReadOnly() { a.readOnly = true }

// Imported says what Import did with a file.
type Imported struct {
	What string // "authority", "trusted" or "certificate"
	File string // that was written
}

// Import takes a PEM or PFX file into a folder: an authority with its key
// becomes the folder's own, authorities and revocation lists are trusted, and a
// certificate with its key is shown by the server of that name.
func Import(dir, name string, content []byte, password string) (Imported, error) {
	pair, text, err := parse(name, content, password)
	if err != nil {
		return Imported{}, err
	}
	if pair != nil && pair.Leaf.IsCA {
		if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
			return Imported{}, fmt.Errorf("admit: %s has an authority already; import into a new folder", dir)
		}
		signer, ok := pair.PrivateKey.(crypto.Signer)
		if !ok {
			return Imported{}, fmt.Errorf("admit: the key of %s cannot sign", name)
		}
		a := &Authority{cert: pair.Leaf, key: signer}
		return Imported{"authority", filepath.Join(dir, "ca.pem")}, a.keep(dir)
	}
	a, err := OpenAuthority(dir)
	if err != nil {
		return Imported{}, err
	}
	if pair != nil {
		path, err := a.Keep(pair.Leaf.Subject.CommonName, *pair, true)
		return Imported{"certificate", path}, err
	}
	if _, _, err := parsePEM(name, text); err != nil {
		return Imported{}, err
	}
	sum := sha256.Sum256(text) // an authority and its list often have one name
	base := fmt.Sprintf("%s-%x.pem", strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), sum[:4])
	path := filepath.Join(dir, trustedFolder, base)
	return Imported{"trusted", path}, os.WriteFile(path, text, 0o600)
}

// parse reads a PFX or PEM file: a certificate with its key, or a text without
// a key.
func parse(name string, content []byte, password string) (*tls.Certificate, []byte, error) {
	if block, _ := pem.Decode(content); block == nil {
		if text := fromDER(content); text != nil {
			return nil, text, nil
		}
		key, leaf, others, err := pkcs12.DecodeChain(content, password)
		if err != nil {
			return nil, nil, fmt.Errorf("admit: %s is no certificate or revocation list in PEM or DER, and no PFX that this password opens (%w)", name, err)
		}
		pair := &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
		for _, c := range others {
			pair.Certificate = append(pair.Certificate, c.Raw)
		}
		return pair, nil, nil
	}
	if !strings.Contains(string(content), "PRIVATE KEY-----") {
		return nil, content, nil
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		return nil, nil, fmt.Errorf("admit: %s: %w", name, err)
	}
	return &pair, nil, nil
}

// fromDER writes a certificate or a revocation list as PEM, nil if it is
// neither.
func fromDER(content []byte) []byte {
	if _, err := x509.ParseCertificate(content); err == nil {
		return certPEM(content)
	}
	if _, err := x509.ParseRevocationList(content); err == nil {
		return listPEM(content)
	}
	return nil
}

func listPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Keep writes a certificate and its key into the folder and returns the
// certificate's file. One that is there already is an error without replace.
func (a *Authority) Keep(name string, c tls.Certificate, replace bool) (string, error) {
	base, err := a.file(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(base + ".pem"); err == nil && !replace {
		return "", fmt.Errorf("admit: %s.pem is there already, and could not be revoked any more: revoke it, and use --replace", base)
	}
	return base + ".pem", writePair(base, c)
}

// KeepCertificate writes a certificate whose key a device has.
func (a *Authority) KeepCertificate(name string, c *x509.Certificate) (string, error) {
	base, err := a.file(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(base + ".key"); err == nil {
		return "", fmt.Errorf("admit: %s.pem has its key beside it and is kept; remove both, or use another name", base)
	}
	return base + ".pem", os.WriteFile(base+".pem", append(certPEM(c.Raw), a.PEM()...), 0o644) //nolint:gosec // a certificate is public
}

// Kept finds a certificate with its key in the folder.
func (a *Authority) Kept(name string) (tls.Certificate, bool, error) {
	base, err := a.file(name)
	if err != nil {
		return tls.Certificate{}, false, err
	}
	_, err = os.Stat(base + ".key")
	if a.dir == "" || errors.Is(err, os.ErrNotExist) {
		return tls.Certificate{}, false, nil
	}
	c, err := readPair(base)
	return c, err == nil, err
}

// file is where a certificate lies, without its extension.
func (a *Authority) file(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("admit: %q is no name for a certificate", name)
	}
	return filepath.Join(a.dir, certsFolder, strings.ReplaceAll(name, "*", "_")), nil
}

// PFX packs a kept certificate with its key and chain for a Windows or device
// import.
func PFX(c tls.Certificate, password string) ([]byte, error) {
	var chain []*x509.Certificate
	for _, der := range c.Certificate[1:] {
		p, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("admit: %w", err)
		}
		chain = append(chain, p)
	}
	return pkcs12.Modern.Encode(c.PrivateKey, c.Leaf, chain, password)
}

// writeList puts the authority's own list into its folder, whole: another
// process may be reading it.
func (a *Authority) writeList(der []byte) error {
	name := filepath.Join(a.dir, listName)
	if err := os.WriteFile(name+".new", listPEM(der), 0o644); err != nil { //nolint:gosec // a revocation list is public
		return fmt.Errorf("admit: %w", err)
	}
	return os.Rename(name+".new", name)
}

// writePair writes base.pem and base.key; the key is readable by its owner
// alone, whatever was there before.
func writePair(base string, c tls.Certificate) error {
	var text []byte
	for _, der := range c.Certificate {
		text = append(text, certPEM(der)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	_ = os.Remove(base + ".key")
	if err := os.WriteFile(base+".key", key, 0o600); err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	return os.WriteFile(base+".pem", text, 0o644) //nolint:gosec // a certificate is public
}

func readPair(base string) (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(base+".pem", base+".key")
	if err != nil {
		return c, fmt.Errorf("admit: %s.pem: %w", base, err)
	}
	return c, nil
}
