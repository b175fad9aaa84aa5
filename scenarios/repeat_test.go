package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/capture"
	"github.com/exsim/exsim/sim/trace"
)

// The rate rises evenly through the ramp and stays: as many begin in each
// stretch as there should.
func TestRepeatDue(t *testing.T) {
	for _, p := range []repeat{{Rate: 10, For: 10 * time.Second}, {Rate: 10, Ramp: 4 * time.Second, For: 10 * time.Second}, {Rate: 3, Ramp: 20 * time.Second, For: 10 * time.Second}} {
		n := p.planned()
		last := time.Duration(-1)
		for k := range n {
			at := p.due(k)
			require.Greater(t, at, last, "%+v %d", p, k)
			require.Less(t, at, p.For, "%+v %d", p, k)
			last = at
		}
		require.GreaterOrEqual(t, p.due(n), p.For-time.Millisecond, "%+v: one more would have begun", p)
	}
	p := repeat{Rate: 10, Ramp: 4 * time.Second, For: 10 * time.Second}
	require.Equal(t, 80, p.planned(), "20 in the ramp, 60 behind it")
	require.Equal(t, 2*time.Second, p.due(5), "half the time, a quarter of the calls")
}

func loadFrom(t *testing.T, steps string) *Scenario {
	t.Helper()
	list, err := Load("x.yaml", []byte("version: 1\nname: x\norganisation: {limits: {max-calls-allowed: 2}}\nactors:\n  gw: {role: ip-gateway, address: 127.0.0.30}\nsteps:\n"+steps), nil)
	require.NoError(t, err)
	return list[0]
}

// What a file says wrong of a load is told with its place.
func TestRepeatChecks(t *testing.T) {
	const call = "        - call: {id: c1, from: gw, dial: \"4000\"}\n"
	for _, c := range []struct{ settings, steps, want string }{
		{"rate: 0, count: 1", call, "rate 0: more than 0"},
		{"rate: 1", call, "either for: TIME or count"},
		{"rate: 1, count: 1, for: 1s", call, "either for: TIME or count"},
		{"rate: 10000, for: 10h", call, "would begin"},
		{"rate: 1, count: 1, concurrency: 0", call, "concurrency 0"},
		{"rate: 1, count: 1, allowed-failures: 101", call, "allowed-failures 101"},
		{"rate: 1, count: 1", call + "        - recycle: {server: MBX1}\n", "cannot be done by many at once"},
		{"rate: 1, count: 1", call + "        - mail: {to: \"4021\"}\n", "has to name its call"},
		{"rate: 1, count: 1", call + call, "stands twice"},
		{"rate: 1, count: 1", call + "        - repeat: {rate: 1, count: 1, steps: []}\n", "cannot be done by many at once"},
	} {
		text := "version: 1\nname: x\nactors:\n  gw: {role: ip-gateway, address: 127.0.0.30}\nsteps:\n  - repeat:\n      <<settings>>\n      steps:\n" + c.steps
		text = strings.Replace(text, "<<settings>>", strings.ReplaceAll(c.settings, ", ", "\n      "), 1)
		_, err := Load("x.yaml", []byte(text), nil)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "x.yaml:")
	}
}

// A percentile without a unit would be seconds, and a goal that is always met.
func TestPercentileWantsUnit(t *testing.T) {
	const text = "version: 1\nname: x\nactors:\n  gw: {role: ip-gateway, address: 127.0.0.30}\nsteps:\n  - repeat: {rate: 1, count: 1, steps: [{call: {id: c1, from: gw, dial: \"4000\"}}]}\ngoals:\n  - {event: load.step, where: {p99: {max: %s}}}\n"
	_, err := Load("x.yaml", fmt.Appendf(nil, text, "200"), nil)
	require.ErrorContains(t, err, "without a unit")
	_, err = Load("x.yaml", fmt.Appendf(nil, text, "200ms"), nil)
	require.NoError(t, err)
	_, err = Load("x.yaml", []byte(strings.Replace(fmt.Sprintf(text, "200ms"), "load.step,", "load.step, only: {verb: cal},", 1)), nil)
	require.ErrorContains(t, err, `did you mean "call"?`)
}

