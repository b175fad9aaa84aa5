package sip

import (
	"github.com/exsim/exsim/sim/trace"
)

// received is the message that a connection is handling, with its bytes.
type received struct{ c *conn }

func (received) EventName() string { return "sip.received" }

func (e received) AppendTo(f *trace.Fields) {
	f.Text("peer", e.c.name)
	messageFields(f, &e.c.head)
}

// sent is a message of ours, with its bytes.
type sent struct {
	h    *head
	peer string
}

func (sent) EventName() string { return "sip.sent" }

func (e sent) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	messageFields(f, e.h)
}

func messageFields(f *trace.Fields, h *head) {
	part := func(key string, s span) {
		if s.n > 0 {
			f.Part(key, int(s.off), int(s.n))
		}
	}
	if h.response {
		f.Int("status", int64(h.status))
		part("method", h.seqM)
	} else {
		part("method", h.method)
		part("uri", h.uri)
	}
	part("call_id", h.callID)
	f.Int("cseq", int64(h.seq))
	part("contact", h.contact)
	part("from_tag", h.fromTag)
	part("to_tag", h.toTag)
}

// answered is a response as it leaves: its fields are known without reading
// it again.
type answered struct {
	req    *head
	peer   string
	status int
}

func (answered) EventName() string { return "sip.sent" }

func (e answered) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Int("status", int64(e.status))
	f.Bytes("method", e.req.seqM.of(e.req.raw))
	f.Bytes("call_id", e.req.callID.of(e.req.raw))
	f.Int("cseq", int64(e.req.seq))
}

// plain is an event with text fields only.
type plain struct {
	name   string
	fields [4]string // key, value, key, value
}

func (e plain) EventName() string { return e.name }

func (e plain) AppendTo(f *trace.Fields) {
	for i := 0; i < len(e.fields) && e.fields[i] != ""; i += 2 {
		f.Text(e.fields[i], e.fields[i+1])
	}
}

func opened(peer, side string) plain {
	return plain{"sip.connected", [4]string{"peer", peer, "side", side}}
}

func closed(peer, why string) plain {
	return plain{"sip.disconnected", [4]string{"peer", peer, "why", why}}
}

func malformed(peer, why string) plain {
	return plain{"sip.malformed", [4]string{"peer", peer, "why", why}}
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	message := []trace.FieldType{
		{Key: "peer", Means: "address and port of the other side"},
		{Key: "method", Means: "method of the request, or of the request that is answered"},
		{Key: "status", Means: "status code; absent on a request"},
		{Key: "uri", Means: "Request-URI; absent on a response"},
		{Key: "call_id", Means: "Call-ID"},
		{Key: "cseq", Means: "number in CSeq"},
		{Key: "contact", Means: "first Contact; absent on a response that this side makes"},
		{Key: "from_tag", Means: "tag of From"},
		{Key: "to_tag", Means: "tag of To"},
	}
	peer := message[:1]
	return []trace.EventType{
		{Name: "sip.received", Means: "a message came in; its bytes are in raw", Fields: message},
		{Name: "sip.sent", Means: "a message went out; its bytes are in raw", Fields: message},
		{Name: "sip.connected", Means: "a connection was accepted or opened",
			Fields: append(peer[:1:1], trace.FieldType{Key: "side", Means: "accepted or dialled"})},
		{Name: "sip.refused", Means: "a connection was closed at once",
			Fields: append(peer[:1:1], trace.FieldType{Key: "why", Means: "the limit that it met"})},
		{Name: "sip.disconnected", Means: "a connection ended",
			Fields: append(peer[:1:1], trace.FieldType{Key: "why", Means: "closed by the peer, or the fault that ended it"})},
		{Name: "sip.malformed", Means: "a message was refused as malformed, or dropped where no answer is allowed",
			Fields: append(peer[:1:1], trace.FieldType{Key: "why", Means: "the first fault found"})},
		{Name: "sip.timeout", Means: "the peer did not answer or acknowledge within 64*T1",
			Fields: append(peer[:1:1], trace.FieldType{Key: "why", Means: "what was waited for"})},
	}
}
