// Package smtp is the SMTP side of a simulated machine: a receiving engine
// with its sequence, syntax and size rules (RFC 5321), pipelining (RFC 2920),
// chunking (RFC 3030), STARTTLS (RFC 3207) and delivery status notification
// parameters (RFC 3461).
//
// It knows the standard and that a reply has a name; how the reply sounds, what
// EHLO offers and who may send comes in with the Config. Behind it stands
// go-smtp's Session interface, so that the same back end can serve either
// engine.
package smtp

import (
	"crypto/tls"
	"net/netip"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/trace"
)

// Peer is what a back end learns of the other side.
type Peer struct {
	Remote, Local netip.AddrPort
	Hello         string
	TLS           *tls.ConnectionState // nil in clear
	Secured       string               // the verb that TLS began with, "" in clear
	Trace         trace.Session
	Closing       <-chan struct{} // closed when the server ends
}

// Backend makes the session behind a connection, at each EHLO or HELO.
type Backend interface {
	Session(p Peer) (gosmtp.Session, error)
}

// Queued is implemented by a session that can tell what became of the last
// message: the values of the placeholders in the reply "queued".
type Queued interface {
	Queued() map[string]string
}

// Delayed is implemented by a session that can hold back the answer to what it
// has just taken, and says why.
type Delayed interface {
	Delay() (d time.Duration, why string)
}

// Dropper is implemented by a session that is asked when the content is announced,
// behind all recipients: true closes the connection without a word.
type Dropper interface{ Drop() bool }

// BlobTaker is implemented by a session that may take what XEXCH50 brings.
type BlobTaker interface{ TakesBlob() bool }

// SizeExempt is implemented by a session that the size limit may not bind.
type SizeExempt interface{ SizeExempt() bool }

// Refusal is the error of a session that names a reply. The text of any other
// error never reaches the peer.
type Refusal struct {
	Reply Reply
	Cause error // for the log, may be nil
	Close bool  // the connection ends behind it, as behind every 421
}

