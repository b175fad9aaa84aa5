package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/profile"
)

// listenersTable lists what is simulated of a version: the rows of its port
// table.
func listenersTable(cmd *cobra.Command, version, role, format string) error {
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
	if format == "json" {
		return portsJSON(cmd, p, rows)
	}
	return portsTable(cmd, p, rows)
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
