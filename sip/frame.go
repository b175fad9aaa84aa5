package sip

import "bytes"

// Limits of a message on a stream. Exchange's own are not public.
const (
	maxHead    = 32 << 10 // start line and headers
	maxMessage = 64 << 10 // with the body
	maxURI     = 2 << 10  // Request-URI
	firstRead  = 4 << 10  // buffer of a connection
	busyRead   = 16 << 10 // of one that sends much at once
)

// The first two octets of a TLS connection (RFC 8446 §5.1): the random ones
// behind them may look like anything, the end of a message too.
const (
	tlsHandshake = 22
	tlsMajor     = 3
)

// framed is what the front of a stream buffer holds.
type framed int

const (
	frameMore    framed = iota // nothing complete yet
	frameMessage               // a message of n octets, scanned
	framePing                  // CRLFCRLF, answered with CRLF (RFC 5626 §3.5.1)
	frameSkip                  // line ends between messages, n octets
	frameLost                  // no message can be found any more
)

// next looks at the front of b. The head of a message is scanned into h, also
// that of a message whose end is lost.
func next(b []byte, h *head) (kind framed, n int) {
	if len(b) == 0 {
		return frameMore, 0
	}
	if b[0] == '\r' || b[0] == '\n' {
		if bytes.HasPrefix(b, []byte("\r\n\r\n")) {
			return framePing, 4
		}
		if bytes.HasPrefix([]byte("\r\n\r"), b) { // perhaps the beginning of a ping
			return frameMore, 0
		}
		return frameSkip, 1
	}
	if len(b) > 1 && b[0] == tlsHandshake && b[1] == tlsMajor {
		*h = head{problem: problem{reason: "a TLS handshake, where SIP is spoken in clear", fatal: true}}
		return frameLost, len(b)
	}
	end := headEnd(b)
	if end < 0 {
		if len(b) > maxHead {
			*h = head{}
			return frameLost, len(b)
		}
		return frameMore, 0
	}
	h.scan(b, end)
	if h.problem.fatal {
		h.raw = b[:end]
		return frameLost, len(b)
	}
	total := end + h.length
	if total > maxMessage {
		h.lost("Message Too Large")
		h.problem.status = 513
		h.raw = b[:end]
		return frameLost, len(b)
	}
	if len(b) < total {
		return frameMore, 0
	}
	h.raw = b[:total:total]
	return frameMessage, total
}

// headEnd is the offset behind the empty line, -1 when it is not there yet.
// Bare line feeds are tolerated (RFC 3261 §7 asks for CRLF).
func headEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}
