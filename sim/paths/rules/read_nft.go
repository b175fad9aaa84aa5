package rules

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ReadNftables reads what nft -j list ruleset prints. Of it the chains of type
// filter count that forwarded packets pass; what translates addresses does not.
func ReadNftables(text []byte) (Filter, error) {
	var file struct {
		Objects []struct {
			Table *nftTable `json:"table"`
			Chain *nftChain `json:"chain"`
			Rule  *nftRule  `json:"rule"`
			Set   *nftSet   `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("no ruleset of nftables in JSON (nft -j list ruleset): %w", err)
	}
	if file.Objects == nil {
		return nil, fmt.Errorf("no ruleset of nftables in JSON: the key nftables is missing (nft -j list ruleset)")
	}
	f := &nftFilter{chains: map[string]*nftChain{}, sets: map[string]*nftSet{}}
	dormant := map[string]bool{}
	for _, o := range file.Objects {
		switch {
		case o.Table != nil:
			dormant[o.Table.Family+" "+o.Table.Name] = bytes.Contains(o.Table.Flags, []byte("dormant"))
		case o.Chain != nil:
			f.chains[o.Chain.key(o.Chain.Name)] = o.Chain
		case o.Set != nil:
			f.sets[o.Set.Family+" "+o.Set.Table+" "+o.Set.Name] = o.Set
		}
	}
	for _, o := range file.Objects {
		if o.Rule != nil {
			c := f.chains[o.Rule.Family+" "+o.Rule.Table+" "+o.Rule.Chain]
			if c == nil {
				return nil, fmt.Errorf("rule %d is in chain %s %s, which is not in the ruleset", o.Rule.Handle, o.Rule.Table, o.Rule.Chain)
			}
			c.rules = append(c.rules, o.Rule)
		}
	}
	forwards := false
	for _, c := range f.chains {
		routed := c.Family == "ip" || c.Family == "ip6" || c.Family == "inet"
		if c.Type == "filter" && slices.Contains(hooks, c.Hook) && routed && !dormant[c.Family+" "+c.Table] {
			f.base = append(f.base, c)
			forwards = forwards || c.Hook == "forward"
		}
	}
	if !forwards {
		return nil, fmt.Errorf("the ruleset has no chain of type filter at the hook forward: nothing that is routed through is filtered")
	}
	slices.SortFunc(f.base, func(a, b *nftChain) int {
		return cmp.Or(cmp.Compare(slices.Index(hooks, a.Hook), slices.Index(hooks, b.Hook)), cmp.Compare(a.Prio, b.Prio), cmp.Compare(a.Table, b.Table))
	})
	return f, nil
}

// hooks are those that a forwarded packet passes, in their order.
var hooks = []string{"prerouting", "forward", "postrouting"}

type nftTable struct {
	Family, Name string
	Flags        json.RawMessage
}

type nftChain struct {
	Family, Table, Name, Type, Hook, Policy string
	Prio                                    int

	rules []*nftRule
}

func (c *nftChain) key(name string) string { return c.Family + " " + c.Table + " " + name }

type nftRule struct {
	Family, Table, Chain, Comment string
	Handle                        int
	Expr                          []map[string]json.RawMessage
}

type nftSet struct {
	Family, Table, Name string
	Elem                []json.RawMessage
}

type nftFilter struct {
	chains map[string]*nftChain
	sets   map[string]*nftSet
	base   []*nftChain
}

// Edges are the numbers in the rules that may be ports.
func (f *nftFilter) Edges() []uint16 {
	var list []uint16
	add := func(raw json.RawMessage) {
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case float64:
				if v >= 0 && v <= 65535 {
					list = append(list, uint16(v), uint16(min(v+1, 65535)))
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			case map[string]any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		var v any
		if json.Unmarshal(raw, &v) == nil {
			walk(v)
		}
	}
	for _, c := range f.chains {
		for _, r := range c.rules {
			for _, e := range r.Expr {
				add(e["match"])
			}
		}
	}
	for _, s := range f.sets {
		for _, e := range s.Elem {
			add(e)
		}
	}
	return list
}

// outcome is what may become of a packet in a chain: it passes, is stopped, or
// goes on behind the chain.
type outcome struct {
	pass, stop, on bool
	back           bool // the rest of the chain is passed over
	by, depends    string
}

// Decide walks the chains that a forwarded packet passes: each must let it
// through.
func (f *nftFilter) Decide(p Packet) Decision {
	d := Decision{Pass: true}
	for _, c := range f.base {
		if c.Family == "ip" && p.From.Is6() || c.Family == "ip6" && p.From.Is4() {
			continue
		}
		w := walk{f: f, p: p}
		o := w.chain(c, 0)
		if o.on {
			o.pass, o.stop = o.pass || c.Policy != "drop", o.stop || c.Policy == "drop"
			o.by = cmp.Or(o.by, fmt.Sprintf("policy %s of chain %s %s", cmp.Or(c.Policy, "accept"), c.Table, c.Name))
		}
		if !o.pass {
			return Decision{Stop: true, By: o.by}
		}
		d.By = o.by
		if o.stop {
			d.Stop, d.Depends = true, cmp.Or(d.Depends, o.depends)
		}
	}
	return d
}

// maxJumps is the kernel's own limit, maxSteps that of a ruleset made to be
// slow.
const (
	maxJumps = 16
	maxSteps = 100_000
)

// walk is the way of one packet through a base chain and those that it jumps to.
type walk struct {
	f     *nftFilter
	p     Packet
	steps int
}

func (w *walk) chain(c *nftChain, depth int) outcome {
	var all outcome
	left := false // it may have left the chain already
	for _, r := range c.rules {
		if w.steps++; w.steps > maxSteps || depth > maxJumps {
			return outcome{pass: true, stop: true, by: "chain " + c.Name, depends: "jumps without end"}
		}
		matched, depends := w.f.matches(r, w.p)
		if !matched {
			continue
		}
		o := w.verdict(c, r, depth)
		if o.on && !o.pass && !o.stop && o.by == "" {
			continue // nothing that decides
		}
		all.pass, all.stop = all.pass || o.pass, all.stop || o.stop
		if o.pass || o.stop {
			all.by = cmp.Or(all.by, o.by)
		}
		all.depends = cmp.Or(all.depends, depends, o.depends)
		if depends == "" && !o.on {
			all.on = left
			return all
		}
		if o.back && depends == "" {
			break
		}
		left = left || o.back
	}
	all.on = true
	return all
}

// verdict is what a rule does with a packet that it matches.
func (w *walk) verdict(c *nftChain, r *nftRule, depth int) outcome {
	by := fmt.Sprintf("rule %d of chain %s %s", r.Handle, r.Table, r.Chain)
	if r.Comment != "" {
		by += " (" + r.Comment + ")"
	}
	unread := func(what string) outcome {
		return outcome{pass: true, stop: true, on: true, by: by, depends: what}
	}
	for _, e := range r.Expr {
		for word, raw := range e {
			switch word {
			case "accept":
				return outcome{pass: true, by: by}
			case "drop", "reject":
				return outcome{stop: true, by: by}
			case "queue":
				return outcome{pass: true, stop: true, by: by, depends: "a program behind queue"}
			case "return":
				return outcome{on: true, back: true, by: by}
			case "jump", "goto":
				var to struct{ Target string }
				if json.Unmarshal(raw, &to) != nil || w.f.chains[c.key(to.Target)] == nil {
					return unread("a chain that is not in the ruleset")
				}
				o := w.chain(w.f.chains[c.key(to.Target)], depth+1)
				o.back = word == "goto" && o.on
				if o.back {
					o.by = cmp.Or(o.by, by)
				}
				return o
			case "vmap":
				return w.verdictMap(c, r, raw, depth, by)
			case "xt":
				return unread("what iptables does there")
			}
		}
	}
	return outcome{on: true}
}

// verdictMap looks up what a map says of a packet.
func (w *walk) verdictMap(c *nftChain, r *nftRule, raw json.RawMessage, depth int, by string) outcome {
	unread := outcome{pass: true, stop: true, on: true, by: by, depends: "a verdict map that is not read here"}
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][2]json.RawMessage }
	}
	if json.Unmarshal(raw, &m) != nil || m.Data.Set == nil {
		return unread
	}
	value, _, known := w.p.field(m.Key)
	if !known {
		return unread
	}
	for _, entry := range m.Data.Set {
		hit, read := w.f.compare(r, "==", value, entry[0])
		if !read {
			return unread
		}
		var verdict map[string]json.RawMessage
		if !hit || value == "" {
			continue
		}
		if json.Unmarshal(entry[1], &verdict) != nil {
			return unread
		}
		return w.verdict(c, &nftRule{Family: r.Family, Table: r.Table, Chain: r.Chain, Comment: r.Comment, Handle: r.Handle, Expr: []map[string]json.RawMessage{verdict}}, depth)
	}
	return outcome{on: true}
}

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
		x := *left.Payload
		switch x.Field {
		case "saddr", "daddr":
			if x.Protocol != "ip" && x.Protocol != "ip6" {
				return "", x.Protocol + " " + x.Field, false
			}
		}
		switch x.Field {
		case "saddr":
			return only(x.Protocol == family, p.From.String()), x.Field, true
		case "daddr":
			return only(x.Protocol == family, p.To.String()), x.Field, true
		case "dport":
			return only(x.Protocol == p.Transport || x.Protocol == "th", strconv.Itoa(int(p.Port))), x.Field, true
		case "protocol", "nexthdr":
			return only(x.Protocol == family, p.Transport), x.Field, true
		}
		if x.Protocol != p.Transport && (x.Protocol == "tcp" || x.Protocol == "udp" || strings.HasPrefix(x.Protocol, "icmp")) {
			return "", x.Field, true
		}
		return "", x.Protocol + " " + x.Field, false
	case left.Meta != nil:
		switch left.Meta.Key {
		case "l4proto":
			return p.Transport, "l4proto", true
		case "nfproto":
			return map[string]string{"ip": "ipv4", "ip6": "ipv6"}[family], "nfproto", true
		case "protocol":
			return family, "protocol", true
		case "iifname":
			return p.In, "iifname (say interface: of the zone)", p.In != ""
		case "oifname":
			return p.Out, "oifname (say interface: of the zone)", p.Out != ""
		}
		return "", left.Meta.Key, false
	case left.Ct != nil:
		if left.Ct.Key == "state" {
			return "new", "ct state", true
		}
		return "", "ct " + left.Ct.Key, false
	}
	return "", "a match that is not read here", false
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
