package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/yamlfile"
)

func newCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new PURPOSE [FILE]",
		Short: "Write a commented scenario to start from",
		Long: `new prints a commented scenario for a purpose, or writes it to a file that is
not there yet. The name of a shipped scenario gives that one.

Purposes:
` + purposes() + `
Shipped: ` + strings.Join(scenarios.Shipped(), ", "),
		Example: `  exsim new voice-mail mine.yaml
  exsim new device | less`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			if args[0] == planPurpose {
				return writePlan(cmd, args[1:])
			}
			text, ok := scenarios.StarterText(args[0])
			if !ok {
				text, ok = scenarios.ShippedText(args[0])
			}
			if !ok {
				return input(fmt.Errorf("no purpose is named %q; %s", args[0], cmp.Or(yamlfile.Suggest(args[0], append(scenarios.Starters(), scenarios.Shipped()...)), "purposes are "+strings.Join(scenarios.Starters(), ", "))))
			}
			if len(args) == 1 {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			return writeNew(cmd, args[1], text, "exsim check FILE, exsim run FILE --prove")
		},
	}
}

func writeNew(cmd *cobra.Command, name string, text []byte, next string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a scenario is no secret
	if errors.Is(err, fs.ErrExist) {
		return input(fmt.Errorf("%s is there already, and is left as it is", name))
	}
	if err != nil {
		return input(err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return input(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, strings.ReplaceAll(next, "FILE", name))
	return nil
}

// purposes lists the starters with their first line.
func purposes() string {
	var b strings.Builder
	for _, name := range scenarios.Starters() {
		text, _ := scenarios.StarterText(name)
		first, _, _ := strings.Cut(string(text), "\n")
		fmt.Fprintf(&b, "  %-12s %s\n", name, strings.TrimPrefix(first, "# "))
	}
	fmt.Fprintf(&b, "  %-12s %s\n", planPurpose, "A plan of zones and hosts, for exsim plan, listen and probe.")
	return b.String()
}

// planPurpose is the one purpose that makes no scenario.
const planPurpose = "plan"

func writePlan(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		_, err := cmd.OutOrStdout().Write(paths.Starter())
		return err
	}
	return writeNew(cmd, args[0], paths.Starter(), "exsim plan FILE")
}
