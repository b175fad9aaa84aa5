package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
)

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
