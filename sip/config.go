// Package sip is the SIP side of a simulated machine: listeners and
// connections over byte streams, framing, transactions and dialogs
// (RFC 3261), for servers and callers alike.
//
// It knows the standard and its grammar, never dial plans or products: how a
// reply sounds and whether a listener redirects or answers comes in with the
// Config and the Handler. Messages are handled on the goroutine that reads
// them, in the order in which they arrived, so a CANCEL never overtakes its
// INVITE. There is no UDP here.
package sip

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

// URI is a parsed SIP URI.
type URI = sipgo.Uri

// Handler stands behind an endpoint.
type Handler interface {
	// ServeSIP is called for each valid request outside a dialog that opens a
	// transaction: INVITE, OPTIONS and whatever Config.Allow names; never ACK
	// or CANCEL. It runs on the connection's reading goroutine, in order of
	// arrival, and must not block: it answers tx, or calls tx.Defer first and
	// answers later.
	ServeSIP(tx *ServerTx)
}

// HandlerFunc lets a function be a Handler.
type HandlerFunc func(tx *ServerTx)

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(tx *ServerTx) { f(tx) }

// Config describes an Endpoint. It is copied by New and then read-only.
type Config struct {
	Handler Handler
	Dialect Dialect

	// Allow lists the methods that are served; others get 405 or 501. Empty
	// means INVITE, ACK, CANCEL, BYE and OPTIONS.
	Allow []string
	// Supported lists option tags; a Require that names another gets 420.
	Supported []string

	// Transport is the word in Via: "TCP" if empty, or "TLS". The listeners
	// and Dial bring the connections.
	Transport string
	// T1 is the round-trip estimate of RFC 3261 §17.1.1.1; 0 means 500 ms.
	T1 time.Duration
	// MessageTimeout bounds how long a message may take to arrive once its
	// first octet is there; 0 means 32 s.
	MessageTimeout time.Duration
	// WriteTimeout bounds one write to a peer that does not read; 0 means 10 s.
	WriteTimeout time.Duration

	// MaxConns bounds the connections of one peer address; 0 means 1000.
	MaxConns int
	// MaxPending bounds the INVITEs of one peer address that are not answered
	// or not acknowledged; 0 means 30,000. One more is answered 503.
	MaxPending int

	// Dial opens outgoing connections; nil means a plain net.Dialer.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Rand yields the chance behind tags, branches and Call-IDs; it must be
	// safe for concurrent use. nil means math/rand/v2.
	Rand func() uint64

	Calls *Calls        // names of calls; nil means a Calls of its own
	Trace *trace.Source // nil records nothing
}

// Dialect is the spelling of the responses. The zero value spells as RFC 3261
// does.
type Dialect struct {
	From, To, CallID, CSeq, Via, RecordRoute, Contact, ContentLength, ContentType string
	// JoinVia puts all Via values on one line, separated by commas.
	JoinVia bool
	// EPID adds an epid parameter before the tag of To.
	EPID bool
	// Server is a complete header line without its line end, "" for none.
	Server string
}

func (c Config) filled() Config {
	d := &c.Dialect
	for _, s := range [...]struct {
		name     *string
		standard string
	}{
		{&d.From, "From"}, {&d.To, "To"}, {&d.CallID, "Call-ID"}, {&d.CSeq, "CSeq"}, {&d.Via, "Via"},
		{&d.RecordRoute, "Record-Route"}, {&d.Contact, "Contact"},
		{&d.ContentLength, "Content-Length"}, {&d.ContentType, "Content-Type"},
	} {
		if *s.name == "" {
			*s.name = s.standard
		}
	}
	if len(c.Allow) == 0 {
		c.Allow = []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"}
	}
	if c.Transport == "" {
		c.Transport = "TCP"
	}
	if c.T1 == 0 {
		c.T1 = 500 * time.Millisecond
	}
	if c.MessageTimeout == 0 {
		c.MessageTimeout = 32 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.MaxConns == 0 {
		c.MaxConns = 1000
	}
	if c.MaxPending == 0 {
		c.MaxPending = 30_000
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to.String())
		}
	}
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
	if c.Calls == nil {
		c.Calls = NewCalls()
	}
	return c
}

// T2 of RFC 3261 §17.1.2.2 caps the interval of retransmissions.
const t2 = 4 * time.Second

// give is 64*T1: how long either side waits for the other.
func (c *Config) give() time.Duration { return 64 * c.T1 }
