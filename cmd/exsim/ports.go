package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/rules"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// portQuery is which data paths are asked for, and how they are told.
type portQuery struct {
	version, role, from, to, zones, kind, format string
	port                                         uint16
	plan, check                                  string
	asJSON, roles, listeners                     bool
	addresses                                    map[string]string // of a scenario's parties
}

var portFormats = []string{"table", "json", "csv", "md", "nft", "windows", "asa"}

func portsCommand() *cobra.Command {
	var q portQuery
	cmd := &cobra.Command{
		Use:   "ports",
		Short: "List the documented data paths, as a table or as firewall rules",
		Long: `ports lists the data paths that Microsoft's port pages document, each with its page,
and beside them what follows from these (derived) and what the pages both give
and deny (contradictory).

With a plan it lists the paths between the plan's hosts, with their addresses.
--check reads the rules of a filter and says which of these it would stop and
what else it leaves open; exit code 1 if there is any.`,
		Example: `  exsim ports --version 2016 --to mailbox
  exsim ports --port 5062
  exsim ports --plan branch.yaml --format nft > branch.nft
  nft -j list ruleset > now.json; exsim ports --plan branch.yaml --check now.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return q.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&q.version, "version", "2013", "Exchange `VERSION`: 2007, 2013, 2016, 2019")
	f.StringVar(&q.role, "role", "", "only paths to or from a `ROLE`, of the pages or of a plan (--roles)")
	f.StringVar(&q.from, "from", "", "only paths from a `ROLE`, or from a host of the plan")
	f.StringVar(&q.to, "to", "", "only paths to a `ROLE`, or to a host of the plan")
	f.StringVar(&q.zones, "zones", "", "only paths from one zone to another: `A:B`, zones of the plan, or internal, perimeter, internet")
	f.Uint16Var(&q.port, "port", 0, "only paths that use port `N`")
	f.StringVar(&q.kind, "kind", "", "only entries of a `KIND`: row, note, rule, derived")
	f.StringVar(&q.format, "format", "table", "`FORMAT`: "+strings.Join(portFormats, ", "))
	f.BoolVar(&q.asJSON, "json", false, "the same as --format json")
	f.StringVar(&q.plan, "plan", "", "list what a plan `FILE` needs, or a scenario with path:")
	f.StringVar(&q.check, "check", "", "hold a `FILE` of rules against the plan: nft -j list ruleset, or CSV with action,transport,from,to,ports")
	f.BoolVar(&q.roles, "roles", false, "list the roles that hosts of a plan can have")
	f.BoolVar(&q.listeners, "listeners", false, "list the rows that exsim up listens on")
	return cmd
}

func (q *portQuery) run(cmd *cobra.Command) error {
	if q.asJSON {
		q.format = "json"
	}
	if !slices.Contains(portFormats, q.format) {
		return input(fmt.Errorf("--format %q is not known; %s", q.format, cmp.Or(yamlfile.Suggest(q.format, portFormats), "known are "+strings.Join(portFormats, ", "))))
	}
	if q.listeners {
		return listenersTable(cmd, q.version, q.role, q.format)
	}
	c, err := profile.DataPaths()
	if err != nil {
		return bench(err)
	}
	q.version = profile.CatalogueVersion(q.version)
	if !slices.Contains(c.Versions(), q.version) {
		return input(fmt.Errorf("no port page is about Exchange %s; pages are about %s", q.version, strings.Join(c.Versions(), ", ")))
	}
	switch {
	case q.roles:
		return rolesTable(cmd, c, q.version)
	case q.plan != "":
		return q.ofPlan(cmd)
	case q.check != "":
		return input(errors.New("--check wants --plan FILE: rules are between addresses"))
	}
	entries, err := q.entries(c)
	if err != nil {
		return input(err)
	}
	return q.printEntries(cmd, c, entries)
}

// entries are those of the catalogue that are asked for.
func (q *portQuery) entries(c *profile.Catalogue) ([]*profile.DataPath, error) {
	for _, role := range []string{q.role, q.from, q.to} {
		if role != "" && !c.KnowsRole(role) {
			return nil, fmt.Errorf("no page and no plan knows a role %q; %s", role, cmp.Or(yamlfile.Suggest(role, c.RoleNames()), "exsim ports --roles lists them"))
		}
	}
	is := func(of, role string) bool {
		return of == "" || role == of || c.Plays(q.version, q.version, []string{of}, role)
	}
	if kinds := []string{"row", "note", "rule", "derived"}; q.kind != "" && !slices.Contains(kinds, q.kind) {
		return nil, fmt.Errorf("--kind %q is not known; known are %s", q.kind, strings.Join(kinds, ", "))
	}
	a, b, zoned := strings.Cut(q.zones, ":")
	if zoned == (q.zones == "") {
		return nil, fmt.Errorf("--zones %q is not A:B", q.zones)
	}
	var list []*profile.DataPath
	for _, d := range c.Of(q.version) {
		switch {
		case !is(q.from, d.From), !is(q.to, d.To), q.role != "" && !is(q.role, d.From) && !is(q.role, d.To):
		case q.kind != "" && string(d.Kind) != q.kind:
		case q.port != 0 && !slices.ContainsFunc(d.Ports, func(p profile.PathPort) bool { return p.Ports.Contains(q.port) }):
		case zoned && (!c.InZone(d.From, a) || !c.InZone(d.To, b)):
		default:
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no documented path is like that")
	}
	return list, nil
}

func rolesTable(cmd *cobra.Command, c *profile.Catalogue, version string) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range c.Roles {
		if slices.Contains(c.RolesOf(version), r.ID) {
			fmt.Fprintf(w, "%s\t%s\n", r.ID, r.Means)
		}
	}
	fmt.Fprintln(w, "\nFeatures that a plan can use:\t")
	for _, f := range c.Features {
		fmt.Fprintf(w, "%s\t%s\n", f.ID, f.Means)
	}
	return w.Flush()
}

// ofPlan tells the paths of a plan, or holds a filter against them.
func (q *portQuery) ofPlan(cmd *cobra.Command) error {
	p, err := loadPlan(q.plan, q.addresses)
	if err != nil {
		return err
	}
	if q.check != "" {
		return q.checkFilter(cmd, p)
	}
	title := fmt.Sprintf("Exchange %s, plan %s", p.Exchange, p.Name)
	out := cmd.OutOrStdout()
	switch list, notes := rules.Of(p), rules.Notes(p); q.format {
	case "nft":
		return rules.Nftables(out, title, notes, list, rules.Inspected(p))
	case "windows":
		return rules.Windows(out, title, notes, p.FirewallRules(), list)
	case "asa":
		return rules.ASA(out, title, notes, list)
	}
	return q.printFlows(cmd, p)
}

func (q *portQuery) checkFilter(cmd *cobra.Command, p *paths.Plan) error {
	text, err := os.ReadFile(q.check)
	if err != nil {
		return input(err)
	}
	var f rules.Filter
	if strings.HasSuffix(q.check, ".csv") {
		f, err = rules.ReadCSV(q.check, text)
	} else if f, err = rules.ReadNftables(text); err != nil {
		err = fmt.Errorf("%s: %w", q.check, err)
	}
	if err != nil {
		return input(err)
	}
	stopped, beside := rules.Check(p, f)
	list, failed := rules.Rows(stopped, beside)
	if q.format == "json" {
		err = printJSON(cmd, map[string]any{"plan": p.Name, "failed": failed, "findings": list})
	} else {
		err = rules.Tell(cmd.OutOrStdout(), stopped, beside)
	}
	if err != nil {
		return bench(err)
	}
	if failed {
		return &failure{code: exitFailed}
	}
	return nil
}
