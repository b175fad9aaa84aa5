package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

func checkCommand() *cobra.Command {
	var schema, reference bool
	var saved string
	var setup, explain bool
	var addresses, set map[string]string
	var ports sim.Ports
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check scenario, organisation and facts files without running them",
		Long: `check reads scenario files (with steps:), organisation files (with servers:) and
files of facts (with facts:) and plans (with zones:), and prints every mistake with file, line, column and caret. Exit code 2 if there
is one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case schema:
				return printJSON(cmd, scenarios.Schema())
			case reference:
				fmt.Fprint(cmd.OutOrStdout(), scenarios.Reference())
				return nil
			case len(args) == 0:
				return input(errors.New("check wants a file; exsim check --help"))
			case setup && len(args) == 1 && slices.Contains(scenarios.Suites(), args[0]):
				return printSuiteSetup(cmd, args[0], set, addresses, ports)
			case setup:
				return printSheets(cmd, args, set, addresses, func(s *scenarios.Scenario) (string, error) { return s.Setup(ports) })
			case explain:
				return printSheets(cmd, args, set, addresses, (*scenarios.Scenario).Explain)
			case saved != "":
				return checkTrace(cmd, saved, args)
			}
			var errs []error
			for _, name := range args {
				kind, err := check(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is right\n", name, kind)
			}
			if len(errs) > 0 {
				return input(errors.Join(errs...))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&saved, "trace", "", "judge a saved trace `FILE` again by the scenario; exit code 1 if it fails")
	cmd.Flags().BoolVar(&explain, "explain", false, "print a scenario with every value that holds, and where each comes from")
	cmd.Flags().BoolVar(&setup, "setup", false, "print how to set up the device that is to play the gateways of a scenario or suite")
	portFlags(cmd, &ports)
	addressFlag(cmd, &addresses)
	cmd.Flags().StringToStringVar(&set, "set", nil, "replace a value of vars: `NAME=VALUE`, repeatable")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of scenario files, for editors")
	cmd.Flags().BoolVar(&reference, "reference", false, "print the reference of scenario files in Markdown")
	return cmd
}

// printSheets prints a sheet for each scenario.
func printSheets(cmd *cobra.Command, args []string, set, addresses map[string]string, of func(s *scenarios.Scenario) (string, error)) error {
	list, err := loadAll(args, set)
	if err != nil {
		return err
	}
	if err := setAddresses(list, addresses); err != nil {
		return err
	}
	for _, s := range list {
		sheet, err := of(s)
		if err != nil {
			return bench(err)
		}
		fmt.Fprint(cmd.OutOrStdout(), sheet)
	}
	return nil
}

// printSuiteSetup prints how to set up the device for all cases of a suite.
func printSuiteSetup(cmd *cobra.Command, name string, set, addresses map[string]string, ports sim.Ports) error {
	suite, err := prepareSuite(name, runOptions{device: string(scenarios.External), addresses: addresses, set: set})
	if err != nil {
		return err
	}
	suite.Cases = slices.DeleteFunc(suite.Cases, func(c *scenarios.Case) bool { return c.NotApplicable != "" })
	sheet, err := suite.Setup(ports)
	if err != nil {
		return bench(err)
	}
	fmt.Fprint(cmd.OutOrStdout(), sheet)
	return nil
}

// checkTrace judges a saved trace by the scenario that it is of.
func checkTrace(cmd *cobra.Command, saved string, args []string) error {
	events, err := readTrace(saved)
	if err != nil {
		return input(err)
	}
	list, err := loadAll(args, scenarios.VarsOf(events)) // as the run was
	if err != nil {
		return err
	}
	name := events[0].Text("scenario")
	i := slices.IndexFunc(list, func(s *scenarios.Scenario) bool { return s.Name == name })
	if i < 0 {
		return input(fmt.Errorf("%s is a trace of the scenario %q, which %s is not", saved, name, strings.Join(args, ", ")))
	}
	out := cmd.OutOrStdout()
	verdicts := scenarios.Judge(list[i], slices.Values(events))
	judged := scenarios.WithVerdicts(events, verdicts)
	if err := report.Verdicts(out, judged); err != nil {
		return bench(err)
	}
	if !scenarios.AllPassed(verdicts) {
		fmt.Fprintln(out)
		if err := report.Write(out, judged); err != nil {
			return bench(err)
		}
		return &failure{code: exitFailed}
	}
	return nil
}

func check(name string) (kind string, err error) {
	text, ok := scenarios.ShippedText(name)
	if !ok {
		if slices.Contains(scenarios.Suites(), name) {
			return "", fmt.Errorf("%s is a suite, which comes with exsim: exsim check %s --setup says what its device wants, exsim run %s runs it", name, name, name)
		}
		if text, err = os.ReadFile(name); err != nil {
			return "", err
		}
	}
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return "", err
	}
	switch kind = kindOf(f); kind {
	case "organisation":
		var o *org.Organisation
		if o, err = org.Load(name, text); err == nil && o.Facts != "" {
			err = checkFacts(o.Version, o.Facts)
		}
		if err == nil {
			err = sim.CheckRecordings(name, text)
		}
		if err == nil && o.TLS.Authority != "" {
			_, err = admit.OpenAuthority(o.TLS.Authority)
		}
	case "plan":
		_, err = paths.Load(name, text)
	case "facts":
		err = checkFactsOfAny(f, name)
	default:
		_, err = scenarios.Load(name, text, nil)
	}
	return kind, err
}

// checkFactsOfAny takes facts that are right for one version, for the one that
// they name themselves if they do.
func checkFactsOfAny(f *yamlfile.File, name string) error {
	if v, ok := f.Root.Get("exchange"); ok {
		return checkFacts(v.Text, name)
	}
	var first error
	for _, v := range profile.Versions() {
		err := checkFacts(v, name)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func checkFacts(version, name string) error {
	text, err := os.ReadFile(name)
	if err == nil {
		_, err = profile.Load(version, profile.Override{Name: name, Data: text})
	}
	return err
}

// kindOf tells the kinds of files apart by their first level.
func kindOf(f *yamlfile.File) string {
	for _, k := range []struct{ key, kind string }{{"zones", "plan"}, {"steps", "scenario"}, {"path", "scenario"}, {"servers", "organisation"}, {"facts", "facts"}, {"replies", "facts"}} {
		if _, ok := f.Root.Get(k.key); ok {
			return k.kind
		}
	}
	return "scenario"
}

// wantKind refuses a file of another kind by one line.
func wantKind(name string, text []byte, want string) error {
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return err
	}
	how := map[string]string{"plan": "exsim plan " + name, "scenario": "exsim run " + name, "organisation": "exsim up -c " + name, "facts": "exsim up --facts " + name}
	if kind := kindOf(f); kind != want {
		return fmt.Errorf("%s is a file of another kind (%s), not of the kind %s: %s", name, kind, want, how[kind])
	}
	return nil
}
