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
	return done(sheet.Count(report.SheetFailed))
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
	if c.NotApplicable != "" {
		line.Result, line.Why = report.SheetNotApplicable, c.NotApplicable
		return line
	}
	for again := true; again && r.stopped == nil && !r.enough && r.o.chosen(c); {
		if why := r.before(c); why != "" {
			line.Result, line.Why = report.SheetNotApplicable, why
			return line
		}
		if r.stopped != nil || r.enough {
			break
		}
		var more []result
		if more, _, r.stopped = runOne(r.cmd, r.out, c.Scenario, r.o); r.stopped == nil {
			judged(&line, more)
		}
		if again = r.behind(&line); !again {
			r.results = append(r.results, more...)
		}
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
	for {
		said, err := r.ask.line(r.cmd.Context(), "Enter to begin, n REASON if it is not applicable, q to stop here: ")
		word, rest, _ := strings.Cut(said, " ")
		switch {
		case err != nil:
			r.stopped = err
			return ""
		case word == "":
			return ""
		case word == "q":
			r.enough = true
			return ""
		case word == "n" && strings.TrimSpace(rest) != "":
			return strings.TrimSpace(rest)
		}
	}
}

// behind reports whether a case that failed is to be run once more.
func (r *suiteRun) behind(line *report.SheetLine) (again bool) {
	if r.ask == nil || r.stopped != nil || line.Result != report.SheetFailed {
		return false
	}
	said, err := r.ask.line(r.cmd.Context(), line.Number+" failed. Enter to go on, r to run it once more: ")
	r.stopped = err
	return said == "r"
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
