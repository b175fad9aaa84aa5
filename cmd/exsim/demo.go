package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/capture"
)

func demoCommand() *cobra.Command {
	var ports sim.Ports
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything at once on loopback: an organisation, a gateway, a call, a voice message, a report",
		Long: `demo starts the default Exchange 2013 organisation on loopback, lets a simulated
gateway place a diverted call, follow both redirects, speak, press # and hang up,
and shows the call, the media and the voice message that came of it.

It needs no privilege: a port below 1024 that may not be bound is moved up by
10000, and the first line says so.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd, ports, o)
		},
	}
	portFlags(cmd, &ports)
	cmd.Flags().StringVar(&o.dir, "dir", "", "keep the mailboxes in `FOLDER` (default: a new temporary folder)")
	cmd.Flags().StringVar(&o.save, "save", "", "write the trace to `FILE` as JSON lines")
	cmd.Flags().StringVar(&o.html, "html", "", "write the report to `FILE` (default: report.html beside the mailboxes)")
	captureFlag(cmd, &o.pcapng)
	cmd.Flags().BoolVar(&o.open, "open", false, "open the report in the browser")
	return cmd
}

type demoOptions struct {
	dir, save, html, pcapng string
	open                    bool
}

func demo(cmd *cobra.Command, ports sim.Ports, o demoOptions) error {
	if err := writable(o.save, o.html, o.pcapng); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	text, ok := scenarios.ShippedText("call-answering")
	if !ok {
		return bench(errors.New("the scenario of the demo is missing"))
	}
	list, err := scenarios.Load("call-answering.yaml", text, nil)
	if err != nil {
		return bench(err)
	}
	s := list[0]
	dir, err := workDir(o.dir, "demo")
	if err != nil {
		return err
	}
	unprivileged := false
	if !ports.Free && ports.Low == 0 && ports.Offset == 0 && !mayBindLow(s.Organisation.Servers[0].Address.String()) {
		ports.Low, unprivileged = 10000, true
	}
	taken, err := newCapture(o.pcapng, dir)
	if err != nil {
		return err
	}
	outcome, err := scenarios.Run(cmd.Context(), s, scenarios.Options{Program: version, Capture: taken, Dir: dir, Ports: ports, Ready: func(x *sim.Exchange) { banner(out, x, unprivileged) }})
	if err != nil {
		return startFailure(err)
	}
	if err := o.tell(cmd, outcome, taken, dir); err != nil {
		return err
	}
	if !outcome.Passed {
		return &failure{exitFailed, errors.New("the demo's own call failed")}
	}
	return nil
}

// tell prints what happened, and writes it to files.
func (o *demoOptions) tell(cmd *cobra.Command, outcome *scenarios.Outcome, taken *capture.Capture, dir string) error {
	out, s := cmd.OutOrStdout(), outcome.Scenario
	events := slices.Collect(outcome.Log.Events())
	if err := report.Write(out, events); err != nil {
		return bench(err)
	}
	fmt.Fprintln(out, "VERDICT  "+s.Name)
	if err := report.Verdicts(out, events); err != nil {
		return bench(err)
	}
	if o.save != "" {
		if err := outcome.Log.Save(o.save); err != nil {
			return input(err)
		}
		fmt.Fprintln(out, "\ntrace:  "+o.save)
	}
	if err := saveCapture(taken, o.pcapng, outcome.Log, s.Secrets); err != nil {
		return err
	}
	page := cmp.Or(o.html, filepath.Join(dir, "report.html"))
	if err := writeRuns(page, []report.Run{report.RunOf(events)}, pageTitled("exsim demo")); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nreport: "+page)
	if o.open {
		if err := openInBrowser(cmd.Context(), page); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "exsim: no browser could be opened (%v); open the report yourself\n", err)
		}
	}
	return nil
}

// openInBrowser shows a file as the desktop would.
func openInBrowser(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	opener := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		opener = []string{"open"}
	case "windows":
		opener = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, opener[0], append(opener[1:], file)...).Run() //nolint:gosec // a file of ours
}

// mayBindLow reports whether a port below 1024 can be bound here.
func mayBindLow(addr string) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "25"))
	if err != nil {
		return false
	}
	_ = ln.Close()
	return true
}

// banner says what listens where; a port that was moved for want of a privilege
// is said first.
func banner(out io.Writer, x *sim.Exchange, unprivileged bool) {
	fmt.Fprintf(out, "exsim simulates Exchange %s", x.Organisation().Version)
	for _, l := range x.Listeners() {
		if unprivileged && l.Bound != l.Documented && l.Documented < 1024 {
			fmt.Fprintf(out, "; port %d is bound as %d (no privilege for %d)", l.Documented, l.Bound, l.Documented)
			break
		}
	}
	fmt.Fprintln(out)
	for _, l := range x.Listeners() {
		moved := ""
		if l.Bound != l.Documented {
			moved = fmt.Sprintf("  (documented: %d)", l.Documented)
		}
		for _, id := range l.Connectors() {
			if id != l.Row.ID {
				moved += "  and " + id
			}
		}
		fmt.Fprintf(out, "  %-6s %-23s %s/%s  %s%s\n", l.Server.Name, l.Row.ID, l.Addr(), l.Row.Transport, l.Row.Listens, moved)
	}
	if at := x.DNS(); at.IsValid() {
		fmt.Fprintf(out, "  %-6s %-23s %s/udp and tcp  the names of the servers\n", "", "dns", at)
	}
	fmt.Fprintln(out)
}
