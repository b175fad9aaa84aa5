package simtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim"
)

// RunOption changes how Run runs scenarios.
type RunOption func(*runSettings)

type runSettings struct {
	prove bool
	set   map[string]string
}

// Prove runs each scenario also with the faults that it says it catches: it
// must fail then, for the cause that it names.
func Prove() RunOption { return func(s *runSettings) { s.prove = true } }

// Set replaces a value of vars.
func Set(name, value string) RunOption {
	return func(s *runSettings) {
		if s.set == nil {
			s.set = map[string]string{}
		}
		s.set[name] = value
	}
}

// Run runs every scenario file that a pattern names, such as testdata/*.yaml:
// a subtest for each scenario, all in parallel. A file with a mistake, or a
// pattern that names no file, fails the test.
func Run(t *testing.T, pattern string, options ...RunOption) {
	t.Helper()
	var s runSettings
	for _, o := range options {
		o(&s)
	}
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("simtest: %s names no file (%v)", pattern, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("simtest: %v", err)
		}
		list, err := scenarios.Load(file, text, s.set)
		if err != nil {
			t.Errorf("simtest: %v", err)
			continue
		}
		for _, scenario := range list {
			t.Run(scenario.Name, func(t *testing.T) {
				t.Parallel()
				runOne(t, scenario, s.prove)
			})
		}
	}
}

func runOne(t *testing.T, s *scenarios.Scenario, prove bool) {
	out := execute(t, s, nil)
	for _, v := range out.Verdicts {
		if v.Result != scenarios.Passed {
			t.Errorf("%d %s: %s: %s\n    side:  %s\n    cause: %s\n    next:  %s", v.Step, v.Text, v.Result, v.Got, v.Side, v.Cause, v.Next)
		}
	}
	if t.Failed() {
		t.Log(ladder(out.Log))
		return
	}
	if !prove {
		return
	}
	for _, f := range s.Catches {
		if out := execute(t, s, &f); !out.Caught(&f) {
			t.Errorf("the fault %s is not caught: %+v", f.Do, out.Verdicts)
			t.Log(ladder(out.Log))
		}
	}
}

func execute(t *testing.T, s *scenarios.Scenario, plant *scenarios.PlantedFault) *scenarios.Outcome {
	t.Helper()
	out, err := scenarios.Run(t.Context(), s, scenarios.Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1, Plant: plant})
	if err != nil {
		t.Fatalf("simtest: %v", err)
	}
	return out
}
