package sip

import (
	"strconv"
)

// Response is an answer as its handler words it.
type Response struct {
	Status  int
	Reason  string
	Contact string   // value, "" for none
	Headers []string // further header lines as they are to be spelled, without line ends
	Body    []byte   // a session description
}

// Reason is the reason phrase of a status (RFC 3261 §21), "Refused" for others.
func Reason(status int) string {
	if text := reasons[status]; text != "" {
		return text
	}
	return "Refused"
}

var reasons = map[int]string{
	200: "OK", 302: "Moved Temporarily", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	407: "Proxy Authentication Required", 408: "Request Timeout", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
	486: "Busy Here", 488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable",
	504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}

// print appends the response in the dialect's spelling. Via, From, To,
// Call-ID, CSeq and Record-Route are the request's own (RFC 3261 §8.2.6.2).
func (tx *ServerTx) print(b []byte, r Response) []byte {
	h, d := tx.h, &tx.ep.conf.Dialect
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, r.Reason...)
	b = append(b, "\r\n"...)
	b = appendHeader(b, d.From, h.from.of(h.raw))
	b = append(b, d.To...)
	b = append(b, ": "...)
	b = append(b, h.to.of(h.raw)...)
	b = append(b, tx.tag...)
	b = append(b, "\r\n"...)
	b = appendHeader(b, d.CSeq, h.cseq.of(h.raw))
	b = appendHeader(b, d.CallID, h.callID.of(h.raw))
	b = tx.printVias(b)
	if r.Status < 300 && r.Status > 100 {
		for _, rr := range h.routes {
			b = appendHeader(b, d.RecordRoute, lineValue(rr.of(h.raw)))
		}
	}
	if r.Contact != "" {
		b = append(b, d.Contact...)
		b = append(b, ": "...)
		b = append(b, r.Contact...)
		b = append(b, "\r\n"...)
	}
	for _, line := range r.Headers {
		b = append(b, line...)
		b = append(b, "\r\n"...)
	}
	if len(r.Body) > 0 {
		b = append(append(b, d.ContentType...), ": application/sdp\r\n"...)
	}
	b = append(b, d.ContentLength...)
	b = append(b, ": "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	b = append(b, "\r\n"...)
	if d.Server != "" {
		b = append(b, d.Server...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, r.Body...)
}

func appendHeader(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func lineValue(line []byte) []byte {
	for i, c := range line {
		if c == ':' {
			s := trimmed(line, i+1)
			return s.of(line)
		}
	}
	return nil
}

// printVias echoes the Via values, the topmost with received and rport where
// RFC 3261 §18.2.1 and RFC 3581 ask for them.
func (tx *ServerTx) printVias(b []byte) []byte {
	h, d := tx.h, &tx.ep.conf.Dialect
	for i, line := range h.vias {
		value := lineValue(line.of(h.raw))
		if i > 0 && d.JoinVia {
			b = append(b, ',')
		} else {
			b = append(b, d.Via...)
			b = append(b, ": "...)
		}
		if i == 0 {
			top := h.viaValue.n
			b = tx.printTopVia(b, value[:top])
			value = value[top:]
		}
		b = append(b, value...)
		if !d.JoinVia || i == len(h.vias)-1 {
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func (tx *ServerTx) printTopVia(b, value []byte) []byte {
	h := tx.h
	peer := tx.conn.peer
	params := span{h.sentBy.off + h.sentBy.n, h.viaValue.off + h.viaValue.n - h.sentBy.off - h.sentBy.n}
	rport, asked := h.param(params, "rport")
	if asked && rport.n == 0 {
		at := rportEnd(value)
		b = append(b, value[:at]...)
		b = append(b, '=')
		b = strconv.AppendUint(b, uint64(peer.Port()), 10)
		b = append(b, value[at:]...)
	} else {
		b = append(b, value...)
		asked = false
	}
	if asked || !h.sentFrom(tx.conn) {
		b = append(b, ";received="...)
		b = peer.Addr().AppendTo(b)
	}
	return b
}

// rportEnd is the offset behind the valueless rport parameter.
func rportEnd(value []byte) int {
	for i := 0; i+6 <= len(value); i++ {
		if value[i] == ';' {
			k := skipSpace(value, i+1)
			if k+5 <= len(value) && equalFold(value[k:k+5], "rport") && (k+5 == len(value) || value[k+5] == ';' || isSpace(value[k+5])) {
				return k + 5
			}
		}
	}
	return len(value)
}

// toTag makes the parameters that a response adds to To.
func (e *Endpoint) toTag() string {
	b := append(append(make([]byte, 0, 40), e.epid()...), ";tag="...)
	return string(appendHex(b, e.conf.Rand(), "0123456789abcdef"))
}

// epid is the parameter that a dialect has before a tag of ours, or nothing.
func (e *Endpoint) epid() string {
	if !e.conf.Dialect.EPID {
		return ""
	}
	return string(appendHex([]byte(";epid="), e.conf.Rand(), "0123456789ABCDEF"))
}

// appendHex appends ten hex digits.
func appendHex(b []byte, n uint64, digits string) []byte {
	for shift := 36; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}
