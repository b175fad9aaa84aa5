package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// Each cause of the table is reached by a fault of a shipped scenario
// (TestShipped proves that it is the one that is told).
func TestCausesAreReached(t *testing.T) {
	reached := map[string]bool{}
	for _, name := range Shipped() {
		for _, f := range shipped(t, name).Catches {
			reached[f.Cause] = true
		}
	}
	for _, c := range Causes() {
		require.True(t, reached[c.ID], "no shipped scenario reaches the cause %s", c.ID)
	}
}

// What is outside the table is called unknown.
func TestUnknownCause(t *testing.T) {
	s := shipped(t, "call-answering")
	log := trace.New(trace.Config{})
	src := log.Source("", "scenario")
	src.Record(trace.Session{}, trace.Session{}, stepEvent{1, "call", "c1"}, nil)
	src.Record(trace.Session{}, trace.Session{}, acted{1, false, "nobody knows"}, nil)
	require.NoError(t, log.Close())
	var events []trace.Event
	for e := range log.Events() {
		events = append(events, e)
	}
	v := Judge(s, events)[0]
	require.Equal(t, Failed, v.Result)
	require.Equal(t, "unknown", v.Side)
	require.Equal(t, unknownCause, v.Cause)
	require.Empty(t, v.CauseID)
}

func TestCauseMistakes(t *testing.T) {
	_, err := loadCauses("causes.yaml", []byte(`
- {id: a, has: [{event: no.such}], side: moon, cause: x, next: y, ref: z}
- {id: a, has: [{event: um.refused, where: {chek: x}}], side: device, cause: x, next: y, ref: z}
`))
	for _, want := range []string{`no event is named "no.such"`, `side: "moon" is not known`, `"a" stands twice`, `um.refused has no field "chek"`} {
		require.ErrorContains(t, err, want)
	}
}
