package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/rules"
	"github.com/exsim/exsim/sim/profile"
)

// entryRow is an entry of the catalogue, or one port of it, as text.
var entryColumns = []string{"id", "from", "to", "port", "protocol", "tls", "authentication", "encrypted", "standing", "where", "page"}

// entryRows has a line for each port of each entry, and one for an entry
// without ports.
func entryRows(list []*profile.DataPath) [][]string {
	var rows [][]string
	for _, d := range list {
		ports := d.Ports
		if len(ports) == 0 {
			ports = []profile.PathPort{{Ports: profile.PortRange{Word: "-"}}}
		}
		for _, p := range ports {
			standing := string(d.Of(p))
			if d.Kind == profile.KindRule {
				standing = "rule: " + d.Rule.Action
			}
			port := p.Ports.String()
			if p.Transport != "" {
				port += "/" + p.Transport
			}
			rows = append(rows, []string{d.ID, d.From, d.To, port, p.Protocol, p.TLS, strings.Join(d.Auth.Supported, ", "), d.Encryption.ByDefault, standing, d.Where(), d.Source.Title})
		}
	}
	return rows
}

func (q *portQuery) printEntries(cmd *cobra.Command, c *profile.Catalogue, list []*profile.DataPath) error {
	out := cmd.OutOrStdout()
	title := "Exchange " + q.version + ", documented data paths"
	switch q.format {
	case "json":
		return printJSON(cmd, map[string]any{"version": q.version, "paths": jsonEntries(list)})
	case "nft":
		return rules.Nftables(out, title, nil, rules.OfEntries(c, q.version, list), nil)
	case "windows":
		return rules.Windows(out, title, nil, c.FirewallRules(q.version), rules.OfEntries(c, q.version, list))
	case "asa":
		return rules.ASA(out, title, nil, rules.OfEntries(c, q.version, list))
	}
	return printRows(cmd, q.format, entryColumns, entryRows(list))
}

var flowColumns = []string{"from", "to", "source", "target", "port", "protocol", "tls", "expect", "kind", "rests on"}

func (q *portQuery) printFlows(cmd *cobra.Command, p *paths.Plan) error {
	if kinds := paths.FlowKinds(); q.kind != "" && !slices.Contains(kinds, paths.FlowKind(q.kind)) {
		return input(fmt.Errorf("--kind %q is not known in a plan; known are %v", q.kind, kinds))
	}
	for _, name := range []string{q.from, q.to} {
		if name != "" && !slices.ContainsFunc(p.Hosts, func(h paths.Host) bool { return h.Name == name || h.Has(name) }) {
			return noHost(p, name)
		}
	}
	flows, warnings := p.Flows()
	a, b, _ := strings.Cut(q.zones, ":")
	var rows [][]string
	for _, f := range flows {
		switch {
		case q.from != "" && f.From.Name != q.from && !f.From.Has(q.from), q.to != "" && f.To.Name != q.to && !f.To.Has(q.to):
		case q.role != "" && !f.From.Has(q.role) && !f.To.Has(q.role):
		case q.port != 0 && !f.Ports.Has(q.port):
		case q.zones != "" && (f.From.Zone != a || f.To.Zone != b):
		case q.kind != "" && string(f.Kind) != q.kind:
		default:
			rows = append(rows, flowRow(f))
		}
	}
	if q.format == "json" {
		return printJSON(cmd, map[string]any{"plan": p.Name, "exchange": p.Exchange, "flows": objects(flowColumns, rows), "unsupported": jsonWarnings(warnings)})
	}
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n    %s (%s)\n", w.Text, w.Rule.Rule.Statement, w.Rule.ID)
	}
	for _, text := range p.Doubts() {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", text)
	}
	if len(rows) == 0 {
		return input(errors.New("no path of the plan is like that"))
	}
	if q.format == "table" {
		return flowTable(cmd, rows)
	}
	return printRows(cmd, q.format, flowColumns, rows)
}

// flowTable prints flows as wide as a terminal: what takes a sentence stands
// below.
func flowTable(cmd *cobra.Command, rows [][]string) error {
	out := cmd.OutOrStdout()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tTO\tTARGET\tPORT\tPROTOCOL\tTLS\tEXPECT\tKIND\tNOTE")
	var notes []string
	note := func(text string) string {
		if text == "" {
			return ""
		}
		if !slices.Contains(notes, text) {
			notes = append(notes, text)
		}
		return fmt.Sprintf("[%d]", slices.Index(notes, text)+1)
	}
	for _, r := range rows {
		expect, why, _ := strings.Cut(r[7], ": ")
		if why == "" && r[8] != string(paths.Documented) {
			why = r[9]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r[0], r[1], r[3], r[4], r[5], r[6], expect, r[8], note(why))
	}
	if err := w.Flush(); err != nil {
		return bench(err)
	}
	fmt.Fprintln(out)
	for i, text := range notes {
		fmt.Fprintf(out, "[%d] %s\n", i+1, text)
	}
	fmt.Fprintln(out, "What each rests on: --format md, csv or json.")
	return nil
}

