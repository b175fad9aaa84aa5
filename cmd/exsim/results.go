package main

import (
	"encoding/json"
	"errors"
	"os"
	"slices"

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

	log *trace.Log // nil unless JUnit XML is wanted
}

func newResult(outcome *scenarios.Outcome, planted string, good bool, o runOptions) result {
	s := outcome.Scenario
	r := result{Name: s.Name, File: s.File, Variant: s.Variant, Planted: planted, Good: good, Verdicts: outcome.Verdicts}
	if o.junit != "" {
		r.log = outcome.Log
	}
	return r
}

// writeAll writes the results to the files that were asked for.
func writeAll(cmd *cobra.Command, o runOptions, results []result) error {
	return errors.Join(writeResults(cmd, o.json, results), writeJUnit(o.junit, results))
}

// writable reports a file that results could not be written to, before anything
// runs.
func writable(files ...string) error {
	for _, name := range files {
		if name == "" || name == "-" {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // results are no secret
		if err != nil {
			return input(err)
		}
		if err := f.Close(); err != nil {
			return input(err)
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

func writeJUnit(file string, results []result) error {
	if file == "" {
		return nil
	}
	var runs []report.Run
	for _, r := range results {
		run := report.Run{Name: r.Name, Variant: r.Variant, Planted: r.Planted, Good: r.Good, Why: r.Why, Broken: r.Broken}
		if r.log != nil {
			run.Events = slices.Collect(r.log.Events())
		}
		runs = append(runs, run)
	}
	f, err := os.Create(file)
	if err != nil {
		return input(err)
	}
	if err := errors.Join(report.JUnit(f, runs), f.Close()); err != nil {
		return input(err)
	}
	return nil
}
