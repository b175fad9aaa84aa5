package eventlog_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/eventlog"
	"github.com/exsim/exsim/sim/trace"
)

// Entries name events and fields that there are.
func TestEntriesFitEvents(t *testing.T) {
	known := scenarios.Events()
	for _, k := range eventlog.Kinds() {
		i := slices.IndexFunc(known, func(e trace.EventType) bool { return e.Name == k.Event })
		require.GreaterOrEqual(t, i, 0, "%d: no event %s", k.ID, k.Event)
		fields := map[string]bool{}
		for _, f := range known[i].Fields {
			fields[f.Key] = true
		}
		for key := range k.Where {
			require.True(t, fields[key], "%d: %s has no field %s", k.ID, k.Event, key)
		}
		for _, name := range regexp.MustCompile(`\{([a-z_]+)\}`).FindAllStringSubmatch(k.Text, -1) {
			require.True(t, fields[name[1]], "%d: %s has no field %s", k.ID, k.Event, name[1])
		}
		require.Contains(t, []string{"Information", "Warning", "Error"}, k.Level)
		require.Contains(t, []string{"documented", "observed"}, k.Standing)
	}
}

type failed struct{ why string }

func (failed) EventName() string          { return "um.submit_failed" }
func (f failed) AppendTo(l *trace.Fields) { l.Text("why", f.why) }

// What distinguishes two entries of one event is looked at.
func TestOf(t *testing.T) {
	log := trace.New(trace.Config{})
	log.Source("MBX1", "um-worker").Record(trace.Session{}, trace.Session{}, failed{"dial tcp: connection refused"}, nil)
	log.Source("MBX1", "um-worker").Record(trace.Session{}, trace.Session{}, failed{"501 5.1.7 Invalid address"}, nil)
	require.NoError(t, log.Close())
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var ids []int
	for e := range log.Events() {
		for _, entry := range eventlog.Of(&e, start) {
			ids = append(ids, entry.ID)
			require.Regexp(t, `^2026-11-22 12:00:00  Error        MSExchange Unified Messaging  1\d+  MBX1: A|N`, entry.String())
		}
	}
	require.Equal(t, []int{1082, 1185}, ids)
}
