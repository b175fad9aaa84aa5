package sip

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

// receive takes one complete message, on the reading goroutine of c.
func (e *Endpoint) receive(c *conn, h *head) {
	if h.response {
		e.receiveResponse(c, h)
		return
	}
	d := e.dialogOf(h)
	session := e.sessionOf(h, d)
	e.conf.Trace.Record(session, trace.Session{}, received{c}, h.shown())
	if h.problem.status != 0 {
		e.refuse(c, h, session, h.problem)
		return
	}
	key := e.txKey(c, h)
	switch {
	case h.is("ACK"):
		e.receiveACK(h, key, d)
	case h.is("CANCEL"):
		e.receiveCancel(c, h, key, session)
	case e.retransmitted(c, h, key):
	case e.merged(h):
		e.newTx(c, h, 0, session).Respond(Response{Status: 482, Reason: "Loop Detected"})
	default:
		e.receiveRequest(c, h, key, session, d)
	}
}

// sessionOf names the call that a request belongs to. Only an INVITE begins
// one.
func (e *Endpoint) sessionOf(h *head, d *Dialog) trace.Session {
	if d != nil {
		return d.call
	}
	if h.callID.n == 0 {
		return trace.Session{}
	}
	return e.conf.Calls.find(h.callID.of(h.raw), h.fromTag.of(h.raw), h.is("INVITE"))
}

// txKey matches a request to its transaction (RFC 3261 §17.2.3): branch,
// sent-by, method, and the peer's address, so that no peer reaches another's.
// ACK and CANCEL match their INVITE. Without the magic cookie the identity of
// RFC 2543 is used.
func (e *Endpoint) txKey(c *conn, h *head) uint64 {
	method := h.method.of(h.raw)
	if h.is("ACK") || h.is("CANCEL") {
		method = []byte("INVITE")
	}
	ip := c.peer.Addr().As16()
	branch := h.branch.of(h.raw)
	if len(branch) <= len(magicCookie) || !equalFold(branch[:len(magicCookie)], magicCookie) {
		return hash(e.seed, h.callID.of(h.raw), h.fromTag.of(h.raw), append(ip[:], method...), h.cseq.of(h.raw)[:h.seqDigits()])
	}
	return hash(e.seed, branch, h.sentBy.of(h.raw), ip[:], method)
}

const magicCookie = "z9hG4bK"

// seqDigits is the length of the number in CSeq.
func (h *head) seqDigits() int {
	n := 0
	for _, c := range h.cseq.of(h.raw) {
		if c < '0' || c > '9' {
			break
		}
		n++
	}
	return n
}

// retransmitted handles a request whose transaction exists already: the last
// answer is sent again, or, behind a 2xx, nothing.
func (e *Endpoint) retransmitted(c *conn, h *head, key uint64) bool {
	e.mu.Lock()
	tx := e.pending.get(key)
	e.mu.Unlock()
	if tx != nil {
		tx.repeat(c)
		return true
	}
	if !h.is("INVITE") {
		return false
	}
	_, absorbed := e.accepted.get(key, false)
	return absorbed
}

// mergeKey is the same for the copies of one INVITE that came by several ways;
// 0 for what cannot have any.
func (e *Endpoint) mergeKey(h *head) uint64 {
	if h.toTag.n > 0 || !h.is("INVITE") {
		return 0
	}
	return hash(e.seed, h.callID.of(h.raw), h.fromTag.of(h.raw), h.cseq.of(h.raw)[:h.seqDigits()], nil)
}

// merged reports whether another copy of an INVITE is being served
// (RFC 3261 §8.2.2.2); its own retransmissions are none.
func (e *Endpoint) merged(h *head) bool {
	if h.merge = e.mergeKey(h); h.merge == 0 {
		return false
	}
	e.mu.Lock()
	_, open := e.merging.m[h.merge]
	e.mu.Unlock()
	if !open {
		_, open = e.accepted.get(h.merge, false)
	}
	return open
}

// receiveACK ends the wait for one: of a final answer other than 2xx, or of a
// dialog.
func (e *Endpoint) receiveACK(h *head, key uint64, d *Dialog) {
	e.mu.Lock()
	tx := e.pending.get(key)
	e.mu.Unlock()
	switch {
	case tx != nil:
		tx.acknowledged()
	case d != nil:
		d.acknowledged(h.seq, h.raw[h.bodyOff:])
	}
}