func flowRow(f *paths.Flow) []string {
	expect := string(f.Expect)
	if f.Unproven != "" {
		expect = "not provable: " + f.Unproven
	} else if f.Warn {
		expect += " (warning)"
	}
	if len(f.Calls) > 0 {
		expect += " in calls over tcp/" + f.CallPorts().String()
	}
	rests := f.Sources()
	if f.Why != "" && f.Kind != paths.Documented {
		rests = strings.TrimPrefix(rests+": "+f.Why, ": ")
	}
	port := f.Ports.String() + "/" + f.Transport
	if f.Unproven != "" {
		port = f.Rests[0].Port.Ports.String() + "/" + f.Transport
	}
	return []string{f.From.Name, f.To.Name, f.Source.String(), f.Target.String(), port, f.Protocol, f.TLS, expect, string(f.Kind), rests}
}

// printRows prints lines as a table, CSV or Markdown.
func printRows(cmd *cobra.Command, format string, columns []string, rows [][]string) error {
	out := cmd.OutOrStdout()
	switch format {
	case "csv":
		w := csv.NewWriter(out)
		if err := w.WriteAll(append([][]string{columns}, rows...)); err != nil {
			return bench(err)
		}
		return nil
	case "md":
		fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, r := range rows {
			cells := slices.Clone(r)
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// objects makes an object of each row.
func objects(columns []string, rows [][]string) []map[string]string {
	list := []map[string]string{}
	for _, r := range rows {
		o := map[string]string{}
		for i, c := range columns {
			o[c] = r[i]
		}
		list = append(list, o)
	}
	return list
}

func jsonWarnings(list []paths.Warning) []map[string]any {
	out := []map[string]any{}
	for _, w := range list {
		out = append(out, map[string]any{"rule": w.Rule.ID, "hosts": w.Hosts, "what": w.Text})
	}
	return out
}

// jsonEntries tells all that the catalogue holds of each entry.
func jsonEntries(list []*profile.DataPath) []any {
	var out []any
	for _, d := range list {
		var ports []map[string]any
		for _, p := range d.Ports {
			ports = append(ports, kept(map[string]any{"ports": p.Ports.String(), "transport": p.Transport, "protocol": p.Protocol, "tls": p.TLS, "mode": p.Mode,
				"parity": p.Parity, "printed": p.Printed, "standing": string(d.Of(p)), "note": p.Note}))
		}
		var disagreements []string
		for _, x := range d.Disagreements {
			disagreements = append(disagreements, x.Says+" Here: "+x.Chosen+".")
		}
		e := kept(map[string]any{"id": d.ID, "kind": string(d.Kind), "name": d.Name, "from": d.From, "to": d.To, "printed": d.Printed,
			"authentication-default": d.Auth.Default, "encryption": d.Encryption.Supported, "encrypted-by-default": d.Encryption.ByDefault,
			"where": d.Where(), "page": d.Source.Title, "address": d.Source.Address, "reason": d.Reason, "feature": d.Feature})
		for key, v := range map[string][]string{"versions": d.Versions, "authentication": d.Auth.Supported, "encryption-methods": d.Encryption.Methods, "notes": d.Notes,
			"services": d.Services, "firewall-rules": d.FirewallRules, "rests-on": d.RestsOn, "disagreements": disagreements} {
			if len(v) > 0 {
				e[key] = v
			}
		}
		if ports != nil {
			e["ports"] = ports
		}
		if d.Configurable != nil {
			e["configurable"] = map[string]any{"possible": d.Configurable.Possible, "how": d.Configurable.How}
		}
		if d.Rule != nil {
			e["rule"] = map[string]any{"action": d.Rule.Action, "statement": d.Rule.Statement}
		}
		if d.RolesInferred {
			e["roles-inferred"] = true
		}
		if d.OffByDefault {
			e["off-by-default"] = true
		}
		out = append(out, e)
	}
	return out
}

// kept leaves out what is not said.
func kept(m map[string]any) map[string]any {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

func printJSON(cmd *cobra.Command, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return bench(err)
	}
	_, err = cmd.OutOrStdout().Write(append(b, '\n'))
	return err
}
