package scenarios

import (
	"bytes"
	"context"
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/trace"
)

// Scenarios mostly wait: more of them than there are processors run at once.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "24")
	goleak.VerifyTestMain(m)
}

func shipped(t *testing.T, name string) *Scenario {
	t.Helper()
	text, ok := ShippedText(name)
	require.True(t, ok)
	list, err := Load(name+".yaml", text, nil)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

func runTest(t *testing.T, s *Scenario, plant *PlantedFault) *Outcome {
	t.Helper()
	return runIn(t, t.TempDir(), s, plant)
}

func runIn(t *testing.T, dir string, s *Scenario, plant *PlantedFault) *Outcome {
	t.Helper()
	out, err := Run(context.Background(), s, Options{Dir: dir, Ports: sim.Ports{Free: true}, Seed: 1, Plant: plant})
	require.NoError(t, err)
	var file bytes.Buffer
	require.NoError(t, trace.WriteJSON(&file, out.Log.Events()))
	events, err := trace.ReadJSON(&file)
	require.NoError(t, err)
	require.Equal(t, out.Verdicts, Judge(s, slices.Values(events)), "a saved trace is judged as the run was")
	return out
}

// prove runs a scenario, which must pass, and once more with each fault that it
// says it catches, which must be named: each a subtest beside the others.
func prove(t *testing.T, s *Scenario) {
	t.Helper()
	require.NotEmpty(t, s.Catches)
	t.Run(s.Name, func(t *testing.T) {
		t.Parallel()
		for _, v := range runTest(t, s, nil).Verdicts {
			require.Equal(t, Passed, v.Result, "%d %s: %s", v.Step, v.Text, v.Got)
		}
	})
	for _, f := range s.Catches {
		t.Run(s.Name+"+"+f.Name(), func(t *testing.T) {
			t.Parallel()
			out := runTest(t, s, &f)
			require.True(t, out.Caught(&f), "not caught: %+v", out.Verdicts)
		})
	}
}

// Each shipped scenario passes, and is seen to fail with each fault that it
// says it catches, for the cause that it names.
func TestShipped(t *testing.T) {
	t.Parallel()
	for _, name := range Shipped() {
		s := shipped(t, name)
		require.Equal(t, name, s.Name)
		require.NotEmpty(t, s.Ref)
		for _, f := range s.Catches {
			require.NotEmpty(t, f.Cause, "%s: fault %s", name, f.Do)
		}
		prove(t, s)
	}
}

// Each file to start from passes, and is seen to fail with the faults that it
// names.
func TestStarters(t *testing.T) {
	t.Parallel()
	for _, name := range Starters() {
		text, ok := StarterText(name)
		require.True(t, ok)
		list, err := Load(name+".yaml", text, nil)
		require.NoError(t, err)
		prove(t, list[0])
	}
}
