package admit

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// revocation holds a certificate against the lists of its own authority. It is
// revoked if one of them names it, whatever the list's age. Without a list all
// is well; with none but old ones, or ones that cannot be verified, doubt says
// so.
func (p *Policy) revocation(c, by *x509.Certificate) (revoked bool, doubt string) {
	if p.Revoked == nil {
		return false, ""
	}
	current := false
	for _, list := range p.Revoked() {
		if !bytes.Equal(list.RawIssuer, by.RawSubject) || ofAnotherKey(list, by) {
			continue
		}
		if err := verify(by, list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature); err != nil {
			doubt = fmt.Sprintf("the revocation list of %s cannot be verified (%v)", by.Subject, err)
			continue
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return true, ""
			}
		}
		if end := list.NextUpdate; !end.IsZero() && time.Now().After(end) {
			doubt = fmt.Sprintf("the revocation list of %s ran out on %s: whether %s is revoked since then is not known", by.Subject, end.Format(time.RFC3339), c.Subject)
			continue
		}
		current = true
	}
	if current {
		doubt = ""
	}
	return false, doubt
}

// ofAnotherKey reports whether a list belongs to an authority that merely has
// the same name.
func ofAnotherKey(list *x509.RevocationList, by *x509.Certificate) bool {
	return len(list.AuthorityKeyId) > 0 && len(by.SubjectKeyId) > 0 && !bytes.Equal(list.AuthorityKeyId, by.SubjectKeyId)
}

// listFile is a file of the folder that held revocation lists when it was read.
type listFile struct {
	size  int64
	at    time.Time
	lists []*x509.RevocationList
}

// Lists are the revocation lists that the lab knows. Those of its folder are
// read again when a file has changed: what is revoked there counts at once.
func (a *Authority) Lists() []*x509.RevocationList {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir == "" {
		return slices.Clone(a.lists)
	}
	a.readLists()
	list := slices.Clone(a.lists)
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		list = append(list, a.files[name].lists...)
	}
	return list
}

// readLists reads what has changed. A file that cannot be read now, as while it
// is written, leaves what was read before.
func (a *Authority) readLists() {
	names, _ := filepath.Glob(filepath.Join(a.dir, trustedFolder, "*.pem")) // the pattern is ours
	names = append(names, filepath.Join(a.dir, listName))
	maps.DeleteFunc(a.files, func(name string, _ listFile) bool { return !slices.Contains(names, name) })
	for _, name := range names {
		info, err := os.Stat(name)
		if os.IsNotExist(err) {
			delete(a.files, name)
		}
		if old := a.files[name]; err != nil || old.size == info.Size() && old.at.Equal(info.ModTime()) {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if _, lists, err := parsePEM(name, text); err == nil {
			a.files[name] = listFile{info.Size(), info.ModTime(), lists}
		}
	}
}

// parsePEM reads the certificates and revocation lists of a text.
func parsePEM(name string, text []byte) (certs []*x509.Certificate, lists []*x509.RevocationList, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("admit: %s: %w", name, err)
			}
			certs = append(certs, c)
		case "X509 CRL":
			l, err := x509.ParseRevocationList(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("admit: %s: %w", name, err)
			}
			lists = append(lists, l)
		}
	}
	if len(certs)+len(lists) == 0 {
		return nil, nil, fmt.Errorf("admit: %s holds no certificate and no revocation list in PEM", name)
	}
	return certs, lists, nil
}
