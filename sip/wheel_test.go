package sip

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A timer longer than the wheel goes round, and others do not fire it.
func TestWheelGoesRound(t *testing.T) {
	var wg sync.WaitGroup
	w := &wheel{wg: &wg}
	defer w.close()
	fired := map[string]int{}
	turn := 0
	var mu sync.Mutex
	set := func(name string, after time.Duration) *entry {
		e := &entry{}
		w.start(e, after, func() {
			mu.Lock()
			defer mu.Unlock()
			fired[name] = turn
		})
		return e
	}
	set("short", 8800*time.Millisecond)
	set("long", 60*time.Second)
	set("twice round", 120*time.Second)
	stopped := set("stopped", 60*time.Second)
	w.stop(stopped)
	for turn = 1; turn <= 1300; turn++ {
		w.turn()
		wg.Wait()
	}
	require.Equal(t, map[string]int{"short": 89, "long": 601, "twice round": 1201}, fired)
	require.Zero(t, w.set)
}
