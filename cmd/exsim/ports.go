package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

func portsCommand() *cobra.Command {
	var version, role string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ports",
		Short: "List the documented ports that are simulated",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := profile.Load(version)
			if err != nil {
				return input(err)
			}
			var rows []profile.Port
			for _, r := range p.Ports {
				if role == "" || r.Role == role {
					rows = append(rows, r)
				}
			}
			if len(rows) == 0 {
				return input(fmt.Errorf("no port of role %q; roles of Exchange %s are %s", role, version, strings.Join(p.Roles(), ", ")))
			}
			if asJSON {
				return portsJSON(cmd, p, rows)
			}
			return portsTable(cmd, p, rows)
		},
	}
	cmd.Flags().StringVar(&version, "version", "2013", "Exchange `VERSION`: "+strings.Join(profile.Versions(), ", "))
	cmd.Flags().StringVar(&role, "role", "", "only the ports of a server `ROLE`, such as mailbox")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func portsTable(cmd *cobra.Command, p *profile.Profile, rows []profile.Port) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROW\tROLE\tPORT\tDOES\tSETTABLE\tSTANDING\tSOURCE")
	for _, r := range rows {
		does := r.Listens
		switch {
		case does == "" && r.Protocol == "rtp":
			does = "media, a pair for each call"
		case does == "":
			does = "(not opened)"
		}
		settable := "no"
		if r.Settable {
			settable = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s/%s\t%s\t%s\t%s\t%s\n", r.ID, r.Role, portText(r), r.Transport, does, settable, r.Standing, p.Sources[r.Source].Title)
	}
	return w.Flush()
}

func portText(r profile.Port) string {
	switch {
	case r.Last != 0:
		return fmt.Sprintf("%d-%d", r.Port, r.Last)
	case r.Beside != 0:
		return fmt.Sprintf("%d or %d", r.Port, r.Beside)
	}
	if r.TLSOnly != 0 {
		return fmt.Sprintf("%d or %d", r.Port, r.TLSOnly)
	}
	return fmt.Sprint(r.Port)
}

func portsJSON(cmd *cobra.Command, p *profile.Profile, rows []profile.Port) error {
	type row struct {
		profile.Port
		SourceTitle   string
		SourceAddress string
	}
	var list []row
	for _, r := range rows {
		s := p.Sources[r.Source]
		list = append(list, row{r, s.Title, s.Address})
	}
	return printJSON(cmd, map[string]any{"version": p.Version, "ports": list})
}

func printJSON(cmd *cobra.Command, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return bench(err)
	}
	_, err = cmd.OutOrStdout().Write(append(b, '\n'))
	return err
}

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
