package scenarios

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every scenario and each of its faults, again and again, without a false
// alarm. make soak says for how long.
func TestSoakScenarios(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("EXSIM_SOAK"))
	if err != nil {
		t.Skip("a soak: make soak")
	}
	length /= 3
	runs := 0
	for begin := time.Now(); time.Since(begin) < length; {
		for _, name := range Shipped() {
			s := shipped(t, name)
			out := runTest(t, s, nil)
			require.True(t, out.Passed, "%s: %+v", name, out.Verdicts)
			for _, f := range s.Catches {
				require.True(t, runTest(t, s, &f).Caught(&f), "%s: fault %s is not caught", name, f.Do)
				runs++
			}
			runs++
		}
	}
	t.Logf("%d runs without a false alarm", runs)
}
