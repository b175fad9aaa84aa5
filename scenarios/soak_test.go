package scenarios

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soakAtOnce is how many scenarios run beside one another in a soak: the load.
const soakAtOnce = 16

// The whole suite as often as EXSIM_RUNS says, many at once: no false alarm. The
// faults are proven by the first of the runs.
func TestSoakScenarios(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("EXSIM_RUNS"))
	if err != nil {
		t.Skip("a soak: make soak")
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, soakAtOnce)
	do := func(f func()) {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			f()
		})
	}
	runs := 0
	for round := range rounds {
		for _, name := range Shipped() {
			s := shipped(t, name)
			runs++
			do(func() {
				out := soakRun(t, s, nil)
				assert.True(t, out.Passed, "round %d: %s: %s", round, name, failure(out))
			})
			if round > 0 {
				continue
			}
			for _, f := range s.Catches {
				runs++
				do(func() {
					out := soakRun(t, s, &f)
					assert.True(t, out.Caught(&f), "%s: fault %s is not caught: %+v", name, f.Name(), out.Verdicts)
				})
			}
		}
		if t.Failed() {
			break
		}
	}
	wg.Wait()
	t.Logf("%d runs, %d of them of the whole suite of %d scenarios", runs, rounds, len(Shipped()))
}

// failure tells what failed, and how exact exsim was.
func failure(out *Outcome) string {
	text := ""
	for _, v := range out.Verdicts {
		if v.Result == Failed {
			text += fmt.Sprintf("%s: %s; %s: %s\n", v.Text, v.Got, v.Side, v.Cause)
		}
	}
	for e := range out.Log.Events() {
		if e.Name == "bench.exactness" || e.Name == "rtp.ended" {
			text += fmt.Sprintln(e.Host, e.Name, e.Fields)
		}
	}
	return text
}

// soakRun runs a scenario in a folder that goes at once.
func soakRun(t *testing.T, s *Scenario, plant *PlantedFault) *Outcome {
	dir, err := os.MkdirTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	return runIn(t, dir, s, plant)
}
