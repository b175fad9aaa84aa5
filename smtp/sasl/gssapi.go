package sasl

import (
	"errors"
	"fmt"
	"sync"
	"time"

	gosasl "github.com/emersion/go-sasl"
	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Keytab holds the keys of a server's service principals.
type Keytab struct {
	keys *keytab.Keytab

	mu   sync.Mutex
	seen map[string]time.Time // authenticators, and when they may come again
}

// maxSkew is how far the clocks of client and server may be apart
// (RFC 4120 §1.6).
const maxSkew = 5 * time.Minute

// LoadKeytab reads a keytab file, as ktutil or kadmin write it.
func LoadKeytab(name string) (*Keytab, error) {
	k, err := keytab.Load(name)
	if err != nil {
		return nil, fmt.Errorf("keytab %s: %w", name, err)
	}
	if len(k.Entries) == 0 {
		return nil, fmt.Errorf("keytab %s has no keys", name)
	}
	return &Keytab{keys: k, seen: map[string]time.Time{}}, nil
}

// replayed remembers an authenticator for as long as its time would pass, and
// reports whether it came before (RFC 4120 §3.2.3).
func (k *Keytab) replayed(r *messages.APReq) bool {
	a := &r.Authenticator
	key := fmt.Sprint(a.CRealm, a.CName.PrincipalNameString(), a.CTime.UnixNano(), a.Cusec, r.Ticket.SName.PrincipalNameString())
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for old, until := range k.seen {
		if until.Before(now) {
			delete(k.seen, old)
		}
	}
	_, before := k.seen[key]
	k.seen[key] = now.Add(2 * maxSkew)
	return before
}

// GSSAPI takes a Kerberos ticket (RFC 4752) and proves itself where the client
// wants mutual authentication. No security layer is offered: TLS is there.
// admit is told the client's principal, name and realm.
func GSSAPI(k *Keytab, admit func(principal, realm string) error) gosasl.Server {
	return &kerberos{keytab: k, admit: admit}
}

type kerberos struct {
	keytab           *Keytab
	admit            func(principal, realm string) error
	step             int
	key              types.EncryptionKey
	principal, realm string
}

// The steps: the ticket, our proof is read, the choice of a security layer.
const (
	stepTicket = iota
	stepProven
	stepLayer
)

// Next goes through the exchange. What is malformed in a token is an error,
// also where it surprises the library.
func (k *kerberos) Next(response []byte) (challenge []byte, done bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("GSSAPI: malformed token: %v", p)
		}
	}()
	if response == nil {
		return []byte{}, false, nil
	}
	k.step++
	switch k.step - 1 {
	case stepTicket:
		proof, err := k.ticket(response)
		if err == nil && proof == nil { // no mutual authentication: the layers come at once
			k.step++
			proof, err = k.layers()
		}
		return proof, false, err
	case stepProven:
		if len(response) != 0 {
			return nil, false, errors.New("GSSAPI: more than a proof was sent")
		}
		layers, err := k.layers()
		return layers, false, err
	case stepLayer:
		if err := k.chosen(response); err != nil {
			return nil, false, err
		}
		return nil, true, k.admit(k.principal, k.realm)
	}
	return nil, false, errFinished
}

// ticket verifies the client's AP-REQ, and answers it where mutual
// authentication is wanted.
func (k *kerberos) ticket(token []byte) (proof []byte, err error) {
	var t spnego.KRB5Token
	if err := t.Unmarshal(token); err != nil {
		return nil, fmt.Errorf("GSSAPI: %w", err)
	}
	if !t.IsAPReq() {
		return nil, errors.New("GSSAPI: the token is no AP-REQ")
	}
	if ok, err := t.APReq.Verify(k.keytab.keys, maxSkew, types.HostAddress{}, nil); err != nil || !ok {
		return nil, fmt.Errorf("GSSAPI: the ticket is not good: %w", errors.Join(err, ErrRefused))
	}
	if k.keytab.replayed(&t.APReq) {
		return nil, fmt.Errorf("GSSAPI: the ticket came before: %w", ErrRefused)
	}
	a := &t.APReq.Authenticator
	k.principal, k.realm = a.CName.PrincipalNameString(), a.CRealm
	k.key = t.APReq.Ticket.DecryptedEncPart.Key
	session := k.key
	if len(a.SubKey.KeyValue) > 0 {
		k.key = a.SubKey
	}
	if !mutual(a.Cksum.Checksum) {
		return nil, nil
	}
	return apRep(session, a)
}

// mutual reads the flag GSS_C_MUTUAL_FLAG of a checksum (RFC 4121 §4.1.1).
func mutual(checksum []byte) bool { return len(checksum) >= 24 && checksum[20]&2 != 0 }

// apRep proves that the server could read the ticket (RFC 4120 §5.5.2). The
// library reads this message, and does not write it.
func apRep(session types.EncryptionKey, a *types.Authenticator) ([]byte, error) {
	part, err := marshal(messages.EncAPRepPart{CTime: a.CTime, Cusec: a.Cusec}, asnAppTag.EncAPRepPart)
	if err != nil {
		return nil, err
	}
	sealed, err := crypto.GetEncryptedData(part, session, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	rep, err := marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: sealed}, asnAppTag.APREP)
	if err != nil {
		return nil, err
	}
	oid, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	if err != nil {
		return nil, err
	}
	token := append(append(oid, 2, 0), rep...) // 02 00 is the token's id, RFC 4121 §4.1
	return asn1tools.AddASNAppTag(token, 0), nil
}

// marshal encodes a message of Kerberos under its application tag.
func marshal(v any, tag int) ([]byte, error) {
	b, err := asn1.Marshal(v)
	return asn1tools.AddASNAppTag(b, tag), err
}

// noLayer offers and chooses no security layer, with no buffer (RFC 4752 §3.3).
const noLayer = 1

// layers is what we offer, wrapped.
func (k *kerberos) layers() ([]byte, error) {
	return wrapped(k.key, sentByAcceptor, 0, keyusage.GSSAPI_ACCEPTOR_SEAL)
}

// chosen is what the client has chosen of it.
func (k *kerberos) chosen(response []byte) error {
	var t gssapi.WrapToken
	if err := t.Unmarshal(response, false); err != nil {
		return fmt.Errorf("GSSAPI: %w", err)
	}
	if ok, err := t.Verify(k.key, keyusage.GSSAPI_INITIATOR_SEAL); err != nil || !ok {
		return fmt.Errorf("GSSAPI: the choice of a layer is not signed: %w", errors.Join(err, ErrRefused))
	}
	if len(t.Payload) < 4 || t.Payload[0] != noLayer {
		return errors.New("GSSAPI: a security layer was chosen that is not offered")
	}
	return nil
}
