package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
)

// suiteOf is the suite that the arguments name, "" if they name scenarios.
func suiteOf(args []string) (string, error) {
	i := slices.IndexFunc(args, func(a string) bool { return slices.Contains(scenarios.Suites(), a) })
	switch {
	case i < 0:
		return "", nil
	case len(args) > 1:
		return "", input(fmt.Errorf("%s is a suite and is run by itself, not with %s", args[i], strings.Join(slices.Delete(slices.Clone(args), i, i+1), ", ")))
	}
	return args[i], nil
}

// runSuite runs the cases of a suite, in their order, and writes its sheet: also
// of what was not run because somebody interrupted it.
func runSuite(cmd *cobra.Command, name string, o runOptions) error {
	suite, err := prepareSuite(name, o)
	if err != nil {
		return err
	}
	if err := reachable(o.toRun(suite)); err != nil {
		return err
	}
	out, done, err := o.begin(cmd)
	if err != nil {
		return err
	}
	r := suiteRun{cmd: cmd, out: out, o: o, ask: newAsking(cmd, o.ask)}
	sheet := &report.Sheet{Title: suite.Title, Program: version, Device: playedBy(o), Begun: time.Now()}
	for _, c := range suite.Cases {
		sheet.Profile = c.Scenario.Organisation.Version
		sheet.Lines = append(sheet.Lines, r.line(c))
	}
	sheet.Ended = time.Now()
	fmt.Fprintln(out)
	if err := errors.Join(r.stopped, sheet.Text(out), writeSheet(o.sheet, sheet), writeAll(cmd, o, r.results)); err != nil {
		return err
	}
	if failed := sheet.Count(report.SheetFailed); failed > 0 || !r.enough {
		return done(failed)
	}
	return &failure{exitInterrupted, errors.New("stopped before the end of the list, and without a failure so far")}
}

// suiteRun is a suite that runs.
type suiteRun struct {
	cmd     *cobra.Command
	out     io.Writer
	o       runOptions
	ask     *asking // nil to ask nobody
	results []result
	stopped error // why no further case is run
	enough  bool  // somebody said so
}

// line runs a case, unless it is left out, and says what came of it.
func (r *suiteRun) line(c *scenarios.Case) report.SheetLine {
	line := report.SheetLine{Number: c.Number, Section: c.Section, Title: c.Title, Result: report.SheetNotRun}
	switch {
	case !r.o.chosen(c):
		line.Why = "not among those of --only"
		return line
	case c.NotApplicable != "":
		return notApplicable(line, c.NotApplicable)
	}
	if !r.open() {
		return line
	}
	if why := r.before(c); why != "" {
		return notApplicable(line, why)
	}
	for attempt := 1; r.open(); attempt++ {
		tried := r.attempt(c, line)
		if attempt > 1 {
			tried.Why = strings.TrimSpace(fmt.Sprintf("(attempt %d) %s", attempt, tried.Why))
		}
		again, why := r.behind(tried)
		if why != "" {
			return notApplicable(line, why)
		}
		if !again {
			return tried
		}
	}
	return line
}

// open reports whether further cases are run.
func (r *suiteRun) open() bool { return r.stopped == nil && !r.enough }

func notApplicable(line report.SheetLine, why string) report.SheetLine {
	line.Result, line.Why = report.SheetNotApplicable, why
	return line
}

// attempt runs a case once. What keeps it from running ends the list, unless
// there is somebody to put it right.
func (r *suiteRun) attempt(c *scenarios.Case, line report.SheetLine) report.SheetLine {
	more, _, err := runOne(r.cmd, r.out, c.Scenario, r.o)
	r.results = append(r.results, more...)
	switch {
	case err == nil:
		judged(&line, more)
	case r.ask == nil || r.cmd.Context().Err() != nil:
		r.stopped = err
	default:
		line.Why = err.Error()
		fmt.Fprintln(r.ask.out, "exsim: "+err.Error())
	}
	return line
}

// before waits until somebody has set up the device for a case, and returns the
// reason if it is not applicable.
func (r *suiteRun) before(c *scenarios.Case) (notApplicable string) {
	if r.ask == nil {
		return ""
	}
	fmt.Fprintf(r.ask.out, "\n%s %s: %s\n  %s\n", c.Number, c.Section, c.Title, c.Scenario.Summary)
	for _, condition := range c.Scenario.Conditions() {
		fmt.Fprintln(r.ask.out, "  it wants:", condition)
	}
	_, why := r.put("Enter to begin, n REASON if it is not applicable, q to stop here: ", "")
	return why
}

// behind reports whether a case that was not passed is to be run once more, or
// is not applicable.
func (r *suiteRun) behind(line report.SheetLine) (again bool, notApplicable string) {
	if r.ask == nil || r.stopped != nil || line.Result == report.SheetPassed {
		return false, ""
	}
	said, why := r.put(line.Number+" was not passed. Enter to go on, n REASON if it is not applicable, q to stop here, r to run it once more: ", "r")
	return said == "r", why
}

// put asks until the answer is one: Enter, n with a reason, q, or the one more.
func (r *suiteRun) put(question, more string) (said, notApplicable string) {
	for {
		said, err := r.ask.line(r.cmd.Context(), question)
		word, rest, _ := strings.Cut(said, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case err != nil:
			r.stopped = err
			return "", ""
		case said == "", said == more:
			return said, ""
		case said == "q":
			r.enough = true
			return "", ""
		case word == "n" && rest != "":
			return "", rest
		}
		fmt.Fprintf(r.ask.out, "%q is no answer. ", said)
	}
}

func playedBy(o runOptions) string {
	if strings.Contains(o.device, string(scenarios.External)) {
		return "the device under test"
	}
	return "exsim's own simulated gateway"
}

// judged puts what came of a case on its line; with --prove a fault that is not
// caught is a failure, too.
func judged(line *report.SheetLine, results []result) {
	line.Result = report.SheetPassed
	for _, r := range results {
		if r.Good {
			continue
		}
		line.Result = report.SheetFailed
		if r.Planted != "" {
			line.Why = "with the fault " + r.Planted + ": " + r.Why
			return
		}
		for _, v := range r.Verdicts {
			if v.Result == scenarios.Failed {
				line.Why, line.Side, line.Next, line.Ref = v.Text+" ("+v.Got+"): "+v.Cause, v.Side, v.Next, v.Ref
				return
			}
		}
	}
}

func writeSheet(file string, sheet *report.Sheet) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return input(err)
	}
	if err := errors.Join(sheet.HTML(f), f.Close()); err != nil {
		return input(err)
	}
	return nil
}
