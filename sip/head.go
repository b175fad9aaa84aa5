package sip

import "bytes"

// span is a part of a message: raw[off : off+n].
type span struct{ off, n int32 }

func (s span) of(raw []byte) []byte { return raw[s.off : s.off+s.n] }

// set reports whether the part was found at all.
func (s span) set() bool { return s.off != 0 || s.n != 0 }

// head is what the reading goroutine learns of a message in one pass over its
// header block, without a copy: enough to match a transaction, to drop a
// retransmission, to print a response and to know where the message ends.
type head struct {
	raw []byte // the whole message

	response bool
	method   span // of a request
	uri      span
	status   int // of a response

	vias     []span // header lines, complete with their CRLF
	routes   []span // Record-Route lines
	others   []span // lines of all headers that the scan does not read
	viaValue span   // the topmost Via value
	sentBy   span
	branch   span
	from     span // header values
	to       span
	callID   span
	cseq     span
	contact  span
	fromTag  span
	toTag    span
	seq      uint32 // number in CSeq
	seqM     span   // method in CSeq

	merge   uint64 // its mergeKey, set by dispatch
	length  int    // Content-Length, -1 when absent
	bodyOff int

	problem problem // the first fault found, zero if none
}

// problem is a fault of a message and the answer it earns.
type problem struct {
	status int
	reason string // reason phrase of the answer
	fatal  bool   // the end of the message is unknown: the stream is lost
}

func (h *head) fault(status int, reason string) {
	if h.problem.status == 0 {
		h.problem = problem{status: status, reason: reason}
	}
}

func (h *head) lost(reason string) {
	if !h.problem.fatal {
		h.problem = problem{400, reason, true}
	}
}

// scan reads the header block raw[:end], where end follows the empty line.
// It reuses the slices of h.
func (h *head) scan(raw []byte, end int) {
	*h = head{raw: raw, vias: h.vias[:0], routes: h.routes[:0], others: h.others[:0], length: -1, bodyOff: end}
	nl := bytes.IndexByte(raw, '\n')
	h.startLine(raw[:nl+1])
	for at := nl + 1; at < end; {
		stop := lineEnd(raw[:end], at)
		line := raw[at:stop]
		if line[0] == '\n' || line[0] == '\r' && len(line) <= 2 {
			break
		}
		h.header(at, line)
		at = stop
	}
	h.mandatory()
}

// lineEnd finds the end of the header line that begins at off, with its folded
// continuations (RFC 3261 §7.3.1).
func lineEnd(b []byte, off int) int {
	for {
		i := bytes.IndexByte(b[off:], '\n')
		if i < 0 {
			return len(b)
		}
		off += i + 1
		if off >= len(b) || (b[off] != ' ' && b[off] != '\t') {
			return off
		}
	}
}

// startLine reads the request line or status line (RFC 3261 §7.1, §7.2): its
// parts stand apart by exactly one space.
func (h *head) startLine(line []byte) {
	text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(text) >= 8 && bytes.EqualFold(text[:4], []byte("SIP/")) {
		h.statusLine(text)
		return
	}
	first := bytes.IndexByte(text, ' ')
	last := bytes.LastIndexByte(text, ' ')
	if first < 1 || last == first {
		h.fault(400, "Bad Request Line")
		if first > 0 {
			h.method = span{0, int32(first)}
		}
		return
	}
	h.method = span{0, int32(first)}
	h.uri = span{int32(first + 1), int32(last - first - 1)}
	version := text[last+1:]
	switch {
	case !isToken(text[:first]):
		h.fault(400, "Bad Method")
	case !bytes.EqualFold(version, []byte("SIP/2.0")) && len(version) > 4 && bytes.EqualFold(version[:4], []byte("SIP/")):
		h.fault(505, "Version Not Supported")
	case !bytes.EqualFold(version, []byte("SIP/2.0")), bytes.IndexByte(h.uri.of(text), ' ') >= 0, h.uri.n == 0:
		h.fault(400, "Bad Request Line")
	case bytes.ContainsAny(h.uri.of(text), "<>\"\t"):
		h.fault(400, "Bad Request-URI")
	}
}

func (h *head) statusLine(text []byte) {
	h.response = true
	rest := text[len("SIP/2.0"):]
	if len(rest) < 4 || rest[0] != ' ' || len(rest) > 4 && rest[4] != ' ' {
		h.fault(400, "Bad Status Line")
		return
	}
	n, ok := number(rest[1:4], 699)
	if !ok || n < 100 {
		h.fault(400, "Bad Status Line")
	}
	h.status = int(n)
}

