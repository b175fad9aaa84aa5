package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check scenario and organisation files without running them",
		Long: `check reads scenario files (with steps:) and organisation files (with servers:)
and prints every mistake with file, line, column and caret. Exit code 2 if there
is one.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
}

func check(name string) (kind string, err error) {
	text, ok := scenarios.ShippedText(name)
	if !ok {
		if text, err = os.ReadFile(name); err != nil {
			return "", err
		}
	}
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return "", err
	}
	if _, ok := f.Root.Get("servers"); ok {
		_, err := org.Load(name, text)
		return "organisation", err
	}
	_, err = scenarios.Load(name, text)
	return "scenario", err
}
