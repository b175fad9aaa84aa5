package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim/trace"
)

// result is one run as it stands in --json. Good is passed, or, with a planted
// fault, caught.
type result struct {
	Name     string              `json:"name"`
	File     string              `json:"file"`
	Variant  string              `json:"variant,omitempty"` // values of its matrix
	Planted  string              `json:"planted,omitempty"`
	Good     bool                `json:"good"`
	Why      string              `json:"why,omitempty"` // a fault is not caught
	Verdicts []scenarios.Verdict `json:"verdicts"`

	// Broken is how exsim itself failed.
	Broken string `json:"broken,omitempty"`

	log *trace.Log // nil unless a report is wanted
}

func newResult(outcome *scenarios.Outcome, planted string, good bool, o runOptions) result {
	s := outcome.Scenario
	r := result{Name: s.Name, File: s.File, Variant: s.Variant, Planted: planted, Good: good, Verdicts: outcome.Verdicts}
	if o.junit != "" || o.html != "" {
		r.log = outcome.Log
	}
	return r
}

// writeAll writes the results to the files that were asked for.
func writeAll(cmd *cobra.Command, o runOptions, results []result) error {
	runs := runsOf(results, o.junit != "" || o.html != "")
	return errors.Join(
		writeResults(cmd, o.json, results),
		writeRuns(o.junit, runs, report.JUnit),
		writeRuns(o.html, runs, pageTitled("exsim run")),
	)
}

// writable reports a file that results could not be written to, before anything
// runs.
func writable(files ...string) error {
	for _, name := range files {
		if name == "" || name == "-" {
			continue
		}
		_, gone := os.Stat(name)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // results are no secret
		if err != nil {
			return input(err)
		}
		if err := f.Close(); err != nil {
			return input(err)
		}
		if gone != nil {
			_ = os.Remove(name) // it was made to see that it can be
		}
	}
	return nil
}

func writeResults(cmd *cobra.Command, file string, results []result) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(map[string]any{"scenarios": results}, "", "  ")
	if err != nil {
		return bench(err)
	}
	b = append(b, '\n')
	if file == "-" {
		_, err = cmd.OutOrStdout().Write(b)
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return input(err)
	}
	return nil
}

// runsOf is what reports tell of results; nil if none is wanted.
func runsOf(results []result, wanted bool) []report.Run {
	var runs []report.Run
	for i := range results {
		if wanted {
			runs = append(runs, results[i].run())
		}
	}
	return runs
}

// writeRuns writes runs to a file, if it was asked for.
func writeRuns(file string, runs []report.Run, write func(w io.Writer, runs []report.Run) error) error {
	return writeFile(file, func(w io.Writer) error { return write(w, runs) })
}

// writeFile writes a file, if it was asked for.
func writeFile(file string, write func(w io.Writer) error) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return input(err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return input(err)
	}
	return nil
}

// pageTitled writes runs as one page.
func pageTitled(title string) func(w io.Writer, runs []report.Run) error {
	return func(w io.Writer, runs []report.Run) error { return report.HTML(w, title, runs) }
}

// run is what a report tells of a result.
func (r *result) run() report.Run {
	var events []trace.Event
	if r.log != nil {
		events = scenarios.Essential(r.log.Events())
	}
	run := report.RunOf(events)
	run.Name, run.Variant, run.Planted, run.Good, run.Why, run.Broken = r.Name, r.Variant, r.Planted, r.Good, r.Why, r.Broken
	return run
}
