package sip

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sip/sdp"
)

// shown is the message as it may be recorded: without the keys of its media.
func (h *head) shown() []byte {
	if h.problem.status != 0 {
		return sdp.MaskKeys(h.raw) // what is taken for the head may be a body
	}
	return masked(h.raw, h.raw[h.bodyOff:])
}

// masked is a message without the keys that its body has, and without the digits
// of an INFO, which may be a secret's.
func masked(message, body []byte) []byte {
	if len(body) > 0 && bytes.HasPrefix(message, []byte("INFO ")) {
		head := len(message) - len(body)
		return append(slices.Clone(message[:head]), bytes.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return '?'
			}
			return r
		}, body)...)
	}
	if !sdp.HasKeys(body) {
		return message
	}
	return sdp.MaskKeys(message)
}

// values lists the values of a header that the scan has not read: the bytes
// stay where they are until somebody asks.
func (h *head) values(name string) []string {
	var list []string
	for _, s := range h.others {
		line := s.of(h.raw)
		n := len(name)
		switch {
		case len(line) > n && equalFold(line[:n], name):
		case compact[line[0]|0x20] == name:
			n = 1
		default:
			continue
		}
		if n = skipSpace(line, n); line[n] == ':' {
			list = append(list, unfold(line[n+1:]))
		}
	}
	return list
}

// value is the last value of a header, "" without one.
func (h *head) value(name string) string {
	list := h.values(name)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// compact are the short names of the headers that the scan does not read
// (RFC 3261 §7.3.3, RFC 3515, RFC 3892, RFC 4028, RFC 6665).
var compact = [256]string{
	'b': "Referred-By", 'c': "Content-Type", 'e': "Content-Encoding", 'k': "Supported", 'o': "Event",
	'r': "Refer-To", 's': "Subject", 'u': "Allow-Events", 'x': "Session-Expires",
}

// unfold trims a header value and makes each fold in it a space
// (RFC 3261 §7.3.1).
func unfold(value []byte) string {
	at := trimmed(value, 0)
	value = at.of(value)
	if bytes.IndexByte(value, '\n') >= 0 {
		lines := bytes.Split(value, []byte("\n"))
		for i, l := range lines {
			lines[i] = bytes.TrimSpace(l)
		}
		value = bytes.Join(lines, []byte(" "))
	}
	return string(value)
}

// newParser is sipgo's parser for responses, told to leave alone what the head
// scan has read or what must not make a whole message an error: such headers
// stay text, under their long names.
func newParser() *sipgo.Parser {
	m := maps.Clone(sipgo.DefaultHeadersParser())
	for _, name := range []string{"from", "f", "to", "t", "cseq", "max-forwards", "route", "record-route", "refer-to", "referred-by"} {
		delete(m, name)
	}
	names := map[string]string{}
	for short, name := range compact {
		if name != "" {
			names[string(rune(short))] = name
		}
	}
	// sipgo itself turns their compact forms into the long ones
	for _, name := range []string{"From", "To", "Via", "Call-ID", "Content-Length", "Content-Type", "Contact"} {
		names[strings.ToLower(name)] = name
	}
	for known, name := range names {
		m[known] = func(_ []byte, value string) (sipgo.Header, error) { return sipgo.NewHeader(name, value), nil }
	}
	return sipgo.NewParser(sipgo.WithHeadersParsers(m))
}
