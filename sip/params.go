package sip

import (
	"bytes"
	"net/netip"
)

// tag finds the tag parameter of a From or To value, outside the angle
// brackets and quotes.
func (h *head) tag(value span) span {
	v := value.of(h.raw)
	i := paramsStart(v)
	t, _ := h.param(span{value.off + int32(i), value.n - int32(i)}, "tag")
	return t
}

// param finds ;name=value in a run of parameters of the head.
func (h *head) param(in span, name string) (value span, found bool) {
	value, found = findParam(in.of(h.raw), name)
	if value.set() {
		value.off += in.off
	}
	return value, found
}

// paramsStart is where the header parameters of a name-addr or addr-spec begin
// (RFC 3261 §20: without brackets, parameters belong to the header).
func paramsStart[T string | []byte](v T) int {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '\\' && quoted:
			i++
		case v[i] == '"':
			quoted = !quoted
		case quoted:
		case v[i] == '<':
			for i++; i < len(v); i++ {
				if v[i] == '>' {
					return i + 1
				}
			}
		case v[i] == ';':
			return i
		}
	}
	return len(v)
}

// emptyParam reports a semicolon with no parameter behind it.
func emptyParam(v []byte) bool {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '\\' && quoted:
			i++
		case v[i] == '"':
			quoted = !quoted
		case v[i] == ';' && !quoted:
			k := skipSpace(v, i+1)
			if k == len(v) || v[k] == ';' || v[k] == ',' {
				return true
			}
		}
	}
	return false
}

// findParam finds ;name=value in a run of parameters.
func findParam[T string | []byte](v T, name string) (value span, found bool) {
	for i := 0; i < len(v); {
		if v[i] != ';' {
			i++
			continue
		}
		i = skipSpace(v, i+1)
		begin := i
		for i < len(v) && v[i] != ';' && v[i] != '=' && v[i] != ',' && !isSpace(v[i]) {
			i++
		}
		key := v[begin:i]
		i = skipSpace(v, i)
		if i < len(v) && v[i] == '=' {
			i = skipSpace(v, i+1)
			vb := i
			i = valueEnd(v, i)
			if equalFold(key, name) {
				return span{int32(vb), int32(i - vb)}, true
			}
		} else if equalFold(key, name) {
			return span{}, true
		}
	}
	return span{}, false
}

func valueEnd[T string | []byte](v T, i int) int {
	if i < len(v) && v[i] == '"' {
		for i++; i < len(v) && v[i] != '"'; i++ {
			if v[i] == '\\' {
				i++
			}
		}
		return min(i+1, len(v))
	}
	for i < len(v) && v[i] != ';' && v[i] != ',' && !isSpace(v[i]) {
		i++
	}
	return i
}

// sentFrom reports whether the topmost Via's sent-by names the address that
// the message came from.
func (h *head) sentFrom(c *conn) bool {
	by := h.sentBy.of(h.raw)
	if rest, ok := bytes.CutPrefix(by, c.host); ok && (len(rest) == 0 || rest[0] == ':') {
		return true // as it nearly always is
	}
	if ap, err := netip.ParseAddrPort(string(by)); err == nil {
		return ap.Addr() == c.peer.Addr()
	}
	a, err := netip.ParseAddr(string(bytes.Trim(by, "[]")))
	return err == nil && a == c.peer.Addr()
}