// Error names the reply.
func (r *Refusal) Error() string {
	if r.Cause != nil {
		return string(r.Reply) + ": " + r.Cause.Error()
	}
	return string(r.Reply)
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Config describes a Server. It is copied by New and then read-only.
type Config struct {
	Backend Backend
	Name    string // of the connector, for the trace
	// Banner is the text behind 220 at a time.
	Banner func(now time.Time) string
	// Keywords are the lines of EHLO behind the first, in clear or behind the verb
	// that TLS began with. A command is served only where its keyword is offered.
	Keywords func(secured string) []string
	// Hello is the first line of EHLO and HELO.
	Hello func(remote netip.Addr) string
	// Replies spell the named replies; see Reply.
	Replies map[Reply]string
	// TLS is how STARTTLS shakes hands, AnonymousTLS how X-ANONYMOUSTLS does, nil
	// for not at all.
	TLS, AnonymousTLS *tls.Config

	MaxMessageSize int64 // octets
	MaxRecipients  int
	MaxConnections int // 0 is no limit
	MaxPerSource   int // of MaxConnections, from one address; 0 is no limit
	MaxErrors      int // failures after which the connection is closed; 0 is no limit
	MaxLogons      int // failed log-ons after which it is closed; 0 is no limit
	// Tarpit delays refusals until the peer has logged on, AuthTarpit failed
	// log-ons. TarpitChunks delays each chunk of BDAT but the last, too, and
	// Discredit every reply to an address that went away while it was delayed.
	Tarpit, AuthTarpit      time.Duration
	TarpitChunks, Discredit bool
	RequireDomain           bool // EHLO has a name
	NoBareLinefeed          bool // refuses messages with a line feed alone
	LongAddresses           bool // takes addresses of 1860 octets

	Inactivity time.Duration // of the peer
	Session    time.Duration // in all, also while busy

	Sessions *Sessions // names of sessions; nil means one of its own
	// Cause tells which session brought a connection about.
	Cause func(remote netip.AddrPort) trace.Session
	Trace *trace.Source
	// Trouble, if set, is asked at each stage of a session what goes wrong there:
	// the peer is under test.
	Trouble func(stage string) *Trouble
}

// Reply names a reply. The text of the Config holds code and text, with the
// lines of a multi-line reply separated by \n.
type Reply string

// The replies of the engine. A back end may have more of its own.
const (
	ReplyTooManyConnections Reply = "too-many-connections"
	ReplyStartTLS           Reply = "start-tls"
	ReplySenderOK           Reply = "sender-ok"
	ReplyRecipientOK        Reply = "recipient-ok"
	ReplyStartData          Reply = "start-data"
	ReplyQueued             Reply = "queued"
	ReplyChunk              Reply = "chunk" // {octets}
	ReplyQuit               Reply = "quit"
	ReplyReset              Reply = "reset"
	ReplyNoop               Reply = "noop"
	ReplyVrfy               Reply = "vrfy"
	ReplyHelp               Reply = "help"
	ReplyUnrecognized       Reply = "unrecognized"
	ReplyLineTooLong        Reply = "line-too-long"
	ReplyInvalidDomain      Reply = "invalid-domain"
	ReplyInvalidArguments   Reply = "invalid-arguments"
	ReplyInvalidAddress     Reply = "invalid-address"
	ReplySendHello          Reply = "send-hello"
	ReplyNeedMail           Reply = "need-mail"
	ReplyNeedRcpt           Reply = "need-rcpt"
	ReplySenderSpecified    Reply = "sender-specified"
	ReplyBadSequence        Reply = "bad-sequence"
	ReplyUnknownMechanism   Reply = "unknown-mechanism"
	ReplyAuthUnavailable    Reply = "auth-unavailable"
	ReplyAuthOK             Reply = "auth-ok"
	ReplyAuthFailed         Reply = "auth-failed"
	ReplyAuthCancelled      Reply = "auth-cancelled"
	ReplyTooManyLogons      Reply = "too-many-logon-failures"
	ReplyTooManyFromSource  Reply = "too-many-from-source"
	ReplyBareLinefeed       Reply = "bare-linefeed"
	ReplyUTF8Required       Reply = "smtputf8-required"
	ReplyTooManyRecipients  Reply = "too-many-recipients"
	ReplyTooBig             Reply = "too-big"
	ReplyInsufficient       Reply = "insufficient-resources"
	ReplyTimeoutInput       Reply = "timeout-input"
	ReplyTimeoutSession     Reply = "timeout-session"
	ReplyTooManyErrors      Reply = "too-many-errors"
	ReplyShutdown           Reply = "shutdown"
	ReplyStartBlob          Reply = "start-exch50"
	ReplyBlobOK             Reply = "exch50-ok"
	ReplyBlobRefused        Reply = "exch50-refused"
)

// Required lists the replies that a Config must spell.
func Required() []Reply {
	return []Reply{
		ReplyTooManyConnections, ReplyStartTLS, ReplySenderOK, ReplyRecipientOK, ReplyStartData, ReplyQueued, ReplyChunk,
		ReplyQuit, ReplyReset, ReplyNoop, ReplyVrfy, ReplyHelp, ReplyUnrecognized, ReplyLineTooLong,
		ReplyInvalidDomain, ReplyInvalidArguments, ReplyInvalidAddress, ReplySendHello, ReplyNeedMail, ReplyNeedRcpt,
		ReplySenderSpecified, ReplyBadSequence, ReplyUnknownMechanism, ReplyAuthUnavailable, ReplyTooManyRecipients,
		ReplyAuthOK, ReplyAuthFailed, ReplyAuthCancelled, ReplyTooManyLogons, ReplyTooManyFromSource, ReplyBareLinefeed, ReplyUTF8Required,
		ReplyTooBig, ReplyInsufficient, ReplyTimeoutInput, ReplyTimeoutSession, ReplyTooManyErrors, ReplyShutdown,
		ReplyStartBlob, ReplyBlobOK, ReplyBlobRefused,
	}
}
