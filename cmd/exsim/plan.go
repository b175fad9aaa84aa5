package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/yamlfile"
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

A scenario with path: is read as the plan that is made of it; --format yaml prints
that plan, for the other machine.

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
			if q.format != "yaml" {
				return q.run(cmd)
			}
			p, err := loadPlan(q.plan, q.addresses)
			if err == nil {
				_, err = cmd.OutOrStdout().Write(p.Text())
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "", "only paths from a `HOST` or role")
	f.StringVar(&q.to, "to", "", "only paths to a `HOST` or role")
	f.StringVar(&q.zones, "zones", "", "only paths from one zone to another: `A:B`")
	f.Uint16Var(&q.port, "port", 0, "only paths that use port `N`")
	f.StringVar(&q.kind, "kind", "", "only paths of a `KIND`: documented, derived, contradictory, unrestricted, extra, undocumented")
	f.StringVar(&q.format, "format", "table", "`FORMAT`: "+strings.Join(portFormats, ", ")+", yaml")
	addressFlag(cmd, &q.addresses)
	f.BoolVar(&schema, "schema", false, "print the JSON Schema of plan files, for editors")
	f.BoolVar(&reference, "reference", false, "print the reference of plan files in Markdown")
	q.version = "2013"
	return cmd
}

// loadPlan reads a plan file, or the plan of a scenario's paths.
func loadPlan(name string, addresses map[string]string) (*paths.Plan, error) {
	text, shipped := scenarios.ShippedText(name)
	if !shipped {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, input(err)
		}
	}
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, input(err)
	}
	if kindOf(f) == "scenario" {
		return planOfScenario(name, text, addresses)
	}
	if len(addresses) > 0 {
		return nil, input(errors.New("--address is for scenarios: a plan says its addresses itself"))
	}
	p, err := paths.Load(name, text)
	if err != nil {
		return nil, input(err)
	}
	return p, nil
}

func planOfScenario(name string, text []byte, addresses map[string]string) (*paths.Plan, error) {
	list, err := scenarios.Load(name, text, nil)
	if err != nil {
		return nil, input(err)
	}
	if err := setAddresses(list, addresses); err != nil {
		return nil, err
	}
	s := list[0]
	switch {
	case !s.ForPaths():
		return nil, input(fmt.Errorf("%s is a scenario without path:, which has no plan", name))
	case slices.ContainsFunc(list, func(o *scenarios.Scenario) bool { return o.PathPlanText() != s.PathPlanText() }):
		return nil, input(fmt.Errorf("%s has a matrix with several plans: take the part of it that is meant into a file of its own", name))
	}
	p, err := s.PathPlan()
	if err != nil {
		return nil, input(err)
	}
	return p, nil
}
