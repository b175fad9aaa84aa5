package sip

import (
	"fmt"
	"net/netip"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

// addrSpec takes the URI out of a name-addr or addr-spec (RFC 3261 §20.10): of
// the first one, if they are a list.
func addrSpec(value string) string {
	quoted := false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && quoted:
			i++
		case value[i] == '"':
			quoted = !quoted
		case quoted:
		case value[i] == '<':
			uri, _, _ := strings.Cut(value[i+1:], ">")
			return strings.TrimSpace(uri)
		}
	}
	uri := strings.TrimSpace(value)
	if i := strings.IndexAny(uri, ";,"); i >= 0 {
		uri = uri[:i]
	}
	return uri
}

// splitList splits a header value at the commas outside quotes and angle
// brackets.
func splitList(value string) []string {
	var list []string
	quoted, open, begin := false, false, 0
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && quoted:
			i++
		case value[i] == '"':
			quoted = !quoted
		case quoted:
		case value[i] == '<':
			open = true
		case value[i] == '>':
			open = false
		case value[i] == ',' && !open:
			list = append(list, strings.TrimSpace(value[begin:i]))
			begin = i + 1
		}
	}
	return append(list, strings.TrimSpace(value[begin:]))
}

// Party is who a URI names: the user part of a sip: URI or the number of a
// tel: URI, and the host.
type Party struct {
	URI  string
	User string // "" if there is none
	Host string // "" for tel:
}

// ParseParty reads a name-addr or addr-spec.
func ParseParty(value string) (Party, error) {
	if !balanced(value) {
		return Party{}, fmt.Errorf("mismatched quote or bracket in %q", value)
	}
	p := Party{URI: addrSpec(value)}
	if rest, ok := cutPrefixFold(p.URI, "tel:"); ok {
		p.User, _, _ = strings.Cut(rest, ";")
		if p.User == "" {
			return Party{}, fmt.Errorf("no number in %q", value)
		}
		return p, nil
	}
	var uri URI
	if err := sipgo.ParseUri(p.URI, &uri); err != nil || uri.Host == "" {
		return Party{}, fmt.Errorf("no SIP or tel URI in %q", value)
	}
	p.User, _, _ = strings.Cut(uri.User, ";") // phone-context and the like
	p.Host = uri.Host
	return p, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// HostOf is an address as the host of a URI: IPv6 stands in brackets.
func HostOf(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// HasTag reports whether the values of a header of option tags, such as
// Supported, list one.
func HasTag(headers []string, tag string) bool {
	for _, hd := range headers {
		for t := range strings.SplitSeq(hd, ",") {
			if strings.EqualFold(strings.TrimSpace(t), tag) {
				return true
			}
		}
	}
	return false
}

// headerParam finds a header parameter of a name-addr or addr-spec value.
func headerParam(value, name string) string {
	params := value[paramsStart(value):]
	v, _ := findParam(params, name)
	return strings.Trim(params[v.off:v.off+v.n], `"`)
}
