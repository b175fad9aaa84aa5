package main

import (
	"errors"
	"fmt"
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
	sheet := &report.Sheet{Title: suite.Title, Program: version, Device: playedBy(o), Begun: time.Now()}
	var results []result
	var stopped error
	for _, c := range suite.Cases {
		sheet.Profile = c.Scenario.Organisation.Version
		line := report.SheetLine{Number: c.Number, Section: c.Section, Title: c.Title, Result: report.SheetNotRun}
		switch {
		case c.NotApplicable != "":
			line.Result, line.Why = report.SheetNotApplicable, c.NotApplicable
		case stopped == nil:
			var more []result
			if more, _, stopped = runOne(cmd, out, c.Scenario, o); stopped == nil {
				judged(&line, more)
			}
			results = append(results, more...)
		}
		sheet.Lines = append(sheet.Lines, line)
	}
	sheet.Ended = time.Now()
	fmt.Fprintln(out)
	if err := errors.Join(stopped, sheet.Text(out), writeSheet(o.sheet, sheet), writeAll(cmd, o, results)); err != nil {
		return err
	}
	return done(sheet.Count(report.SheetFailed))
}

// prepareSuite loads a suite; what the device cannot play, or its owner has no
// use for, is not applicable.
func prepareSuite(name string, o runOptions) (*scenarios.Suite, error) {
	if len(o.set) > 0 {
		return nil, input(errors.New("--set: a suite sets the values of its scenarios itself"))
	}
	suite, err := scenarios.LoadSuite(name, nil)
	if err != nil {
		return nil, bench(err)
	}
	if o.device == string(scenarios.External) {
		o.device = deviceUnderTest + "=" + o.device // partners stay exsim's
	}
	unknown := o.notApplicable
	for _, c := range suite.Cases {
		if why, ok := o.notApplicable[c.Number]; ok {
			c.NotApplicable = why
			unknown = without(unknown, c.Number)
			continue
		}
		if err := setDevices([]*scenarios.Scenario{c.Scenario}, o); err != nil {
			c.NotApplicable = "exsim plays the device in this case: " + err.Error()
		}
		if err := setAddresses([]*scenarios.Scenario{c.Scenario}, o.addresses); err != nil {
			return nil, err
		}
	}
	for number := range unknown {
		return nil, input(fmt.Errorf("--not-applicable %s: the suite has no case of that number", number))
	}
	return suite, errors.Join(o.watched.check(), writable(o.json, o.junit, o.sheet))
}

// deviceUnderTest is the actor of a suite's scenarios that the device stands for.
const deviceUnderTest = "gw"

func without(m map[string]string, key string) map[string]string {
	rest := map[string]string{}
	for k, v := range m {
		if k != key {
			rest[k] = v
		}
	}
	return rest
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
