package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/trace"
)

func eventsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List the events that a trace can hold and their fields",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := scenarios.Events()
			if asJSON {
				return printJSON(cmd, list)
			}
			_, err := cmd.OutOrStdout().Write([]byte(eventsText(list)))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func eventsText(list []trace.EventType) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s\n    %s\n", e.Name, e.Means)
		for _, f := range e.Fields {
			fmt.Fprintf(&b, "    %-14s %s\n", f.Key, f.Means)
		}
	}
	return b.String()
}
