package sip

import (
	"bytes"
	"maps"
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

// masked is a message without the keys that its body has.
func masked(message, body []byte) []byte {
	if !sdp.HasKeys(body) {
		return message
	}
	return sdp.MaskKeys(message)
}

// request is the message as handlers see it, with the headers that the scan
// has not read as text, under their long names: nothing is read twice, and the
// body stays where it is.
func (h *head) request(uri string) (*Request, error) {
	req := &Request{Method: sipgo.RequestMethod(h.method.of(h.raw))}
	req.SipVersion = "SIP/2.0"
	if err := sipgo.ParseUri(uri, &req.Recipient); err != nil {
		return nil, err
	}
	for _, s := range h.others {
		name, value, _ := bytes.Cut(s.of(h.raw), []byte(":"))
		req.AppendHeader(sipgo.NewHeader(longName(string(trimEnd(name))), unfold(value)))
	}
	return req, nil
}

// compact are the short names of the headers that the scan does not read
// (RFC 3261 §7.3.3, RFC 3515, RFC 3892, RFC 4028, RFC 6665).
var compact = map[string]string{
	"b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "k": "Supported", "o": "Event",
	"r": "Refer-To", "s": "Subject", "u": "Allow-Events", "x": "Session-Expires",
}

func longName(name string) string {
	if len(name) == 1 {
		if long, ok := compact[string(name[0]|0x20)]; ok {
			return long
		}
	}
	return name
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
	names := maps.Clone(compact)
	// sipgo itself turns their compact forms into the long ones
	for _, name := range []string{"From", "To", "Via", "Call-ID", "Content-Length", "Content-Type", "Contact"} {
		names[strings.ToLower(name)] = name
	}
	for known, name := range names {
		m[known] = func(_ []byte, value string) (sipgo.Header, error) { return sipgo.NewHeader(name, value), nil }
	}
	return sipgo.NewParser(sipgo.WithHeadersParsers(m))
}
