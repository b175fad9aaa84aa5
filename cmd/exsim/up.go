package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

func upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring up an organisation, until interrupted",
		Long: `up starts the organisation of a file, or the default one of a version, and
prints what happens until it is interrupted. Everything binds to the addresses in
the organisation; the default one is on loopback. Commands are typed into it, or
piped: help lists them.`,
		Example: `  exsim up --low-port-offset 10000
  exsim up --version 2016 --port-offset 20000
  exsim up -c org.yaml --json | jq .name
  (sleep 60; echo recycle MBX1; cat) | exsim up`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return up(cmd, o) },
	}
	portFlags(cmd, &o.ports)
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "organisation `FILE` (exsim up --print shows the default one)")
	cmd.Flags().StringVar(&o.version, "version", "2013", "Exchange `VERSION` of the default organisation")
	cmd.Flags().StringVar(&o.dir, "dir", "", "keep the mailboxes in `FOLDER` (default: a new temporary folder)")
	cmd.Flags().StringArrayVar(&o.facts, "facts", nil, "override assumed facts by `FILE`; may be repeated")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one event a line; the first is up.ready")
	cmd.Flags().StringVar(&o.save, "save", "", "write the trace to `FILE` as JSON lines at the end")
	captureFlag(cmd, &o.pcapng)
	cmd.Flags().BoolVar(&o.discard, "discard-mail", false, "acknowledge mail and throw it away: for load on the wire alone")
	cmd.Flags().BoolVar(&o.signalling, "signalling-only", false, "answer calls without media of their own")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "print nothing but errors")
	cmd.Flags().BoolVar(&o.print, "print", false, "print the default organisation and stop")
	o.watched.flags(cmd)
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "repeat the choices of an earlier run with its seed `N`")
	return cmd
}

type upOptions struct {
	config, version, dir string
	save, pcapng         string
	facts                []string
	json, print, quiet   bool
	signalling, discard  bool
	seed                 uint64
	ports                sim.Ports
	watched              watched
}

func up(cmd *cobra.Command, o upOptions) error {
	if o.config != "" && cmd.Flags().Changed("version") {
		return input(fmt.Errorf("--version %s: %s says itself which version it is of", o.version, o.config))
	}
	if err := writable(o.save, o.pcapng); err != nil {
		return err
	}
	name, text, err := o.organisation()
	if err != nil {
		return input(err)
	}
	if o.print {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	conf, err := o.load(name, text)
	if err != nil {
		return input(err)
	}
	if conf.Dir, err = workDir(o.dir, "up"); err != nil {
		return err
	}
	if conf.Capture, err = newCapture(o.pcapng, conf.Dir); err != nil {
		return err
	}
	x, err := sim.Start(conf)
	if err != nil {
		if o.dir == "" {
			_ = os.RemoveAll(conf.Dir) // ours, and nothing was received
		}
		return startFailure(err)
	}
	sim.RecordFile(x.Trace().Source("", ""), name, text)
	err = o.serve(cmd, x)
	return errors.Join(err, saveCapture(conf.Capture, o.pcapng, x.Trace(), nil))
}

// organisation is the text of the file, or of the default organisation.
func (o *upOptions) organisation() (name string, text []byte, err error) {
	if o.config == "" {
		return org.Default(o.version)
	}
	text, err = os.ReadFile(o.config)
	return o.config, text, err
}

// load reads the organisation and the facts.
func (o *upOptions) load(name string, text []byte) (sim.Config, error) {
	if err := wantKind(name, text, "organisation"); err != nil {
		return sim.Config{}, err
	}
	organisation, err := org.Load(name, text)
	if err == nil {
		err = sim.CheckRecordings(name, text)
	}
	if err != nil {
		return sim.Config{}, err
	}
	conf := sim.Config{Program: version, Org: organisation, Ports: o.ports, Seed: o.seed, SignallingOnly: o.signalling, DiscardMail: o.discard}
	for _, f := range o.facts {
		b, err := os.ReadFile(f)
		if err != nil {
			return sim.Config{}, err
		}
		conf.Overrides = append(conf.Overrides, profile.Override{Name: f, Data: b})
	}
	return conf, nil
}

// serve tells what happens until the interrupt.
func (o *upOptions) serve(cmd *cobra.Command, x *sim.Exchange) (err error) {
	kept, err := o.watched.open(x.Trace().Start())
	if err != nil {
		return errors.Join(err, x.Close())
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		if kept != nil {
			for e := range x.Trace().Follow(context.Background()) {
				kept.take(&e)
			}
		}
	}()
	// Behind the interrupt the calls are ended; what happens then is told, too.
	go control(cmd.InOrStdin(), cmd.ErrOrStderr(), x)
	closed := make(chan error, 1)
	go func() {
		<-cmd.Context().Done()
		closed <- x.Close()
	}()
	switch {
	case o.quiet:
	case o.json:
		err = upJSON(cmd, x)
	default:
		upText(cmd, x, x.Dir())
	}
	if cerr := <-closed; err == nil && cerr != nil {
		err = bench(cerr)
	}
	<-told
	if kerr := kept.close(); err == nil {
		err = kerr
	}
	if o.save != "" {
		if serr := x.Trace().Save(o.save); err == nil && serr != nil {
			err = input(serr)
		}
	}
	return err
}

// upText prints a line for what people wait for.
func upText(cmd *cobra.Command, x *sim.Exchange, dir string) {
	out := cmd.OutOrStdout()
	banner(out, x, false)
	fmt.Fprintf(out, "mailboxes: %s\nseed: %d\nready; stop with Ctrl-C, type help for commands\n\n", dir, x.Seed())
	for e := range x.Trace().Follow(context.Background()) {
		if line := upLine(&e); line != "" {
			fmt.Fprintf(out, "%9.3f  %-7s %-23s %s\n", e.At.Seconds(), e.Session, e.Listener, line)
		}
	}
}

// readyLine is the first line of up --json.
type readyLine struct {
	Name      string      `json:"name"`
	Profile   string      `json:"profile"`
	Dir       string      `json:"dir"`
	Seed      uint64      `json:"seed"`
	Listeners []readyPort `json:"listeners"`
}

type readyPort struct {
	Server     string `json:"server"`
	Role       string `json:"role"`
	Row        string `json:"row"`
	Address    string `json:"address"`
	Documented uint16 `json:"documented_port"`
	Transport  string `json:"transport"`
	Security   string `json:"security"`
	Does       string `json:"does"`
}

func upJSON(cmd *cobra.Command, x *sim.Exchange) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	ready := readyLine{Name: "up.ready", Profile: x.Organisation().Version, Dir: x.Dir(), Seed: x.Seed()}
	for _, l := range x.Listeners() {
		security := "none"
		switch {
		case l.Row.Transport == "tls":
			security = "mutual-tls"
		case l.Row.Protocol == "smtp":
			security = "starttls"
		}
		ready.Listeners = append(ready.Listeners, readyPort{
			l.Server.Name, l.Row.Role, l.Row.ID, l.Addr().String(), l.Documented, l.Row.Transport, security, l.Row.Listens,
		})
	}
	first, err := json.Marshal(ready)
	if err != nil {
		return bench(err)
	}
	line := append(first, '\n')
	for e := range x.Trace().Follow(context.Background()) {
		if _, err := w.Write(line); err != nil {
			return nil // the reader has gone
		}
		if err := w.Flush(); err != nil {
			return nil
		}
		line = append(trace.AppendJSON(line[:0], &e), '\n')
	}
	_, _ = w.Write(line)
	_ = w.Flush()
	return nil
}
