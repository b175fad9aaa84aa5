package scenarios

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
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
		if c.Side != "bench" { // nobody plants a fault in exsim itself
			require.True(t, reached[c.ID], "no shipped scenario reaches the cause %s", c.ID)
		}
	}
}

// Each fault is seen to strike: a shipped scenario plants it.
func TestFaultsAreSeen(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Shipped() {
		s := shipped(t, name)
		for _, f := range append(s.Faults, s.Catches...) {
			seen[f.Do] = true
		}
		for i := range s.Steps {
			if f, ok := s.Steps[i].action.(*plantFault); ok {
				seen[f.Do] = true
			}
		}
	}
	for _, k := range faultKinds {
		require.True(t, seen[k.name], "no shipped scenario plants %s", k.name)
	}
}

// A message that was sent again explains nothing.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	list, err := Load("again.yaml", []byte(`version: 1
name: again
actors: {relay: {role: mail-host, address: 127.0.0.60}}
faults: [{actor: CAS1, do: reply, of: RCPT, nth: 1, reply: 452 4.3.1 later}]
steps:
  - send: {from: relay, to: "4021", subject: one}
  - mail: {to: "4021", header: {Subject: two}, within: 1s}
`), nil)
	require.NoError(t, err)
	require.Equal(t, "unknown", runTest(t, list[0], nil).Verdicts[1].Side)
}

// What exsim lost itself is put down to exsim, and not to the network.
func TestBenchAccusesItself(t *testing.T) {
	s := shipped(t, "media-quality")
	log := trace.New(trace.Config{})
	src := log.Source("", "scenario")
	worker := log.Source("MBX1", "um-worker")
	call := trace.Session{Kind: "call", N: 1}
	src.Record(noSession, noSession, callEvent{"c1", call}, nil)
	worker.Record(call, noSession, lostEvent{}, nil)
	src.Record(noSession, noSession, exactEvent{"organisation", 100, 0, 0, 0, 0, 7}, nil)
	require.NoError(t, log.Close())
	verdicts := Judge(s, log.Events())
	goal := verdicts[len(s.Steps)]
	require.Equal(t, "lost is \"9\"", goal.Got)
	require.Equal(t, "bench", goal.Side)
	require.Contains(t, goal.Cause, "exsim itself lost 7 datagrams of organisation")
}

type lostEvent struct{}

func (lostEvent) EventName() string { return "rtp.ended" }
func (lostEvent) AppendTo(f *trace.Fields) {
	f.Text("direction", "received")
	f.Int("lost", 9)
}

// What is outside the table is called unknown.
func TestUnknownCause(t *testing.T) {
	s := shipped(t, "call-answering")
	log := trace.New(trace.Config{})
	src := log.Source("", "scenario")
	src.Record(trace.Session{}, trace.Session{}, stepEvent{5, "talk", "c1"}, nil)
	src.Record(trace.Session{}, trace.Session{}, acted{5, false, "nobody knows"}, nil)
	require.NoError(t, log.Close())
	var events []trace.Event
	for e := range log.Events() {
		events = append(events, e)
	}
	v := Judge(s, slices.Values(events))[4]
	require.Equal(t, Failed, v.Result)
	require.Equal(t, "unknown", v.Side)
	require.Equal(t, unknownCause, v.Cause)
	require.Empty(t, v.CauseID)
}

// OPTIONS that are not answered explain no call that does not come.
func TestNoCall(t *testing.T) {
	s := shipped(t, "options-answered")
	require.NoError(t, s.SetDevice("gw", External))
	out, err := Run(t.Context(), s, Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1, Patience: 200 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, "no-call", out.Verdicts[0].CauseID, "%+v", out.Verdicts[0])
	require.Equal(t, "options-unanswered", out.Verdicts[len(out.Verdicts)-1].CauseID)
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

// A goal holds for every event that it names, and for at least one.
func TestGoals(t *testing.T) {
	t.Parallel()
	for goal, want := range map[string]Result{
		`{event: rtp.ended, at: um-worker, where: {lost: {max: 0}}}`:                      Passed,
		`{event: rtp.ended, at: um-worker, where: {direction: received, lost: {max: 0}}}`: Failed, // another one was sent
		`{event: rtp.ended, at: um-worker, call: c1, where: {packets: {min: 1000}}}`:      Failed,
		`{event: um.gateway_resolved, where: {gateway: gw1}}`:                             Failed, // there was none
	} {
		list, err := Load("goal.yaml", []byte(`version: 1
name: goal
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
  - hangup: {call: c1, after: um.tone}
goals: [`+goal+`]
`), nil)
		require.NoError(t, err)
		out := runTest(t, list[0], nil)
		require.Equal(t, want, out.Verdicts[2].Result, "%s: %+v", goal, out.Verdicts[2])
	}
}