// header reads one header line that begins at off.
func (h *head) header(off int, line []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || line[0] == ' ' || line[0] == '\t' {
		h.fault(400, "Bad Header Line")
		return
	}
	name := line[:colon]
	for n := colon; n > 1 && (line[n-1] == ' ' || line[n-1] == '\t'); n-- {
		name = line[:n-1]
	}
	value := trimmed(line, colon+1)
	value.off += int32(off)
	switch headerID(name) {
	case hdrVia:
		h.via(off, line, value)
	case hdrFrom:
		h.once(&h.from, value, "From")
		h.fromTag = h.tag(value)
	case hdrTo:
		h.once(&h.to, value, "To")
		h.toTag = h.tag(value)
	case hdrCallID:
		h.once(&h.callID, value, "Call-ID")
	case hdrCSeq:
		h.once(&h.cseq, value, "CSeq")
		h.readCSeq(value)
	case hdrContact:
		if !h.contact.set() {
			h.contact = value
			if v := value.of(h.raw); emptyParam(v[paramsStart(v):]) {
				h.fault(400, "Bad Contact")
			}
		}
	case hdrRecordRoute:
		h.routes = append(h.routes, span{int32(off), int32(len(line))})
	case hdrContentLength:
		h.readLength(value)
	case hdrMaxForwards:
		if _, ok := number(value.of(h.raw), 255); !ok {
			h.fault(400, "Bad Max-Forwards")
		}
	default:
		h.others = append(h.others, span{int32(off), int32(len(line))})
	}
}

func (h *head) once(at *span, value span, name string) {
	if at.set() {
		h.fault(400, "Duplicate "+name)
		return
	}
	*at = value
}

// maxVias bounds the Via values that we echo; a longer chain is a loop.
const maxVias = 70

func (h *head) via(off int, line []byte, value span) {
	if len(h.vias) == maxVias {
		h.fault(400, "Too Many Via")
		return
	}
	h.vias = append(h.vias, span{int32(off), int32(len(line))})
	if len(h.vias) == 1 {
		h.topVia(value)
	}
}

// topVia reads protocol, sent-by and branch of the first Via value
// (RFC 3261 §20.42).
func (h *head) topVia(value span) {
	v := value.of(h.raw)
	if i := bytes.IndexByte(v, ','); i >= 0 {
		v = trimEnd(v[:i])
		value.n = int32(len(v))
	}
	h.viaValue = value
	i := 0
	for slashes := 0; slashes < 2; slashes++ {
		k := bytes.IndexByte(v[i:], '/')
		if k < 0 {
			h.fault(400, "Bad Via")
			return
		}
		i += k + 1
	}
	i = skipSpace(v, i)
	for i < len(v) && !isSpace(v[i]) { // the transport
		i++
	}
	i = skipSpace(v, i)
	begin := i
	for i < len(v) && v[i] != ';' {
		i++
	}
	by := trimEnd(v[begin:i])
	if len(by) == 0 {
		h.fault(400, "Bad Via")
		return
	}
	if emptyParam(v[i:]) {
		h.fault(400, "Bad Via")
		return
	}
	h.sentBy = span{value.off + int32(begin), int32(len(by))}
	h.branch, _ = h.param(span{value.off + int32(i), int32(len(v) - i)}, "branch")
}

func (h *head) readCSeq(value span) {
	v := value.of(h.raw)
	i := 0
	for i < len(v) && v[i] >= '0' && v[i] <= '9' {
		i++
	}
	n, ok := number(v[:i], 1<<31-1)
	m := skipSpace(v, i)
	if !ok || m == i || m == len(v) {
		h.fault(400, "Bad CSeq")
		return
	}
	h.seq = uint32(n)
	h.seqM = span{value.off + int32(m), value.n - int32(m)}
}

func (h *head) readLength(value span) {
	n, ok := number(value.of(h.raw), 1<<31-1)
	switch {
	case !ok:
		h.lost("Bad Content-Length")
	case h.length >= 0 && h.length != int(n):
		h.lost("Duplicate Content-Length")
	default:
		h.length = int(n)
	}
}

// mandatory checks what every message has (RFC 3261 §8.1.1, §18.3).
func (h *head) mandatory() {
	for _, m := range [...]struct {
		at   span
		name string
	}{{h.viaValue, "Via"}, {h.from, "From"}, {h.to, "To"}, {h.callID, "Call-ID"}, {h.cseq, "CSeq"}} {
		if m.at.n == 0 {
			h.fault(400, "Missing "+m.name)
		}
	}
	if !h.response && h.seqM.n > 0 && !bytes.Equal(h.seqM.of(h.raw), h.method.of(h.raw)) {
		h.fault(400, "CSeq Method Mismatch")
	}
	if h.length < 0 {
		h.lost("Missing Content-Length")
	}
}

// answerable reports whether a response can be built at all.
func (h *head) answerable() bool {
	return !h.response && h.viaValue.n > 0 && h.from.n > 0 && h.to.n > 0 && h.callID.n > 0 && h.cseq.n > 0 &&
		!bytes.Equal(h.method.of(h.raw), []byte("ACK"))
}

// is reports whether the message is a request of this method.
func (h *head) is(method string) bool {
	return string(h.method.of(h.raw)) == method // no allocation
}
