package sasl

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	gosasl "github.com/emersion/go-sasl"
	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Initiator logs a principal on with tickets of its realm's KDC.
type Initiator struct {
	keytab *Keytab
	user   string
	conf   *config.Config
	realm  string
}

// Initiator is for the first of principals whose key is in the keytab; kdc is
// the ADDRESS:PORT of its realm's.
func (k *Keytab) Initiator(kdc string, principals ...string) (*Initiator, error) {
	for _, want := range principals {
		for _, e := range k.keys.Entries {
			name := strings.Join(e.Principal.Components, "/")
			if !strings.EqualFold(name, want) {
				continue
			}
			realm := e.Principal.Realm
			conf, err := config.NewFromString(fmt.Sprintf("[libdefaults]\n default_realm = %[1]s\n udp_preference_limit = 1\n dns_lookup_kdc = false\n[realms]\n %[1]s = {\n  kdc = %[2]s\n }\n", realm, kdc))
			if err != nil {
				return nil, fmt.Errorf("the keytab's realm %q: %w", realm, err)
			}
			return &Initiator{k, name, conf, realm}, nil
		}
	}
	return nil, fmt.Errorf("the keytab has no key of %s", strings.Join(principals, ", "))
}

// errNoTicket is a KDC that is not there, or gives no ticket.
var errNoTicket = errors.New("no ticket of the KDC")

// LogOn begins a log-on by GSSAPI to a service such as SMTPSVC/ex1.contoso.lab,
// which has to prove itself, too. The ticket is fetched here, for the first of its
// names that the KDC knows.
func (i *Initiator) LogOn(services ...string) (logOn gosasl.Client, err error) {
	defer func() {
		if p := recover(); p != nil { // the library does not expect everything
			logOn, err = nil, fmt.Errorf("%w: malformed answer: %v", errNoTicket, p)
		}
	}()
	cl := client.NewWithKeytab(i.user, i.realm, i.keytab.keys, i.conf, client.DisablePAFXFAST(true), client.Logger(log.New(io.Discard, "", 0)))
	defer cl.Destroy()
	if err := cl.Login(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTicket, err)
	}
	var ticket messages.Ticket
	var key types.EncryptionKey
	var errs []error
	for _, service := range services {
		if ticket, key, err = cl.GetServiceTicket(service); err == nil {
			break
		}
		errs = append(errs, fmt.Errorf("for %s: %w", service, err))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTicket, errors.Join(errs...))
	}
	token, err := spnego.NewKRB5TokenAPREQ(cl, ticket, key, []int{gssapi.ContextFlagMutual, gssapi.ContextFlagInteg}, []int{flags.APOptionMutualRequired})
	if err != nil {
		return nil, fmt.Errorf("GSSAPI: %w", err)
	}
	a := &initiation{session: key, key: key}
	if a.first, err = token.Marshal(); err != nil {
		return nil, fmt.Errorf("GSSAPI: %w", err)
	}
	// The authenticator is sealed: what the server has to give back is read there.
	if err := token.APReq.DecryptAuthenticator(key); err != nil {
		return nil, fmt.Errorf("GSSAPI: %w", err)
	}
	a.sent = token.APReq.Authenticator
	return a, nil
}

// initiation is the client's side of RFC 4752.
type initiation struct {
	first   []byte
	sent    types.Authenticator
	session types.EncryptionKey // of the ticket
	key     types.EncryptionKey // of the context
	subkey  bool                // the key is the server's
	step    int
	done    bool
}

// Start tells the mechanism and the ticket.
func (a *initiation) Start() (mechanism string, response []byte, err error) {
	return "GSSAPI", a.first, nil
}

// Proven is nil when the exchange was gone through.
func (a *initiation) Proven() error {
	if !a.done {
		return fmt.Errorf("GSSAPI: the server has not proven itself: %w", ErrRefused)
	}
	return nil
}

// Next goes through the exchange. What is malformed in a token is an error,
// also where it surprises the library.
func (a *initiation) Next(challenge []byte) (response []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("GSSAPI: malformed token: %v", p)
		}
	}()
	a.step++
	switch a.step {
	case 1:
		return []byte{}, a.proof(challenge)
	case 2:
		response, err = a.choose(challenge)
		a.done = err == nil
		return response, err
	}
	return nil, errFinished
}

// proof holds the server's AP-REP against what it was sent (RFC 4120 §3.2.5).
func (a *initiation) proof(token []byte) error {
	var t spnego.KRB5Token
	if err := t.Unmarshal(token); err != nil {
		return fmt.Errorf("GSSAPI: %w", err)
	}
	if !t.IsAPRep() {
		return fmt.Errorf("GSSAPI: the server does not prove itself: %w", ErrRefused)
	}
	b, err := crypto.DecryptEncPart(t.APRep.EncPart, a.session, keyusage.AP_REP_ENCPART)
	if err != nil {
		return fmt.Errorf("GSSAPI: the server's proof: %w", err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(b); err != nil {
		return fmt.Errorf("GSSAPI: the server's proof: %w", err)
	}
	if !part.CTime.Equal(a.sent.CTime) || part.Cusec != a.sent.Cusec {
		return fmt.Errorf("GSSAPI: the server's proof is of another log-on: %w", ErrRefused)
	}
	if len(part.Subkey.KeyValue) > 0 {
		a.key, a.subkey = part.Subkey, true
	}
	return nil
}

// choose takes no security layer, where the server allows that.
func (a *initiation) choose(token []byte) ([]byte, error) {
	var t gssapi.WrapToken
	if err := t.Unmarshal(token, true); err != nil {
		return nil, fmt.Errorf("GSSAPI: %w", err)
	}
	if ok, err := t.Verify(a.key, keyusage.GSSAPI_ACCEPTOR_SEAL); err != nil || !ok {
		return nil, fmt.Errorf("GSSAPI: the server's layers are not signed: %w", errors.Join(err, ErrRefused))
	}
	if len(t.Payload) != 4 || t.Payload[0]&noLayer == 0 {
		return nil, errors.New("GSSAPI: the server wants a security layer")
	}
	role := byte(0)
	if a.subkey {
		role = acceptorSubkey
	}
	return wrapped(a.key, role, uint64(a.sent.SeqNumber), keyusage.GSSAPI_INITIATOR_SEAL)
}

// Flags of a wrap token (RFC 4121 §4.2.2).
const (
	sentByAcceptor = 1
	acceptorSubkey = 4
)

// wrapped is the choice of no layer, with no buffer, signed (RFC 4752 §3.3).
func wrapped(key types.EncryptionKey, role byte, number uint64, usage uint32) ([]byte, error) {
	e, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	t := gssapi.WrapToken{Flags: role, SndSeqNum: number, EC: uint16(e.GetHMACBitLength() / 8), Payload: []byte{noLayer, 0, 0, 0}}
	if err := t.SetCheckSum(key, usage); err != nil {
		return nil, err
	}
	return t.Marshal()
}
