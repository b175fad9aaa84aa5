package rules

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
)

// ReadCSV reads rules with a line of names (action, transport, from, to,
// ports) and a rule on each other line: the first that matches decides, and
// what none matches is stopped. from and to are addresses, networks as
// 10.0.0.0/8, several of them separated by blanks, or any; ports are as 25 or
// 1024-65535, separated by blanks, or any.
func ReadCSV(name string, text []byte) (Filter, error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.TrimLeadingSpace, r.Comment = true, '#'
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: no line of names (action,transport,from,to,ports): %w", name, err)
	}
	column := map[string]int{}
	for _, want := range []string{"action", "transport", "from", "to", "ports"} {
		if column[want] = slices.Index(head, want); column[want] < 0 {
			return nil, fmt.Errorf("%s:1: no column %q; it needs action, transport, from, to, ports", name, want)
		}
	}
	f := &csvFilter{}
	var errs []error
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		rule, err := readCSVRule(func(key string) string { return strings.TrimSpace(row[column[key]]) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, line, err))
			continue
		}
		rule.line = line
		f.rules = append(f.rules, rule)
	}
	return f, errors.Join(errs...)
}

type csvRule struct {
	line      int
	pass      bool
	transport string
	from, to  []netip.Prefix // none: any
	ports     paths.PortSet
}

type csvFilter struct{ rules []csvRule }

func readCSVRule(cell func(key string) string) (csvRule, error) {
	var r csvRule
	var err error
	switch action := strings.ToLower(cell("action")); action {
	case "allow", "accept", "permit", "pass":
		r.pass = true
	case "deny", "drop", "reject", "block":
	default:
		return r, fmt.Errorf("action %q is neither allow nor deny", action)
	}
	r.transport = strings.ToLower(cell("transport"))
	if !slices.Contains([]string{"tcp", "udp", "any"}, r.transport) {
		return r, fmt.Errorf("transport %q is not tcp, udp or any", r.transport)
	}
	if r.from, err = prefixes(cell("from")); err != nil {
		return r, fmt.Errorf("from: %w", err)
	}
	if r.to, err = prefixes(cell("to")); err != nil {
		return r, fmt.Errorf("to: %w", err)
	}
	ports := cell("ports")
	if ports == "any" || ports == "" {
		r.ports = paths.PortsBetween(0, 65535)
		return r, nil
	}
	return r, r.ports.UnmarshalText([]byte(strings.Join(strings.Fields(strings.ReplaceAll(ports, ",", " ")), ",")))
}

func prefixes(text string) ([]netip.Prefix, error) {
	if text == "any" || text == "" {
		return nil, nil
	}
	var list []netip.Prefix
	for _, part := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
		if p, err := netip.ParsePrefix(part); err == nil {
			list = append(list, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, fmt.Errorf("%q is no address, no network and not any", part)
		}
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return list, nil
}

func in(list []netip.Prefix, a netip.Addr) bool {
	return list == nil || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Decide takes the first rule that matches.
func (f *csvFilter) Decide(p Packet) Decision {
	for _, r := range f.rules {
		if (r.transport == "any" || r.transport == p.Transport) && in(r.from, p.From) && in(r.to, p.To) && r.ports.Has(p.Port) {
			return Decision{Pass: r.pass, Stop: !r.pass, By: fmt.Sprintf("line %d", r.line)}
		}
	}
	return Decision{Stop: true, By: "no line"}
}

// Edges are the ends of the ranges.
func (f *csvFilter) Edges() []uint16 {
	var list []uint16
	for _, r := range f.rules {
		list = append(list, r.ports.Edges()...)
	}
	return list
}
