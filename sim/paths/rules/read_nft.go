package rules

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
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
