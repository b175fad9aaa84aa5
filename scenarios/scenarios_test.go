package scenarios

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	out, err := Run(context.Background(), s, Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1, Plant: plant})
	require.NoError(t, err)
	return out
}

// Each shipped scenario passes, and is seen to fail with each fault that it
// says it catches.
func TestShipped(t *testing.T) {
	for _, name := range Shipped() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shipped(t, name)
			require.Equal(t, name, s.Name)
			require.NotEmpty(t, s.Catches)
			require.NotEmpty(t, s.Ref)
			out := runTest(t, s, nil)
			for _, v := range out.Verdicts {
				require.Equal(t, Passed, v.Result, "%d %s: %s", v.Step, v.Text, v.Got)
			}
			for _, f := range s.Catches {
				caught := runTest(t, s, &f)
				require.True(t, caught.Caught(&f), "fault %s is not caught: %+v", f.Do, caught.Verdicts)
				require.NotEmpty(t, f.Cause, "fault %s", f.Do)
			}
		})
	}
}

// A saved trace is judged as the run was.
func TestJudgeSavedTrace(t *testing.T) {
	s := shipped(t, "call-answering")
	for _, plant := range []*PlantedFault{nil, &s.Catches[0]} {
		out := runTest(t, s, plant)
		var file bytes.Buffer
		require.NoError(t, trace.WriteJSON(&file, out.Log.Events()))
		events, err := trace.ReadJSON(&file)
		require.NoError(t, err)
		require.Equal(t, out.Verdicts, Judge(s, events))
		require.Equal(t, slices.Collect(out.Log.Events()), events)
	}
}

// Each file to start from passes, and is seen to fail with the faults that it
// names.
func TestStarters(t *testing.T) {
	for _, name := range Starters() {
		text, ok := StarterText(name)
		require.True(t, ok)
		list, err := Load(name+".yaml", text, nil)
		require.NoError(t, err)
		s := list[0]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := runTest(t, s, nil)
			require.True(t, out.Passed, "%+v", out.Verdicts)
			require.NotEmpty(t, s.Catches)
			for _, f := range s.Catches {
				out := runTest(t, s, &f)
				require.True(t, out.Caught(&f), "fault %s: %+v", f.Do, out.Verdicts)
			}
		})
	}
}
