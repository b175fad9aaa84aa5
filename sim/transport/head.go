package transport

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/profile"
)

// head is the header section of a message, and what was read behind it.
type head struct {
	fields [][]byte // whole, with their line ends and continuation lines
	end    []byte   // the empty line, or nothing
	rest   []byte
	tooBig bool
}

// readHead reads the header section, at most limit octets; 0 is no limit.
func readHead(r io.Reader, limit int64) (*head, error) {
	h := &head{}
	var b []byte
	b = make([]byte, 0, 4<<10)
	for {
		b = slices.Grow(b, 2<<10)
		n, err := r.Read(b[len(b):cap(b)])
		from := max(0, len(b)-3)
		b = b[:len(b)+n]
		end := len(b)
		if bytes.HasPrefix(b, []byte("\r\n")) {
			end = 0
		} else if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
			end = from + i + 2
		}
		switch {
		case limit > 0 && int64(end) > limit:
			h.tooBig = true
			return h, nil
		case end < len(b):
			h.split(b[:end])
			h.end, h.rest = b[end:end+2], b[end+2:]
			return h, nil
		case err == io.EOF:
			h.split(b)
			return h, nil
		case err != nil:
			return nil, err
		}
	}
}

// split finds the fields: a line that begins with a blank continues the one
// before it. A carriage return or a line feed alone ends a line here, too: others
// take it for an end, and our own sending side makes one of it.
func (h *head) split(b []byte) {
	for len(b) > 0 {
		end := 0
		for end < len(b) {
			if end += lineLength(b[end:]); end < len(b) && b[end] != ' ' && b[end] != '\t' {
				break
			}
		}
		h.fields, b = append(h.fields, b[:end]), b[end:]
	}
}

// lineLength is that of the first line with its end of any form.
func lineLength(b []byte) int {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return len(b)
	case bytes.HasPrefix(b[i:], []byte("\r\n")):
		return i + 2
	}
	return i + 1
}

// name is that of a field, in small letters.
func name(field []byte) string {
	n, _, _ := bytes.Cut(field, []byte(":"))
	return strings.ToLower(strings.TrimRight(string(n), " \t"))
}

// hops counts the servers that the message has passed.
func (h *head) hops() int {
	n := 0
	for _, f := range h.fields {
		if name(f) == "received" {
			n++
		}
	}
	return n
}

// pass drops what a session without the right to it may not bring: the header
// firewall.
func (h *head) pass(has func(profile.Right) bool) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		right := profile.Right("")
		switch n := name(f); {
		case n == "received", strings.HasPrefix(n, "resent-"):
			right = profile.RightRoutingHeaders
		case strings.HasPrefix(n, "x-ms-exchange-organization-"):
			right = profile.RightOrganizationHeaders
		case strings.HasPrefix(n, "x-ms-exchange-forest-"):
			right = profile.RightForestHeaders
		}
		if right == "" || has(right) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// has reports whether there is a field of a name.
func (h *head) has(wanted string) bool {
	return slices.ContainsFunc(h.fields, func(f []byte) bool { return name(f) == wanted })
}

// leave drops what stays in the organisation: the header firewall on the way
// out.
func (h *head) leave() {
	h.pass(func(r profile.Right) bool {
		return r != profile.RightOrganizationHeaders && r != profile.RightForestHeaders
	})
}

// text is the section with its empty line.
func (h *head) text() []byte {
	return append(bytes.Join(h.fields, nil), h.end...)
}

// messageID is the value of Message-ID, "" if there is none of the form of
// RFC 5322.
func (h *head) messageID() string {
	id := h.field("message-id")
	if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && !strings.ContainsAny(id, " \t\r\n") {
		return id
	}
	return ""
}

// field is the value of the first field of a name, "" if there is none.
func (h *head) field(wanted string) string {
	for _, f := range h.fields {
		if name(f) == wanted {
			_, v, _ := strings.Cut(string(f), ":")
			return strings.TrimSpace(v)
		}
	}
	return ""
}
