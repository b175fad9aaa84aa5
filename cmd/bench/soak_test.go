package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
)

// Calls without end, as fast as they go, leave nothing behind. How fast that is
// changes from moment to moment, and with it what is remembered of the last
// calls: memory is looked at once they are forgotten. make soak says for how long.
func TestSoakCalls(t *testing.T) {
	soak(t, 3, load{calls: 2000, window: 20}, func() { require.NoError(t, forgotten(t.Context())) })
}

// The same at 200 calls a second, where memory is flat while they come.
func TestSoakSteady(t *testing.T) {
	soak(t, 1, load{calls: 2000, window: 20, every: 5 * time.Millisecond}, func() {})
}

func soak(t *testing.T, part time.Duration, l load, beforeLook func()) {
	length, err := time.ParseDuration(os.Getenv("EXSIM_SOAK"))
	if err != nil {
		t.Skip("a soak: make soak")
	}
	length /= part
	o, err := org.Load("bench", []byte(organisation))
	require.NoError(t, err)
	x, err := sim.Start(sim.Config{Org: o, Dir: filepath.Join(t.TempDir(), "soak"), Ports: sim.Ports{Free: true}})
	require.NoError(t, err)
	defer func() { require.NoError(t, x.Close()) }()
	l.from, l.conns, l.body, l.pilot = driverAddr, 4, offer, true
	for i, row := range []string{"call-router", "um-service", "um-worker"} {
		l.targets[i] = x.Listener("EX1", row).Addr()
	}
	// What is remembered for 32 to 48 s must be full before the first look.
	begin, calls := time.Now(), 0
	var first, last int64
	for time.Since(begin) < length {
		_, err := l.drive(t.Context())
		require.NoError(t, err)
		calls += l.calls
		if first == 0 && time.Since(begin) > min(length/2, time.Minute) {
			beforeLook()
			first = live()
		}
	}
	beforeLook()
	last = live()
	t.Logf("%d calls with a port pair each in %s; live memory %.1f MB after the first part, %.1f MB at the end", calls, time.Since(begin).Round(time.Second), float64(first)/1e6, float64(last)/1e6)
	require.Less(t, float64(last), 1.05*float64(first)+2e6, "memory grows")
}
