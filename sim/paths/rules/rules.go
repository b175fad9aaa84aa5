// Package rules writes the flows of a plan as rules of a filter, and reads a
// filter's rules to say which flows it would stop and what else it lets through.
package rules

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/profile"
)

// Party is one side of a rule: a host, or a role that the user puts addresses to.
type Party struct {
	Name   string
	Zone   string
	Addrs  []netip.Addr // none: to be filled in
	Server bool         // an Exchange server
}

// Rule lets new flows through from one party to another.
type Rule struct {
	From, To  Party
	Transport string
	Ports     paths.PortSet
	Kind      paths.FlowKind
	Says      string // what it is for
}

// Of turns the open flows of a plan between zones into rules, one for each pair
// of hosts, transport and kind. Flows within a zone need none.
func Of(p *paths.Plan) []Rule {
	flows, _ := p.Flows()
	type key struct {
		from, to, transport string
		kind                paths.FlowKind
	}
	at := map[key]*Rule{}
	var order []key
	for _, f := range flows {
		if f.Expect != paths.Open || f.Unproven != "" || f.From.Zone == f.To.Zone || len(f.Calls) > 0 {
			continue
		}
		k := key{f.From.Name, f.To.Name, f.Transport, f.Kind}
		r := at[k]
		if r == nil {
			r = &Rule{From: party(p, f.From), To: party(p, f.To), Transport: f.Transport, Kind: f.Kind}
			at[k] = r
			order = append(order, k)
		}
		r.From.add(f.Source)
		r.To.add(f.Target)
		r.Ports.AddSet(f.Ports)
		r.say(f.Protocol)
	}
	var list []Rule
	for _, k := range order {
		list = append(list, *at[k])
	}
	slices.SortStableFunc(list, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.From.Zone, b.From.Zone), cmp.Compare(a.To.Zone, b.To.Zone), cmp.Compare(a.From.Name, b.From.Name), cmp.Compare(a.To.Name, b.To.Name))
	})
	return list
}

// Inspected are the calls whose SIP a filter must read to open their media.
func Inspected(p *paths.Plan) []Rule {
	var list []Rule
	flows, _ := p.Flows()
	for _, f := range flows {
		if len(f.Calls) == 0 || f.From.Zone == f.To.Zone {
			continue
		}
		i := slices.IndexFunc(list, func(r Rule) bool { return r.From.Name == f.From.Name && r.To.Name == f.To.Name })
		if i < 0 {
			list = append(list, Rule{From: party(p, f.From), To: party(p, f.To), Transport: "tcp", Kind: paths.Documented, Says: "SIP is read"})
			i = len(list) - 1
		}
		list[i].From.add(f.Source)
		list[i].To.add(f.Target)
		list[i].Ports.AddSet(f.CallPorts())
	}
	return list
}

// OfEntries turns entries of the catalogue into rules between roles, whose
// addresses are to be filled in.
func OfEntries(c *profile.Catalogue, version string, list []*profile.DataPath) []Rule {
	var out []Rule
	for _, d := range list {
		for _, p := range d.Ports {
			p = p.Corrected()
			standing := d.Of(p)
			if d.Kind == profile.KindRule || !p.Ports.Numbered() || p.Transport == "any" || d.From == "" || standing == profile.Contradictory {
				continue
			}
			kind := paths.Documented
			if standing == profile.Derived {
				kind = paths.Derived
			}
			i := slices.IndexFunc(out, func(r Rule) bool {
				return r.From.Name == d.From && r.To.Name == d.To && r.Transport == p.Transport && r.Kind == kind
			})
			if i < 0 {
				out = append(out, Rule{From: Party{Name: d.From}, To: Party{Name: d.To, Server: c.IsServer(version, d.To)}, Transport: p.Transport, Kind: kind})
				i = len(out) - 1
			}
			out[i].Ports.AddSet(paths.PortsBetween(p.Ports.Low, p.Ports.High))
			out[i].say(p.Protocol)
		}
	}
	return out
}

