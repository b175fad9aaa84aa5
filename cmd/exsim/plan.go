package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/paths"
)

func planCommand() *cobra.Command {
	var schema, reference bool
	q := portQuery{format: "table"}
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Check a plan of zones and hosts, and print every path that it needs",
		Long: `plan reads a plan file, prints every mistake with file, line, column and caret,
and lists the paths between the plan's hosts: documented ones, those that follow
(derived), contradictory ones, and what must be closed, with what each rests on.

exsim new plan FILE writes one to start from.`,
		Example: `  exsim new plan branch.yaml
  exsim plan branch.yaml
  exsim plan branch.yaml --from gw --to mbx --format md`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case schema:
				return printJSON(cmd, paths.Schema())
			case reference:
				fmt.Fprint(cmd.OutOrStdout(), paths.Reference())
				return nil
			case len(args) != 1:
				return input(errors.New("plan wants a file; exsim plan --help"))
			}
			q.plan = args[0]
			return q.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "", "only paths from a `HOST` or role")
	f.StringVar(&q.to, "to", "", "only paths to a `HOST` or role")
	f.StringVar(&q.zones, "zones", "", "only paths from one zone to another: `A:B`")
	f.Uint16Var(&q.port, "port", 0, "only paths that use port `N`")
	f.StringVar(&q.kind, "kind", "", "only paths of a `KIND`: documented, derived, contradictory, unrestricted, extra, undocumented")
	f.StringVar(&q.format, "format", "table", "`FORMAT`: "+strings.Join(portFormats, ", "))
	f.BoolVar(&schema, "schema", false, "print the JSON Schema of plan files, for editors")
	f.BoolVar(&reference, "reference", false, "print the reference of plan files in Markdown")
	q.version = "2013"
	return cmd
}
