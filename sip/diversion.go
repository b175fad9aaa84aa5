package sip

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Diversion is a party that a call was diverted from, as Diversion (RFC 5806)
// or History-Info (RFC 7044) name it.
type Diversion struct {
	Party
	Reason string // "no-answer", "user-busy", "unconditional", ... "" if none
}

// Diversions reads the values of Diversion from the top: the first is the most
// recent diverting party (RFC 5806 §4), the last the one originally called.
func Diversions(headers []string) ([]Diversion, error) {
	var list []Diversion
	for _, hd := range headers {
		if !balanced(hd) {
			return nil, errors.New("mismatched quote or bracket in Diversion " + hd)
		}
		for _, value := range splitList(hd) {
			p, err := ParseParty(value)
			if err != nil {
				return nil, fmt.Errorf("Diversion: %w", err)
			}
			list = append(list, Diversion{Party: p, Reason: headerParam(value, "reason")})
		}
	}
	return list, nil
}

// LooseDiversions reads what it can of Diversion: of a value whose quotes do not
// match, the URI in its brackets.
func LooseDiversions(headers []string) ([]Diversion, error) {
	mended := make([]string, len(headers))
	for i, hd := range headers {
		mended[i] = hd
		if at := strings.IndexByte(hd, '<'); !balanced(hd) && at >= 0 {
			mended[i] = hd[at:]
		}
	}
	return Diversions(mended)
}

// History reads the entries of History-Info in their order, each a party that
// the call was sent to, with the reason why it went on (RFC 7044 §5). Entries
// without a reason have none.
func History(headers []string) ([]Diversion, error) {
	var list []Diversion
	for _, hd := range headers {
		if !balanced(hd) {
			return nil, errors.New("mismatched quote or bracket in History-Info " + hd)
		}
		for _, value := range splitList(hd) {
			d, err := historyEntry(value)
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
	}
	return list, nil
}

// historyEntry is one hi-entry; its reason is an escaped header of the URI.
func historyEntry(value string) (Diversion, error) {
	uri, headers, _ := strings.Cut(addrSpec(value), "?")
	p, err := ParseParty("<" + uri + ">")
	if err != nil {
		return Diversion{}, fmt.Errorf("History-Info: %w", err)
	}
	d := Diversion{Party: p}
	for h := range strings.SplitSeq(headers, "&") {
		name, escaped, _ := strings.Cut(h, "=")
		if !strings.EqualFold(name, "Reason") {
			continue
		}
		reason, err := url.PathUnescape(escaped)
		if err != nil {
			return d, fmt.Errorf("History-Info: the reason of %q is not escaped as a URI has it", value)
		}
		d.Reason = reasonOfCause(reason)
	}
	return d, nil
}

// reasonOfCause gives a Reason header field (RFC 3326) the word that Diversion
// has for it.
func reasonOfCause(reason string) string {
	cause := ""
	for param := range strings.SplitSeq(reason, ";") {
		if name, v, ok := strings.Cut(strings.TrimSpace(param), "="); ok && strings.EqualFold(name, "cause") {
			cause = strings.Trim(v, `" `)
		}
	}
	switch cause {
	case "486", "600":
		return "user-busy"
	case "408", "480", "487":
		return "no-answer"
	case "302", "181":
		return "unconditional"
	}
	return "unknown"
}
