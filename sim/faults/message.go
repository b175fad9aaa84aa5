package faults

import (
	"bytes"
	"strconv"
	"strings"
)

// rewritten is a message with another value of a header, or of a line of its
// session description; Content-Length follows.
func rewritten(f *Fault, message []byte) []byte {
	head, body, ok := bytes.Cut(message, []byte("\r\n\r\n"))
	if !ok {
		return message
	}
	lines := strings.Split(string(head), "\r\n")
	if f.SDP != "" {
		was := len(body)
		body = []byte(changed(strings.Split(string(body), "\r\n"), f.SDP+"=", f.Value))
		if len(body) != was {
			lines = strings.Split(changed(lines, "Content-Length:", " "+strconv.Itoa(len(body))), "\r\n")
		}
	} else {
		lines = strings.Split(changed(lines, f.Header+":", " "+f.Value), "\r\n")
	}
	return append([]byte(strings.Join(lines, "\r\n")+"\r\n\r\n"), body...)
}

// changed joins lines; those that begin with the prefix, whatever its case,
// get another value.
func changed(lines []string, prefix, value string) string {
	for i, l := range lines {
		if len(l) >= len(prefix) && strings.EqualFold(l[:len(prefix)], prefix) {
			lines[i] = l[:len(prefix)] + value
		}
	}
	return strings.Join(lines, "\r\n")
}

// without is a SIP message that lacks a header.
func without(message []byte, name string) []byte {
	head, body, ok := bytes.Cut(message, []byte("\r\n\r\n"))
	if !ok {
		return message
	}
	var kept []string
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if key, _, ok := strings.Cut(line, ":"); !ok || !strings.EqualFold(strings.TrimSpace(key), name) {
			kept = append(kept, line)
		}
	}
	return append([]byte(strings.Join(kept, "\r\n")+"\r\n\r\n"), body...)
}

// keyword reports whether a line of EHLO's answer offers a keyword.
func keyword(line []byte, name string) bool {
	offer, ok := offered(line)
	word, _, _ := strings.Cut(offer, " ")
	return ok && strings.EqualFold(word, name)
}

// offered is what a line of EHLO's answer says behind its code.
func offered(line []byte) (string, bool) {
	text := strings.TrimRight(string(line), "\r\n")
	if !strings.HasPrefix(text, "250-") && !strings.HasPrefix(text, "250 ") {
		return "", false
	}
	return text[4:], true
}

// masked is a line of EHLO's answer with X in place of its letters, of the same
// length, as inspecting firewalls leave it.
func masked(line []byte) []byte {
	b := bytes.Clone(line)
	for i := 4; i < len(bytes.TrimRight(b, "\r\n")); i++ {
		b[i] = 'X'
	}
	return b
}

// stripped leaves a line of EHLO's answer out. The last one cannot go, because
// it ends the answer: a NOOP stands in its place.
func stripped(line []byte) []piece {
	if bytes.HasPrefix(line, []byte("250 ")) {
		return []piece{{b: []byte("250 NOOP\r\n")}}
	}
	return nil
}

// starred is a banner as an old inspecting firewall leaves it: stars for all but
// the digits 0 and 2.
func starred(line []byte) []byte {
	b := bytes.Clone(line)
	for i := 4; i < len(bytes.TrimRight(b, "\r\n")); i++ {
		if !bytes.ContainsRune([]byte("02"), rune(b[i])) {
			b[i] = '*'
		}
	}
	return b
}
