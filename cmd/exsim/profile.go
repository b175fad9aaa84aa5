package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/transport"
)

// profileOptions are what facts are told, and how.
type profileOptions struct {
	facts  []string
	format string
	prefix string
}

var profileFormats = []string{"table", "json", "csv", "md"}

func profileCommand() *cobra.Command {
	var o profileOptions
	cmd := &cobra.Command{
		Use:   "profile [VERSION]",
		Short: "List the versions, or what is known of one, with standing and source",
		Long: `profile lists the Exchange versions that can be simulated. With a version it lists
what is known of it: each fact with its value, how well it is known (documented,
observed, assumed) and where it stands. An assumed one can be overridden by a
file of facts (exsim up --facts FILE).`,
		Example: `  exsim profile 2016 --only refusal
  exsim profile diff 2010-sp1 2013
  exsim profile matrix 2016
  exsim profile diff 2016 2016 --facts seen.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	diff := &cobra.Command{
		Use:   "diff A B",
		Short: "Say where two versions differ; --facts is laid over the second one",
		Args:  cobra.ExactArgs(2),
		RunE:  func(cmd *cobra.Command, args []string) error { return o.diff(cmd, args[0], args[1]) },
	}
	mail := &cobra.Command{
		Use:   "matrix [VERSION...]",
		Short: "Say who may send what at the receive connectors of versions, as Markdown",
		RunE:  func(cmd *cobra.Command, args []string) error { return matrix(cmd.OutOrStdout(), args) },
	}
	cmd.AddCommand(diff, mail)
	for _, c := range []*cobra.Command{cmd, diff} {
		c.Flags().StringArrayVar(&o.facts, "facts", nil, "lay a `FILE` of facts over it")
		c.Flags().StringVar(&o.format, "format", "table", "`FORMAT`: "+strings.Join(profileFormats, ", "))
		c.Flags().StringVar(&o.prefix, "only", "", "only what begins with `PREFIX`, such as sip, refusal, port")
	}
	return cmd
}

func (o *profileOptions) load(version string, facts []string) (*profile.Profile, error) {
	var overrides []profile.Override
	for _, name := range facts {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, input(err)
		}
		overrides = append(overrides, profile.Override{Name: name, Data: text})
	}
	p, err := profile.Load(version, overrides...)
	if err != nil {
		return nil, input(err)
	}
	return p, nil
}

func (o *profileOptions) run(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		var rows [][]string
		for _, v := range profile.Versions() {
			p, err := o.load(v, nil)
			if err != nil {
				return err
			}
			rows = append(rows, []string{v, p.Front(), strings.Join(p.Roles(), ", "), strings.Join(p.Lineage[1:], ", ")})
		}
		return o.print(cmd, []string{"version", "gateways call", "roles", "rests on"}, rows)
	}
	p, err := o.load(args[0], o.facts)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range p.Told() {
		if strings.HasPrefix(f.Key, o.prefix) {
			rows = append(rows, []string{f.Key, f.Value, string(f.Standing), p.Sources[f.Source].Title, f.Note})
		}
	}
	return o.print(cmd, []string{"fact", "value", "standing", "source", "note"}, rows)
}

func (o *profileOptions) diff(cmd *cobra.Command, left, right string) error {
	a, err := o.load(left, nil)
	if err != nil {
		return err
	}
	b, err := o.load(right, o.facts)
	if err != nil {
		return err
	}
	side := func(f profile.Fact) string {
		if f.Key == "" {
			return "-"
		}
		return fmt.Sprintf("%s (%s)", f.Value, f.Standing)
	}
	var rows [][]string
	for _, d := range profile.Diff(a, b) {
		if strings.HasPrefix(d.Key, o.prefix) {
			rows = append(rows, []string{d.Key, side(d.A), side(d.B)})
		}
	}
	if o.format == "table" {
		if len(rows) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s and %s do not differ\n", left, right)
			return nil
		}
		for _, r := range rows {
			r[1], r[2] = whereTheyDiffer(r[1], r[2])
		}
	}
	return o.print(cmd, []string{"fact", left, right}, rows)
}

// print writes a table; a terminal is spared its longest cells.
func (o *profileOptions) print(cmd *cobra.Command, columns []string, rows [][]string) error {
	if !slices.Contains(profileFormats, o.format) {
		return input(fmt.Errorf("--format %q is not known; known are %s", o.format, strings.Join(profileFormats, ", ")))
	}
	if o.format == "json" {
		return printJSON(cmd, objects(columns, rows))
	}
	if o.format == "table" {
		for _, r := range rows {
			for k := range r {
				r[k] = shortened(r[k], 64)
			}
		}
	}
	return printRows(cmd, o.format, columns, rows)
}

// whereTheyDiffer leaves out what two long texts have in common at their begin.
func whereTheyDiffer(a, b string) (string, string) {
	const most, before = 64, 12
	if max(len(a), len(b)) <= most {
		return a, b
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	if same <= before {
		return a, b
	}
	return "…" + a[same-before:], "…" + b[same-before:]
}

// shortened cuts a text for a table.
func shortened(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// matrix prints who may send what at the connectors of the versions.
func matrix(w io.Writer, versions []string) error {
	fmt.Fprint(w, "# Who may send what\n\nMade from the program by `exsim profile matrix`: each line is what a session of the connector answers, with the default settings of the version. "+
		"A *user* has logged on and sends as itself; a *server* is an Exchange server of the organisation; *external* is anybody at such a connector with ExternalAuthoritative.\n")
	if len(versions) == 0 {
		versions = profile.Versions()
	}
	for _, v := range versions {
		rows, err := transport.Matrix(v)
		if err != nil {
			return input(err)
		}
		fmt.Fprintf(w, "\n## Exchange %s\n\n| connector | sender | TLS | to a mailbox | to another domain |\n|---|---|---|---|---|\n", v)
		for _, r := range rows {
			fmt.Fprintf(w, "| %s (%s) | %s | %s | %s | %s |\n", r.Connector, r.Port, r.Peer, map[bool]string{true: "yes", false: "no"}[r.TLS], r.Own, r.Foreign)
		}
	}
	return nil
}