// receiveCancel answers a CANCEL and ends its INVITE with 487 if that has no
// final answer yet (RFC 3261 §9.2).
func (e *Endpoint) receiveCancel(c *conn, h *head, key uint64, session trace.Session) {
	e.mu.Lock()
	invite := e.pending.get(key)
	e.mu.Unlock()
	tx := e.newTx(c, h, 0, session)
	if invite == nil {
		if _, ok := e.accepted.get(key, false); ok {
			tx.Respond(Response{Status: 200, Reason: "OK"})
		} else {
			tx.Respond(Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
		}
		return
	}
	tx.tag = invite.sharedTag()
	tx.Respond(Response{Status: 200, Reason: "OK"})
	invite.cancel()
}

func (e *Endpoint) receiveRequest(c *conn, h *head, key uint64, session trace.Session, d *Dialog) {
	tx := e.newTx(c, h, key, session)
	if busy, ok := e.overloaded(c, h); ok {
		tx.key = 0 // nothing is kept of it
		tx.Respond(busy)
		return
	}
	if h.uri.n > maxURI {
		tx.Respond(Response{Status: 414, Reason: "Request-URI Too Long"})
		return
	}
	uri := string(h.uri.of(h.raw))
	if answer, ok := validateURI(uri); !ok {
		tx.reject(answer)
		return
	}
	if err := sipgo.ParseUri(uri, &tx.uri); err != nil {
		e.refuse(c, h, session, problem{status: 400, reason: "Bad Request"})
		return
	}
	if answer, ok := e.validate(h); !ok {
		tx.reject(answer)
		return
	}
	switch {
	case h.toTag.n == 0:
		if e.conf.Handler == nil {
			tx.Respond(Response{Status: 403, Reason: "Forbidden"})
			return
		}
		e.conf.Handler.ServeSIP(tx)
	case h.is("PRACK") && e.receivePRACK(tx):
	case d == nil:
		tx.Respond(Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
	default:
		d.receive(tx)
	}
	tx.finish()
}

// reject answers a request that is not as it should be; one that is malformed
// is told so, too.
func (tx *ServerTx) reject(r Response) {
	if r.Status == 400 {
		tx.ep.conf.Trace.Record(tx.session, trace.Session{}, malformed(tx.conn.name, r.Reason), nil)
	}
	tx.Respond(r)
}

// refuse answers a malformed request where RFC 3261 allows an answer.
func (e *Endpoint) refuse(c *conn, h *head, session trace.Session, p problem) {
	e.conf.Trace.Record(session, trace.Session{}, malformed(c.name, p.reason), nil)
	if h.answerable() {
		e.newTx(c, h, 0, session).Respond(Response{Status: p.status, Reason: p.reason})
	}
}

// refuseLost refuses a message behind which the stream cannot be read on.
func (e *Endpoint) refuseLost(c *conn, h *head) {
	if h.problem.status == 0 || len(h.raw) == 0 {
		why := cmp.Or(h.problem.reason, "no SIP message")
		e.conf.Trace.Record(trace.Session{}, trace.Session{}, malformed(c.name, why), nil)
		return
	}
	session := e.sessionOf(h, nil)
	e.conf.Trace.Record(session, trace.Session{}, received{c}, h.shown())
	e.refuse(c, h, session, h.problem)
}

// validateURI checks the scheme of the Request-URI (RFC 3261 §8.2.2.1) and
// that it has no headers (§19.1.1).
func validateURI(uri string) (Response, bool) {
	scheme, _, found := strings.Cut(uri, ":")
	switch strings.ToLower(scheme) {
	case "sip", "sips", "tel":
		found = found && !strings.Contains(uri[strings.LastIndexByte(uri, '@')+1:], "?")
	default:
		if found {
			return Response{Status: 416, Reason: "Unsupported URI Scheme"}, false
		}
	}
	if !found {
		return Response{Status: 400, Reason: "Bad Request-URI"}, false
	}
	return Response{}, true
}

// validate holds a well-formed request against what this endpoint serves
// (RFC 3261 §8.2), its URI aside. It returns the refusal, if any.
func (e *Endpoint) validate(h *head) (Response, bool) {
	if answer, ok := e.validateMethod(h); !ok {
		return answer, false
	}
	for _, party := range [...]struct {
		name  string
		value span
	}{{"From", h.from}, {"To", h.to}} {
		if !wellFormed(party.value.of(h.raw)) {
			return Response{Status: 400, Reason: "Bad " + party.name}, false
		}
	}
	if tags := e.unsupported(h.values("Require")); tags != "" {
		return Response{Status: 420, Reason: "Bad Extension", Headers: []string{"Unsupported: " + tags}}, false
	}
	return validateBody(h)
}

func (e *Endpoint) validateMethod(h *head) (Response, bool) {
	if slices.ContainsFunc(e.conf.Allow, h.is) {
		return Response{}, true
	}
	if known[string(h.method.of(h.raw))] {
		return Response{Status: 405, Reason: "Method Not Allowed", Headers: []string{"Allow: " + strings.Join(e.conf.Allow, ",")}}, false
	}
	return Response{Status: 501, Reason: "Not Implemented", Headers: []string{"Allow: " + strings.Join(e.conf.Allow, ",")}}, false
}

// known are the methods of the standards and of Exchange's peers: one that is
// not served gets 405, any other 501 (RFC 3261 §8.2.1, §21.5.2).
var known = map[string]bool{
	"INVITE": true, "ACK": true, "CANCEL": true, "BYE": true, "OPTIONS": true, "REGISTER": true,
	"INFO": true, "PRACK": true, "UPDATE": true, "REFER": true, "NOTIFY": true, "SUBSCRIBE": true,
	"MESSAGE": true, "PUBLISH": true, "SERVICE": true, "BENOTIFY": true,
}

// unsupported lists what Require asks for and we do not support
// (RFC 3261 §8.2.2.3).
func (e *Endpoint) unsupported(require []string) string {
	var missing []string
	for _, value := range require {
	tags:
		for _, tag := range strings.Split(value, ",") {
			tag = strings.TrimSpace(tag)
			for _, s := range e.conf.Supported {
				if strings.EqualFold(s, tag) {
					continue tags
				}
			}
			if tag != "" {
				missing = append(missing, tag)
			}
		}
	}
	return strings.Join(missing, ", ")
}

// validateBody refuses a body or an answer type that is not SDP
// (RFC 3261 §8.2.3, §21.4.7).
func validateBody(h *head) (Response, bool) {
	if h.length > 0 {
		if !mediaType(h.value("Content-Type"), "application/sdp") {
			switch string(h.method.of(h.raw)) {
			case "INVITE", "MESSAGE", "UPDATE", "PRACK":
				return Response{Status: 415, Reason: "Unsupported Media Type", Headers: []string{"Accept: application/sdp"}}, false
			}
		}
		if v := h.value("Content-Encoding"); v != "" && !strings.EqualFold(v, "identity") {
			return Response{Status: 415, Reason: "Unsupported Media Type", Headers: []string{"Accept-Encoding: identity"}}, false
		}
	}
	if h.is("INVITE") {
		if accept := h.values("Accept"); len(accept) > 0 && !acceptsSDP(accept) {
			return Response{Status: 406, Reason: "Not Acceptable"}, false
		}
	}
	return Response{}, true
}

func acceptsSDP(accepts []string) bool {
	for _, a := range accepts {
		for _, t := range strings.Split(a, ",") {
			if mediaType(t, "application/sdp") || mediaType(t, "*/*") || mediaType(t, "application/*") {
				return true
			}
		}
	}
	return false
}

func mediaType(value, want string) bool {
	t, _, _ := strings.Cut(value, ";")
	return strings.EqualFold(strings.TrimSpace(t), want)
}

// wellFormed reports whether a From or To is a name-addr or addr-spec: quotes
// and brackets are closed, and the URI has a scheme, a rest, and no blanks.
func wellFormed(v []byte) bool {
	if !balanced(v) {
		return false
	}
	uri := bytes.TrimSpace(v[:paramsStart(v)])
	if open := bytes.LastIndexByte(uri, '<'); open >= 0 {
		uri = bytes.TrimSuffix(uri[open+1:], []byte(">"))
	}
	colon := bytes.IndexByte(uri, ':')
	for _, c := range uri {
		if isSpace(c) || c == '<' || c == '>' || c == '"' {
			return false
		}
	}
	return colon > 0 && colon < len(uri)-1
}

// balanced reports whether quotes and angle brackets are closed.
func balanced[T string | []byte](v T) bool {
	quoted, open := false, 0
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '\\' && quoted:
			i++
		case v[i] == '"':
			quoted = !quoted
		case quoted:
		case v[i] == '<':
			open++
		case v[i] == '>':
			open--
		}
	}
	return !quoted && open == 0
}