// say adds a protocol to what a rule is for.
func (r *Rule) say(protocol string) {
	for part := range strings.SplitSeq(protocol, ", ") {
		if part != "" && !slices.Contains(strings.Split(r.Says, ", "), part) {
			r.Says = strings.TrimPrefix(r.Says+", "+part, ", ")
		}
	}
}

// Notes says what the rules of a plan leave out, and what else to know of them.
func Notes(p *paths.Plan) []string {
	var list []string
	flows, warnings := p.Flows()
	for _, f := range flows {
		if f.Unproven != "" && f.Expect == paths.Open && f.From.Zone != f.To.Zone {
			list = append(list, fmt.Sprintf("NOT WRITTEN: %s > %s, %s: %s", f.From.Name, f.To.Name, f.Rests[0].Path.Name, f.Unproven))
		}
	}
	for _, r := range Inspected(p) {
		list = append(list, fmt.Sprintf("media: signalled: the filter must read SIP of %s > %s tcp/%s (an ASA: inspect sip on these ports), and open the media that it names", r.From.Name, r.To.Name, r.Ports))
	}
	for _, h := range p.Hosts {
		for _, t := range h.ReachedAt {
			list = append(list, fmt.Sprintf("WARNING: for zone %s %s is written as %s, as packets bear it before translation; a filter that itself translates sees its own address", t.From, h.Name, t.Address))
		}
	}
	for _, w := range warnings {
		list = append(list, "WARNING: "+w.Text+" ("+w.Rule.ID+")")
	}
	return append(list, fmt.Sprintf("While you probe, tcp/%d between the ends must pass too (the control connection), or probe with --alone.", p.Control))
}

func party(p *paths.Plan, h *paths.Host) Party {
	return Party{Name: h.Name, Zone: h.Zone, Server: p.IsExchange(h)}
}

func (p *Party) add(a netip.Addr) {
	if !slices.Contains(p.Addrs, a) {
		p.Addrs = append(p.Addrs, a)
	}
}

// family are the party's addresses of a family.
func (p Party) family(ipv6 bool) []string {
	var list []string
	for _, a := range p.Addrs {
		if a.Is6() == ipv6 {
			list = append(list, a.String())
		}
	}
	return list
}

// parties lists the parties of rules once each.
func parties(list []Rule) []Party {
	var all []Party
	for _, r := range list {
		for _, p := range []Party{r.From, r.To} {
			i := slices.IndexFunc(all, func(o Party) bool { return o.Name == p.Name })
			if i < 0 {
				all = append(all, Party{Name: p.Name, Zone: p.Zone})
				i = len(all) - 1
			}
			for _, a := range p.Addrs {
				all[i].add(a)
			}
		}
	}
	return all
}

// names gives each name a word that a filter's language takes, another one for
// each, also where case does not count.
func names(prefix string, list []string) map[string]string {
	words, used := map[string]string{}, map[string]bool{}
	for _, name := range list {
		if _, ok := words[name]; ok {
			continue
		}
		word := prefix + strings.NewReplacer("-", "_", ".", "_").Replace(name)
		for n := 2; used[strings.ToLower(word)]; n++ {
			word = fmt.Sprintf("%s%s_%d", prefix, strings.NewReplacer("-", "_", ".", "_").Replace(name), n)
		}
		used[strings.ToLower(word)] = true
		words[name] = word
	}
	return words
}

func partyNames(list []Party) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func (r Rule) says() string {
	text := fmt.Sprintf("%s > %s", r.From.Name, r.To.Name)
	if r.Says != "" {
		text += ": " + r.Says
	}
	if r.Kind != paths.Documented {
		text += " (" + string(r.Kind) + ")"
	}
	return text
}

// comments writes lines that a filter's language passes over.
func comments(b *strings.Builder, mark string, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(b, "%s %s\n", mark, n)
	}
}