// More calls than the server takes: those beyond are named with their cause,
// the others are none of their business; what is told of a saved trace is told
// again.
func TestLoadBeyondTheLimit(t *testing.T) {
	t.Parallel()
	s := loadFrom(t, `  - repeat:
      rate: 50
      count: 6
      steps:
        - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
        - expect: {event: um.greeting, call: c1}
        - talk: {call: c1, for: 300ms}
        - hangup: {call: c1}
`)
	var states []LoadState
	out, err := Run(context.Background(), s, Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1, Load: func(l LoadState) { states = append(states, l) }})
	require.NoError(t, err)
	v := out.Verdicts[0]
	require.Equal(t, Failed, v.Result)
	require.Contains(t, v.Got, "4 of 6 failed")
	require.Contains(t, v.Cause, "2 calls are running")
	require.NotEmpty(t, states)
	require.Equal(t, 6, states[0].Planned)
	all := slices.Collect(out.Log.Events())
	require.Equal(t, out.Verdicts, Judge(s, slices.Values(all)))
	counts := map[string]int{}
	for i := range all {
		counts[all[i].Name]++
	}
	require.Equal(t, 4, counts["load.failed"])
	require.Equal(t, 4, counts["load.step"])
	require.Equal(t, 1, counts["load.ended"])
}

// One that finds no room waits for it, and is counted as such, not as late.
func TestLoadWaitsForRoom(t *testing.T) {
	t.Parallel()
	s := loadFrom(t, `  - repeat:
      rate: 100
      count: 4
      concurrency: 1
      steps:
        - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
        - talk: {call: c1, for: 100ms}
        - hangup: {call: c1}
`)
	taken, err := capture.New(t.TempDir())
	require.NoError(t, err)
	out, err := Run(context.Background(), s, Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1, Capture: taken})
	require.NoError(t, err)
	require.True(t, out.Passed, "%+v", out.Verdicts)
	var file bytes.Buffer
	require.NoError(t, taken.Write(&file, capture.Options{Log: out.Log}))
	require.Greater(t, file.Len(), 50_000)
	require.NoError(t, taken.Close())
	for e := range out.Log.Events() {
		if e.Name == "load.ended" {
			require.EqualValues(t, 1, e.Int("peak"))
			require.EqualValues(t, 3, e.Int("held"))
		}
	}
}

// Of a long load in which nothing went wrong a few calls are left, whatever its
// length, and all in which something did.
func TestEssential(t *testing.T) {
	events := func(calls int) (list []trace.Event) {
		add := func(name string, session uint32, fields ...trace.Field) {
			e := trace.Event{Seq: uint64(len(list)), Name: name, Fields: fields}
			if session > 0 {
				e.Session = trace.Session{Kind: "call", N: session}
			}
			list = append(list, e)
		}
		add("run.started", 0)
		add("sip.received", 1)
		add("load.begun", 0)
		for n := range calls {
			call := uint32(n + 2)
			add("sip.connected", 0)
			add("sip.received", call)
			if n == 50 {
				add("um.refused", call)
			}
			if n == 60 {
				add("load.failed", 0, trace.Field{Key: "sessions", Value: fmt.Sprintf("call-%d", call)})
			}
			add("rtp.ended", call)
		}
		add("load.ended", 0)
		add("sip.received", 9_999_999)
		return list
	}
	short, long := Essential(slices.Values(events(2_000))), Essential(slices.Values(events(10_000)))
	require.Len(t, long, len(short))
	calls := map[uint32]bool{}
	for _, e := range long {
		if e.Session.N > 0 {
			calls[e.Session.N] = true
		}
	}
	require.Equal(t, map[uint32]bool{1: true, 2: true, 3: true, 4: true, 52: true, 62: true, 9_999_999: true}, calls)
	// A call that was there before, or that a step names, is told whole.
	list := events(100)
	during := trace.Event{Seq: 1000, Name: "rtp.reported", Session: trace.Session{Kind: "call", N: 1}}
	named := []trace.Event{{Name: "scenario.call", Fields: []trace.Field{{Key: "names", Value: "call-90"}}}}
	after := trace.Event{Seq: 1001, Name: "rtp.digit", Session: trace.Session{Kind: "call", N: 1}}
	got := Essential(slices.Values(slices.Concat(list[:100], []trace.Event{during}, named, list[100:], []trace.Event{after})))
	require.Contains(t, got, during)
	require.Contains(t, got, after)
	require.Equal(t, 2, len(slices.DeleteFunc(slices.Clone(got), func(e trace.Event) bool { return e.Session.N != 90 })))

	plain := events(0)[:2]
	require.Equal(t, plain, Essential(slices.Values(plain)), "a run without a load is whole")
}
