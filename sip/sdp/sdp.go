// Package sdp reads and prints session descriptions (RFC 4566) and answers
// offers (RFC 3264). It is lenient as real gateways need it: an unknown line
// is skipped, a missing one is no fault unless media cannot be found without
// it. It opens no sockets.
package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Session is one description.
type Session struct {
	Origin    string // value of o=
	Name      string // value of s=
	Conn      string // address of the session's c=, "" if only media have one
	Bandwidth []string
	Attrs     []Attr
	Media     []Media
}

// Media is one m= section.
type Media struct {
	Kind      string // "audio", "image"
	Port      uint16 // 0: refused or disabled
	Proto     string // "RTP/AVP"
	Formats   []string
	Conn      string // address of its own c=
	Bandwidth []string
	Attrs     []Attr
}

// Attr is one a= line; Value is "" for a flag.
type Attr struct{ Key, Value string }

const maxMedia = 32 // sections read; the rest is no phone call

// Parse reads a description.
func Parse(b []byte) (*Session, error) {
	s := &Session{}
	var m *Media
	seenVersion := false
	text := string(b)
	for n := 1; text != ""; n++ {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		line = strings.TrimRight(line, "\r \t")
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		value := line[2:]
		var err error
		switch line[0] {
		case 'v':
			seenVersion = true
			if value != "0" {
				err = fmt.Errorf("version %q", value)
			}
		case 'o':
			s.Origin = value
		case 's':
			s.Name = value
		case 'm':
			if len(s.Media) == maxMedia {
				return nil, fmt.Errorf("sdp: line %d: more than %d media", n, maxMedia)
			}
			s.Media = append(s.Media, Media{})
			m = &s.Media[len(s.Media)-1]
			err = m.parse(value)
		default:
			err = s.detail(m, line[0], value)
		}
		if err != nil {
			return nil, fmt.Errorf("sdp: line %d: %w", n, err)
		}
	}
	if !seenVersion || len(s.Media) == 0 {
		return nil, fmt.Errorf("sdp: no v= or no m= line")
	}
	return s, nil
}

// detail reads a line that stands at session level or in a media section.
func (s *Session) detail(m *Media, kind byte, value string) error {
	conn, bandwidth, attrs := &s.Conn, &s.Bandwidth, &s.Attrs
	if m != nil {
		conn, bandwidth, attrs = &m.Conn, &m.Bandwidth, &m.Attrs
	}
	switch kind {
	case 'c':
		f := strings.Fields(value)
		if len(f) != 3 {
			return fmt.Errorf("c=%s", value)
		}
		*conn, _, _ = strings.Cut(f[2], "/")
	case 'b':
		*bandwidth = append(*bandwidth, value)
	case 'a':
		key, v, _ := strings.Cut(value, ":")
		*attrs = append(*attrs, Attr{key, v})
	}
	return nil
}

func (m *Media) parse(value string) error {
	f := strings.Fields(value)
	if len(f) < 3 {
		return fmt.Errorf("m=%s", value)
	}
	port, _, _ := strings.Cut(f[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("port in m=%s", value)
	}
	m.Kind, m.Port, m.Proto, m.Formats = f[0], uint16(n), f[2], f[3:]
	return nil
}

// Attr returns the value of the first attribute with this key.
func (m *Media) Attr(key string) (string, bool) {
	for _, a := range m.Attrs {
		if a.Key == key {
			return a.Value, true
		}
	}
	return "", false
}

// Remote is where media of a section are to be sent.
func (s *Session) Remote(m *Media) (netip.AddrPort, error) {
	conn := m.Conn
	if conn == "" {
		conn = s.Conn
	}
	ip, err := netip.ParseAddr(conn)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("sdp: c= address %q: %w", conn, err)
	}
	return netip.AddrPortFrom(ip.Unmap(), m.Port), nil
}

// Direction is sendrecv, sendonly, recvonly or inactive.
type Direction string

// The directions of RFC 3264 §5.1.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Direction of a section; its own attribute goes before the session's.
func (s *Session) Direction(m *Media) Direction {
	for _, attrs := range [][]Attr{m.Attrs, s.Attrs} {
		for _, a := range attrs {
			switch d := Direction(a.Key); d {
			case SendRecv, SendOnly, RecvOnly, Inactive:
				return d
			}
		}
	}
	return SendRecv
}

// Reverse is the direction as the other side sees it.
func (d Direction) Reverse() Direction {
	switch d {
	case SendOnly:
		return RecvOnly
	case RecvOnly:
		return SendOnly
	}
	return d
}

// AppendTo prints the description.
func (s *Session) AppendTo(b []byte) []byte {
	b = appendLine(slices.Grow(b, 512), "v=", "0")
	b = appendLine(b, "o=", s.Origin)
	b = appendLine(b, "s=", s.Name)
	b = appendConn(b, s.Conn)
	for _, v := range s.Bandwidth {
		b = appendLine(b, "b=", v)
	}
	b = appendLine(b, "t=", "0 0")
	b = appendAttrs(b, s.Attrs)
	for i := range s.Media {
		m := &s.Media[i]
		b = append(append(append(b, "m="...), m.Kind...), ' ')
		b = strconv.AppendUint(b, uint64(m.Port), 10)
		b = append(append(b, ' '), m.Proto...)
		for _, f := range m.Formats {
			b = append(append(b, ' '), f...)
		}
		b = appendConn(append(b, "\r\n"...), m.Conn)
		for _, v := range m.Bandwidth {
			b = appendLine(b, "b=", v)
		}
		b = appendAttrs(b, m.Attrs)
	}
	return b
}

func appendLine(b []byte, kind, value string) []byte {
	return append(append(append(b, kind...), value...), "\r\n"...)
}

func appendConn(b []byte, addr string) []byte {
	switch {
	case addr == "":
		return b
	case strings.Contains(addr, ":"):
		return appendLine(b, "c=IN IP6 ", addr)
	}
	return appendLine(b, "c=IN IP4 ", addr)
}

func appendAttrs(b []byte, attrs []Attr) []byte {
	for _, a := range attrs {
		b = append(append(b, "a="...), a.Key...)
		if a.Value != "" {
			b = append(append(b, ':'), a.Value...)
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// HasAny is the first of these attributes that stands in a description, "" if
// none does.
func (s *Session) HasAny(keys []string) string {
	sections := [][]Attr{s.Attrs}
	for i := range s.Media {
		sections = append(sections, s.Media[i].Attrs)
	}
	for _, attrs := range sections {
		for _, a := range attrs {
			if slices.Contains(keys, a.Key) {
				return a.Key
			}
		}
	}
	return ""
}
