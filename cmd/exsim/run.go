package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/capture"
	"github.com/exsim/exsim/sim/yamlfile"
)

type runOptions struct {
	ports                  sim.Ports
	dir, json, junit, html string
	save, pcapng           string
	seed                   uint64
	set                    map[string]string
	device                 string
	patience               time.Duration
	addresses              map[string]string
	prove, ladder          bool
	sheet                  string // of a suite
	watched                watched
	notApplicable          map[string]string // cases of a suite, with the reason
	only                   []string          // cases and sections of a suite
	ask                    bool              // before each case of a suite
	authority              string
}

func runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE|DIR|NAME...",
		Short: "Run scenarios and judge them",
		Long: `run runs scenario files, every .yaml of a folder, or shipped scenarios by name.

A suite is a numbered list of scenarios with one sheet as its result, to be
printed and signed: um-validation stands in for the vendor's own list. What does
not concern a device is left out with a reason.

Exit code: 0 all passed, 1 some failed, 2 a file or flag is wrong, 3 exsim itself failed.
Suites: ` + strings.Join(scenarios.Suites(), ", ") + `
Shipped: ` + strings.Join(scenarios.Shipped(), ", "),
		Example: `  exsim run call-answering --low-port-offset 10000
  exsim run missed-call --free-ports --prove
  exsim run um-validation --device external --sheet sheet.html --not-applicable 6.2="no T.38"
  exsim run tests/ --json result.json --save traces/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			suite, err := suiteOf(args)
			if err != nil {
				return err
			}
			switch {
			case o.patience <= 0:
				return input(fmt.Errorf("--patience %s: a person needs some time", o.patience))
			case suite != "":
				o.ask = o.ask || !cmd.Flags().Changed("ask") && strings.HasSuffix(o.device, string(scenarios.External)) && interactive()
				return runSuite(cmd, suite, o)
			case len(o.only)+len(o.notApplicable) > 0 || o.ask || o.sheet != "":
				return input(fmt.Errorf("--only, --not-applicable, --ask and --sheet are of a suite, and %s is none: %s", strings.Join(args, " "), yamlfile.Suggest(args[0], scenarios.Suites())))
			}
			return runAll(cmd, args, o)
		},
	}
	portFlags(cmd, &o.ports)
	cmd.Flags().StringVar(&o.dir, "dir", "", "keep the mailboxes in `FOLDER` (default: a new temporary folder, removed when all passed)")
	cmd.Flags().StringVar(&o.json, "json", "", "write the verdicts to `FILE` as JSON, - for standard output")
	cmd.Flags().StringVar(&o.junit, "junit", "", "write the verdicts to `FILE` as JUnit XML, with the report of each run")
	cmd.Flags().StringVar(&o.html, "html", "", "write the report of all runs to `FILE` as one page of HTML")
	cmd.Flags().StringVar(&o.save, "save", "", "write each trace to `FOLDER` as NAME.jsonl")
	cmd.Flags().StringVar(&o.pcapng, "pcapng", "", "write what passed in each run to `FOLDER` as NAME.pcapng, with the keys of TLS in it; a name that ends in .pcapng is the file of the only run")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "repeat the choices of an earlier run with its seed `N`")
	cmd.Flags().StringToStringVar(&o.set, "set", nil, "replace a value of vars: `NAME=VALUE`, repeatable")
	cmd.Flags().StringVar(&o.device, "device", "", "who plays the actors: external (the run says what to do and waits), simulated, or `ACTOR=external`")
	cmd.Flags().DurationVar(&o.patience, "patience", 2*time.Minute, "how long a person may take for what a run asks for")
	addressFlag(cmd, &o.addresses)
	cmd.Flags().StringVar(&o.authority, "authority", "", "take the lab's certificate authority from `FOLDER` of exsim pki, which the device has its certificate of")
	cmd.Flags().BoolVar(&o.prove, "prove", false, "run each scenario also with the faults that it says it catches: it must fail")
	cmd.Flags().StringVar(&o.sheet, "sheet", "", "of a suite: write the sheet to `FILE` as HTML")
	cmd.Flags().StringToStringVar(&o.notApplicable, "not-applicable", nil, "of a suite: leave a case out, `NUMBER=REASON`, repeatable")
	cmd.Flags().StringSliceVar(&o.only, "only", nil, "of a suite: run these cases and sections alone, `NUMBERS` as 3.1,9")
	cmd.Flags().BoolVar(&o.ask, "ask", false, "of a suite: wait for Enter before each case, and ask what to do behind one that failed (default: at a terminal with an external device)")
	o.watched.flags(cmd)
	cmd.Flags().BoolVar(&o.ladder, "ladder", false, "print the report of scenarios that pass, too")
	return cmd
}

// loadAll reads every scenario that the arguments name; a broken one stops
// the run before it begins.
func loadAll(args []string, set map[string]string) ([]*scenarios.Scenario, error) {
	var list []*scenarios.Scenario
	var errs []error
	add := func(name string, text []byte) {
		if err := wantKind(name, text, "scenario"); err != nil {
			errs = append(errs, err)
			return
		}
		some, err := scenarios.Load(name, text, set)
		if err != nil {
			errs = append(errs, err)
		}
		list = append(list, some...)
	}
	for _, arg := range args {
		if text, ok := scenarios.ShippedText(arg); ok {
			add(arg+".yaml", text)
			continue
		}
		files, err := filesOf(arg)
		if err != nil {
			errs = append(errs, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			add(f, text)
		}
	}
	names := map[string]string{}
	for _, s := range list {
		if first, ok := names[s.Name]; ok {
			errs = append(errs, fmt.Errorf("%s and %s have one name, %q: their results would be one", first, s.File, s.Name))
		}
		names[s.Name] = s.File
	}
	if len(errs) > 0 {
		return nil, input(errors.Join(errs...))
	}
	return list, nil
}

// filesOf is a file, or the .yaml files of a folder.
func filesOf(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		hint := cmp.Or(yamlfile.Suggest(arg, append(scenarios.Suites(), scenarios.Shipped()...)), "exsim run --help lists those")
		return nil, fmt.Errorf("%q is no file, no folder and no shipped scenario; %s", arg, hint)
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	files, err := filepath.Glob(filepath.Join(arg, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("folder %s holds no .yaml file", arg)
	}
	return files, err
}

func runAll(cmd *cobra.Command, args []string, o runOptions) error {
	list, err := prepare(args, o)
	if err != nil {
		return err
	}
	out, done, err := o.begin(cmd)
	if err != nil {
		return err
	}
	var results []result
	bad := 0
	for _, s := range list {
		more, ok, err := runOne(cmd, out, s, o)
		results = append(results, more...)
		if err != nil { // what came before is evidence all the same
			return errors.Join(err, writeAll(cmd, o, append(results, result{Name: s.Name, File: s.File, Broken: err.Error()})))
		}
		if !ok {
			bad++
		}
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", len(list)-bad, bad)
	if err := writeAll(cmd, o, results); err != nil {
		return err
	}
	return done(bad)
}

// begin makes the folder of a run, and says where its lines go. What it returns
// ends the run by the number of failures: a temporary folder is kept for them.
func (o *runOptions) begin(cmd *cobra.Command) (out io.Writer, done func(failures int) error, err error) {
	temporary := o.dir == ""
	if o.dir, err = workDir(o.dir, "run"); err != nil {
		return nil, nil, err
	}
	if out = cmd.OutOrStdout(); o.json == "-" {
		out = io.Discard
	}
	return out, func(failures int) error {
		switch {
		case failures > 0:
			fmt.Fprintln(out, "mailboxes: "+o.dir)
			return &failure{code: exitFailed}
		case temporary:
			_ = os.RemoveAll(o.dir)
		}
		return nil
	}, nil
}

// prepare loads the scenarios, with their devices and addresses.
func prepare(args []string, o runOptions) ([]*scenarios.Scenario, error) {
	list, err := loadAll(args, o.set)
	if err != nil {
		return nil, err
	}
	if err := setDevices(list, o); err != nil {
		return nil, err
	}
	if err := errors.Join(setAddresses(list, o.addresses), setAuthority(list, o.authority)); err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.ForPaths() && s.Guided() {
			if err := checkSecret([]byte(os.Getenv(secretVariable))); err != nil {
				return nil, err
			}
		}
	}
	if o.save != "" {
		if err := os.MkdirAll(o.save, 0o755); err != nil {
			return nil, input(err)
		}
	}
	return list, errors.Join(captureFolder(o.pcapng, o.runs(list)), reachable(list), o.watched.check(), writable(o.json, o.junit, o.html))
}

// runs counts what will run.
func (o *runOptions) runs(list []*scenarios.Scenario) (n int) {
	for _, s := range list {
		n++
		if o.prove {
			n += len(s.Catches)
		}
	}
	return n
}

// runOne runs a scenario, and with --prove also with each fault that it
// catches.
func runOne(cmd *cobra.Command, out io.Writer, s *scenarios.Scenario, o runOptions) ([]result, bool, error) {
	outcome, err := execute(cmd, s, o, nil)
	if err != nil {
		return nil, false, err
	}
	results := []result{newResult(outcome, "", outcome.Passed, o)}
	if err := tell(out, outcome, o, outcome.Passed, "", "passed", "FAILED"); err != nil {
		return results, false, err
	}
	ok := outcome.Passed
	if !o.prove {
		return results, ok, nil
	}
	for _, f := range s.Catches {
		outcome, err := execute(cmd, s, o, &f)
		if err != nil {
			return results, false, err
		}
		caught := outcome.Caught(&f)
		r := newResult(outcome, f.Name(), caught, o)
		r.Why = notCaught(outcome, &f)
		results = append(results, r)
		with := " with the fault " + f.Name()
		if !outcome.Passed {
			with += ", at " + firstFailure(outcome.Verdicts)
			if !caught {
				with += "; " + r.Why
			}
		}
		if err := tell(out, outcome, o, caught, with, "caught", "NOT CAUGHT"); err != nil {
			return results, false, err
		}
		ok = ok && caught
	}
	return results, ok, nil
}

// notCaught says why a planted fault does not count as caught, "" if it does.
func notCaught(outcome *scenarios.Outcome, f *scenarios.PlantedFault) string {
	if outcome.Caught(f) {
		return ""
	}
	for _, v := range outcome.Verdicts {
		if v.Result == scenarios.Failed {
			return fmt.Sprintf("its cause is %s, and catches names %s", cmp.Or(v.CauseID, "unknown"), f.Cause)
		}
	}
	return "the scenario passed with the fault"
}

// firstFailure names the step that failed.
func firstFailure(verdicts []scenarios.Verdict) string {
	for _, v := range verdicts {
		if v.Result == scenarios.Failed {
			return v.Text + " (" + v.Got + "); side: " + v.Side + "; cause: " + strings.TrimSpace(v.CauseID+" "+v.Cause)
		}
	}
	return ""
}

func execute(cmd *cobra.Command, s *scenarios.Scenario, o runOptions, plant *scenarios.PlantedFault) (*scenarios.Outcome, error) {
	name := s.Name
	if plant != nil {
		name += "+" + plant.Name()
	}
	// A run has a folder of its own: what an earlier one left waiting would be
	// mailed in this one.
	dir, err := os.MkdirTemp(o.dir, name+"-")
	if err != nil {
		return nil, bench(err)
	}
	taken, err := newCapture(o.pcapng, dir)
	if err != nil {
		return nil, err
	}
	outcome, err := scenarios.Run(cmd.Context(), s, scenarios.Options{
		Program: version, Capture: taken, Dir: dir, Ports: o.ports, Seed: o.seed, Plant: plant,
		Progress: func(n int, text string, ok *bool) { progress(s, n, text, ok) },
		Load:     loadProgress(cmd.ErrOrStderr(), s),
		Secret:   []byte(os.Getenv(secretVariable)), Patience: o.patience, Ready: whereToCall(cmd, s),
		Now: func(n int, text string) {
			clearProgress()
			if n == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s, paths. NOW: %s\n", s.Name, text)
				return
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s, step %d of %d. NOW: %s\n", s.Name, n, len(s.Steps), text)
		},
	})
	clearProgress()
	if outcome == nil {
		err = errors.Join(err, taken.Close())
	} else if kerr := o.keep(outcome, taken, name); kerr != nil {
		return nil, kerr
	}
	if cmd.Context().Err() != nil {
		return nil, &failure{exitInterrupted, fmt.Errorf("interrupted in %s", s.Name)}
	}
	if err != nil {
		return nil, startFailure(fmt.Errorf("%s: %w", s.Name, err))
	}
	kept, err := o.watched.open(outcome.Log.Start())
	if err != nil {
		return nil, err
	}
	if kept != nil {
		for e := range outcome.Log.Events() {
			kept.take(&e)
		}
	}
	return outcome, kept.close()
}

// keep saves the trace and the capture of a run, however it ended.
func (o *runOptions) keep(outcome *scenarios.Outcome, taken *capture.Capture, name string) error {
	var err error
	if o.save != "" {
		if serr := outcome.Log.Save(filepath.Join(o.save, name+traceSuffix)); serr != nil {
			err = input(serr)
		}
	}
	return errors.Join(err, saveCapture(taken, captureOf(o.pcapng, name), outcome.Log, outcome.Scenario.Secrets))
}

// tell prints one line for a run that went as it should, and the whole report
// for another.
func tell(out io.Writer, outcome *scenarios.Outcome, o runOptions, good bool, with, yes, no string) error {
	word := no
	if good {
		word = yes
	}
	if v := outcome.Scenario.Variant; v != "" {
		with = " (" + v + ")" + with
	}
	fmt.Fprintf(out, "%-10s %s%s\n", word, outcome.Scenario.Name, with)
	if good && !o.ladder {
		for _, v := range outcome.Verdicts {
			if outcome.Passed && v.Got != "" {
				fmt.Fprintf(out, "  note     %s: %s\n", v.Text, v.Got)
			}
		}
		return report.Load(out, scenarios.Essential(outcome.Log.Events()))
	}
	events := scenarios.Essential(outcome.Log.Events())
	if err := report.Verdicts(out, events); err != nil {
		return bench(err)
	}
	fmt.Fprintln(out)
	if err := report.Write(out, events); err != nil {
		return bench(err)
	}
	return nil
}

// progress shows the running step on a terminal's last line.
func progress(s *scenarios.Scenario, n int, text string, ok *bool) {
	if terminal() && ok == nil {
		fmt.Fprintf(os.Stderr, "\r\033[K%s %d/%d %.60s", s.Name, n, len(s.Steps), text)
	}
}

// loadProgress shows how a load goes: on the last line of a terminal; elsewhere
// a line for every ten seconds.
func loadProgress(out io.Writer, s *scenarios.Scenario) func(scenarios.LoadState) {
	var mu sync.Mutex // two loads may go at the same time
	n := 0
	return func(l scenarios.LoadState) {
		mu.Lock()
		defer mu.Unlock()
		n++
		line := fmt.Sprintf("%s %d/%d: %d of %d begun, %d under way, %d failed, %.1f a second", s.Name, l.Step, len(s.Steps), l.Begun, l.Planned, l.Running, l.Failed, l.Rate)
		if l.Held > 0 {
			line += fmt.Sprintf(", %d waited for room", l.Held)
		}
		if l.Late > 50*time.Millisecond {
			line += ", exsim is " + l.Late.Round(time.Millisecond).String() + " late"
		}
		switch {
		case terminal():
			fmt.Fprint(out, "\r\033[K"+line)
		case n%40 == 4: // a second after it began, and then every ten
			fmt.Fprintln(out, line)
		}
	}
}

func clearProgress() {
	if terminal() {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

// interactive reports whether a person can be asked.
func interactive() bool {
	info, err := os.Stdin.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && terminal()
}

func terminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
