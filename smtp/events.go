package smtp

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Sessions names mail sessions in order of arrival.
type Sessions struct{ last atomic.Uint32 }

// Next names a session.
func (s *Sessions) Next() trace.Session {
	return trace.Session{Kind: "smtp", N: s.last.Add(1)}
}

type openedEvent struct{ peer, local, connector string }

func (openedEvent) EventName() string { return "smtp.connected" }
func (e openedEvent) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("local", e.local)
	f.Text("connector", e.connector)
}

type closedEvent struct{ peer, why string }

func (closedEvent) EventName() string { return "smtp.disconnected" }
func (e closedEvent) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("why", e.why)
}

// received is one command line; its bytes are in raw.
type received struct{ verb string }

func (received) EventName() string          { return "smtp.received" }
func (e received) AppendTo(f *trace.Fields) { f.Text("verb", e.verb) }

// sent is one reply; its bytes are in raw.
type sent struct {
	code int
	verb string // of the command that is answered
}

func (sent) EventName() string { return "smtp.sent" }
func (e sent) AppendTo(f *trace.Fields) {
	f.Int("code", int64(e.code))
	f.Text("verb", e.verb)
}

// authenticated is a log-on that succeeded.
type authenticated struct{ mechanism, user string }

func (authenticated) EventName() string { return "smtp.authenticated" }
func (e authenticated) AppendTo(f *trace.Fields) {
	f.Text("mechanism", e.mechanism)
	f.Text("user", e.user)
}

type logonFailed struct{ peer, mechanism, why string }

func (logonFailed) EventName() string { return "smtp.logon_failed" }
func (e logonFailed) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("mechanism", e.mechanism)
	f.Text("why", e.why)
}

// tarpitted is an answer that is delayed for what the peer has done.
type tarpitted struct {
	interval time.Duration
	why      string
}

func (tarpitted) EventName() string { return "smtp.tarpit" }
func (e tarpitted) AppendTo(f *trace.Fields) {
	f.Text("interval", e.interval.String())
	f.Text("why", e.why)
}

type content struct {
	octets int64
	verb   string
}

func (content) EventName() string { return "smtp.content" }
func (e content) AppendTo(f *trace.Fields) {
	f.Int("octets", e.octets)
	f.Text("verb", e.verb)
}

type tlsEvent struct {
	state *tls.ConnectionState
	verb  string // that it began with
	err   string
}

func (e tlsEvent) EventName() string {
	if e.err != "" {
		return "smtp.tls_failed"
	}
	return "smtp.tls"
}

func (e tlsEvent) AppendTo(f *trace.Fields) {
	if e.err != "" {
		f.Text("why", e.err)
		return
	}
	f.Text("version", tls.VersionName(e.state.Version))
	f.Text("suite", tls.CipherSuiteName(e.state.CipherSuite))
	f.Text("verb", e.verb)
}

// refusedEvent is a command that the back end did not let pass.
type refusedEvent struct{ peer, verb, reply string }

func (refusedEvent) EventName() string { return "smtp.refused" }
func (e refusedEvent) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("verb", e.verb)
	f.Text("reply", e.reply)
}

type failure struct{ what string }

func (failure) EventName() string          { return "smtp.failed" }
func (e failure) AppendTo(f *trace.Fields) { f.Text("why", e.what) }

// asked is a command that went out.
type asked struct{ verb string }

func (asked) EventName() string          { return "smtp.asked" }
func (e asked) AppendTo(f *trace.Fields) { f.Text("verb", e.verb) }

// answered is what came back.
type answered struct {
	code int
	verb string
}

func (answered) EventName() string { return "smtp.answered" }
func (e answered) AppendTo(f *trace.Fields) {
	f.Int("code", int64(e.code))
	f.Text("verb", e.verb)
}

// poured is a message that went out.
type poured struct{ octets int64 }

func (poured) EventName() string          { return "smtp.poured" }
func (e poured) AppendTo(f *trace.Fields) { f.Int("octets", e.octets) }

// Events lists the events that this package records.
func Events() []trace.EventType {
	peer := trace.FieldType{Key: "peer", Means: "address and port of the other side"}
	verb := trace.FieldType{Key: "verb", Means: "the command"}
	why := trace.FieldType{Key: "why", Means: "the reason"}
	return []trace.EventType{
		{Name: "smtp.connected", Means: "a connection was accepted", Fields: []trace.FieldType{
			peer, {Key: "local", Means: "address and port that it came to"}, {Key: "connector", Means: "name of the receive connector"}}},
		{Name: "smtp.disconnected", Means: "a connection ended", Fields: []trace.FieldType{peer, why}},
		{Name: "smtp.received", Means: "a command line came in; its bytes are in raw, the secret part of AUTH left out", Fields: []trace.FieldType{verb}},
		{Name: "smtp.sent", Means: "a reply went out; its bytes are in raw", Fields: []trace.FieldType{
			{Key: "code", Means: "its code"}, {Key: "verb", Means: "the command that it answers; empty for the banner"}}},
		{Name: "smtp.content", Means: "a message, or a chunk of one, has come in", Fields: []trace.FieldType{
			{Key: "octets", Means: "its octets"}, {Key: "verb", Means: "DATA or BDAT"}}},
		{Name: "smtp.tls", Means: "the session is encrypted from here on", Fields: []trace.FieldType{
			{Key: "version", Means: "version of TLS"}, {Key: "suite", Means: "cipher suite"}, {Key: "verb", Means: "that it began with"}}},
		{Name: "smtp.authenticated", Means: "the peer has logged on", Fields: []trace.FieldType{
			{Key: "mechanism", Means: "by which"}, {Key: "user", Means: "as whom"}}},
		{Name: "smtp.logon_failed", Means: "the peer could not log on", Fields: []trace.FieldType{peer, {Key: "mechanism", Means: "by which"}, why}},
		{Name: "smtp.tarpit", Means: "answers are delayed for what the peer has done", Fields: []trace.FieldType{
			{Key: "interval", Means: "by how much"}, why}},
		{Name: "smtp.tls_failed", Means: "the handshake failed", Fields: []trace.FieldType{why}},
		{Name: "smtp.refused", Means: "a sender, recipient or message was refused", Fields: []trace.FieldType{
			peer, verb, {Key: "reply", Means: "what the peer was told"}}},
		{Name: "smtp.asked", Means: "a command of a sending session went out; its bytes are in raw, without what logs on", Fields: []trace.FieldType{verb}},
		{Name: "smtp.answered", Means: "the other side answered it; the bytes are in raw", Fields: []trace.FieldType{
			{Key: "code", Means: "of the answer"}, {Key: "verb", Means: "the command; empty for the banner"}}},
		{Name: "smtp.poured", Means: "a message of a sending session went out", Fields: []trace.FieldType{{Key: "octets", Means: "its octets"}}},
		{Name: "smtp.failed", Means: "a failure whose text is not told to the peer", Fields: []trace.FieldType{why}},
	}
}
