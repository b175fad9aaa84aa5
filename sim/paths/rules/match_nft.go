package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// neutral are the statements that neither match nor stop a packet, and those
// that verdict reads.
var neutral = []string{"counter", "log", "comment", "mangle", "notrack", "ct helper", "ct timeout", "flow", "accept", "drop", "reject", "queue", "return", "jump", "goto", "continue", "vmap"}

// matches says whether a rule may match a packet, and on what that depends.
func (f *nftFilter) matches(r *nftRule, p Packet) (ok bool, depends string) {
	for _, e := range r.Expr {
		raw, is := e["match"]
		if !is {
			for word := range e {
				if !slices.Contains(neutral, word) {
					depends = cmp.Or(depends, word)
				}
			}
			continue
		}
		var m struct {
			Op    string
			Left  json.RawMessage
			Right json.RawMessage
		}
		if json.Unmarshal(raw, &m) != nil {
			depends = cmp.Or(depends, "a match that is not read here")
			continue
		}
		value, what, known := p.field(m.Left)
		if !known {
			depends = cmp.Or(depends, what)
			continue
		}
		if value == "" {
			return false, "" // the packet has no such field
		}
		hit, read := f.compare(r, m.Op, value, m.Right)
		if !read {
			depends = cmp.Or(depends, "a value of "+what+" that is not read here")
			continue
		}
		if !hit {
			return false, ""
		}
	}
	return true, depends
}

// field is the packet's value of the left side of a match, "" if it has none;
// known is false where a plan does not tell it.
func (p Packet) field(raw json.RawMessage) (value, what string, known bool) {
	var left struct {
		Payload *struct{ Protocol, Field string }
		Meta    *struct{ Key string }
		Ct      *struct{ Key string }
	}
	if json.Unmarshal(raw, &left) != nil {
		return "", "a match that is not read here", false
	}
	family := map[bool]string{false: "ip", true: "ip6"}[p.From.Is6()]
	only := func(here bool, v string) string {
		if here {
			return v
		}
		return ""
	}
	switch {
	case left.Payload != nil:
		return p.payload(left.Payload.Protocol, left.Payload.Field, family, only)
	case left.Meta != nil:
		return p.meta(left.Meta.Key, family)
	case left.Ct != nil:
		if left.Ct.Key == "state" {
			return "new", "ct state", true
		}
		return "", "ct " + left.Ct.Key, false
	}
	return "", "a match that is not read here", false
}

// payload is a field of the packet's headers.
func (p Packet) payload(protocol, field, family string, only func(here bool, v string) string) (value, what string, known bool) {
	routed := protocol == "ip" || protocol == "ip6"
	switch {
	case field == "saddr" && routed:
		return only(protocol == family, p.From.String()), field, true
	case field == "daddr" && routed:
		return only(protocol == family, p.To.String()), field, true
	case field == "dport":
		return only(protocol == p.Transport || protocol == "th", strconv.Itoa(int(p.Port))), field, true
	case field == "protocol" || field == "nexthdr":
		return only(protocol == family, p.Transport), field, true
	case protocol != p.Transport && (protocol == "tcp" || protocol == "udp" || strings.HasPrefix(protocol, "icmp")):
		return "", field, true
	}
	return "", protocol + " " + field, false
}

// meta is what the filter knows of the packet beside its headers.
func (p Packet) meta(key, family string) (value, what string, known bool) {
	switch key {
	case "l4proto":
		return p.Transport, key, true
	case "nfproto":
		return map[string]string{"ip": "ipv4", "ip6": "ipv6"}[family], key, true
	case "protocol":
		return family, key, true
	case "iifname":
		return p.In, "iifname (say interface: of the zone)", p.In != ""
	case "oifname":
		return p.Out, "oifname (say interface: of the zone)", p.Out != ""
	}
	return "", key, false
}

// compare holds a value against the right side of a match; read is false where
// that is of a kind that is not known.
func (f *nftFilter) compare(r *nftRule, op, value string, raw json.RawMessage) (hit, read bool) {
	var right any
	if json.Unmarshal(raw, &right) != nil {
		return false, false
	}
	hit, read = f.holds(r, value, right)
	switch op {
	case "!=":
		return !hit, read
	case "==", "in", "":
		return hit, read
	case "<", ">", "<=", ">=":
		limit, ok := right.(float64)
		n, err := strconv.Atoi(value)
		if !ok || err != nil {
			return false, false
		}
		d := cmp.Compare(float64(n), limit)
		return map[string]bool{"<": d < 0, ">": d > 0, "<=": d <= 0, ">=": d >= 0}[op], true
	}
	return false, false
}

func (f *nftFilter) holds(r *nftRule, value string, right any) (hit, read bool) {
	switch x := right.(type) {
	case string:
		if name, ok := strings.CutPrefix(x, "@"); ok {
			s := f.sets[r.Family+" "+r.Table+" "+name]
			if s == nil {
				return false, false
			}
			return f.anyOf(r, value, s.Elem)
		}
		if a, err := netip.ParseAddr(x); err == nil {
			return a.String() == value, true
		}
		if prefix, ok := strings.CutSuffix(x, "*"); ok {
			return strings.HasPrefix(value, prefix), true
		}
		return x == value, true
	case float64:
		return strconv.Itoa(int(x)) == value, true
	case []any:
		return f.anyHolds(r, value, x)
	case map[string]any:
		if list, ok := x["set"].([]any); ok {
			return f.anyHolds(r, value, list)
		}
		if one, ok := x["elem"].(map[string]any); ok {
			return f.holds(r, value, one["val"])
		}
		if ends, ok := x["range"].([]any); ok && len(ends) == 2 {
			return within(value, ends)
		}
		if p, ok := x["prefix"].(map[string]any); ok {
			addr, ok1 := p["addr"].(string)
			bits, ok2 := p["len"].(float64)
			prefix, err := netip.ParsePrefix(fmt.Sprintf("%s/%d", addr, int(bits)))
			a, err2 := netip.ParseAddr(value)
			return err == nil && err2 == nil && prefix.Contains(a), ok1 && ok2 && err == nil
		}
	}
	return false, false
}

func (f *nftFilter) anyHolds(r *nftRule, value string, list []any) (hit, read bool) {
	read = true
	for _, x := range list {
		h, known := f.holds(r, value, x)
		if h {
			return true, true
		}
		read = read && known
	}
	return false, read
}

func (f *nftFilter) anyOf(r *nftRule, value string, elems []json.RawMessage) (hit, read bool) {
	var list []any
	for _, e := range elems {
		var v any
		if json.Unmarshal(e, &v) != nil {
			return false, false
		}
		list = append(list, v)
	}
	return f.anyHolds(r, value, list)
}

func within(value string, ends []any) (hit, read bool) {
	low, ok1 := ends[0].(float64)
	high, ok2 := ends[1].(float64)
	if n, err := strconv.Atoi(value); ok1 && ok2 && err == nil {
		return float64(n) >= low && float64(n) <= high, true
	}
	a, err := netip.ParseAddr(value)
	from, err1 := netip.ParseAddr(fmt.Sprint(ends[0]))
	to, err2 := netip.ParseAddr(fmt.Sprint(ends[1]))
	if err != nil || err1 != nil || err2 != nil {
		return false, false
	}
	return from.Compare(a) <= 0 && a.Compare(to) <= 0, true
}
