package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// answered is a run in which requests are answered after times in milliseconds.
func answered(late time.Duration, took ...float64) Run {
	events := []trace.Event{{Name: "run.started", Fields: []trace.Field{{Key: "scenario", Value: "x"}}}}
	for i, ms := range took {
		at := time.Duration(i) * time.Second
		fields := []trace.Field{{Key: "peer", Value: "127.0.0.30:5060"}, {Key: "call_id", Value: "a"}, {Key: "method", Value: "OPTIONS"}, {Key: "cseq", Value: int64(i)}}
		events = append(events,
			trace.Event{At: at, Host: "MBX1", Name: "sip.sent", Fields: fields},
			trace.Event{At: at + time.Duration(ms*1e6), Host: "MBX1", Name: "sip.received", Fields: append(fields[:4:4], trace.Field{Key: "status", Value: int64(200)})})
	}
	events = append(events, trace.Event{Name: "bench.exactness", Fields: []trace.Field{{Key: "p99", Value: late}}})
	return RunOf(events)
}

func differences(a, b Run) (list []string) {
	for _, d := range Compare([]Run{a}, []Run{b}).Differences {
		list = append(list, string(d.Change)+" "+d.What)
	}
	return list
}

// A time is told where it differs by more than its noise and the bench's own,
// and not else.
func TestTimingsBeyondNoise(t *testing.T) {
	const what = "OPTIONS of MBX1, 200 by 127.0.0.30"
	calm := []float64{10, 10.1, 9.9, 10, 10.2, 9.8, 10}
	shaky := []float64{10, 30, 2, 18, 5, 25, 12}
	slower := []float64{20, 20.1, 19.9, 20, 20.2, 19.8, 20}
	require.Empty(t, differences(answered(0, calm...), answered(0, calm...)))
	require.Equal(t, []string{"worse " + what}, differences(answered(0, calm...), answered(0, slower...)))
	require.Equal(t, []string{"better " + what}, differences(answered(0, slower...), answered(0, calm...)))
	require.Empty(t, differences(answered(0, shaky...), answered(0, slower...)), "within the noise")
	require.Empty(t, differences(answered(0, calm...), answered(15*time.Millisecond, slower...)), "the bench itself was as late")
	require.Empty(t, differences(answered(0, 10), answered(0, 40)), "one sample says nothing of noise")
	require.Equal(t, []string{"worse " + what}, differences(answered(0, 10), answered(0, 200)))
}

func judged(name string, verdicts, paths []string) Run {
	events := []trace.Event{{Name: "run.started", Fields: []trace.Field{{Key: "scenario", Value: name}}}}
	for i, v := range verdicts {
		result, cause, _ := strings.Cut(v, " by ")
		events = append(events, trace.Event{Name: "scenario.verdict", Fields: []trace.Field{
			{Key: "step", Value: int64(i + 1)}, {Key: "text", Value: "a step"}, {Key: "result", Value: result}, {Key: "cause_id", Value: cause}, {Key: "event", Value: int64(-1)}}})
	}
	for _, p := range paths {
		name, found, _ := strings.Cut(p, " is ")
		level := map[bool]string{true: "pass", false: "fail"}[found == "open"]
		events = append(events, trace.Event{Name: "path.result", Fields: []trace.Field{{Key: "path", Value: name}, {Key: "found", Value: found}, {Key: "level", Value: level}, {Key: "cause", Value: "why"}}})
	}
	return RunOf(events)
}

func TestCompare(t *testing.T) {
	before := []Run{judged("one", []string{"passed", "passed"}, []string{"a is open", "b is open"}), judged("old", nil, nil)}
	after := []Run{judged("one", []string{"passed", "failed by no-media"}, []string{"a is dropped", "c is open"}), judged("new", nil, nil)}
	c := Compare(before, after)
	c.Before, c.After = "before", "after <b>"
	var out bytes.Buffer
	require.NoError(t, c.Text(&out))
	for _, want := range []string{
		"worse   one: passed → failed", "worse   one: step 2, a step: passed → failed (no-media)", "worse   one: a: open → dropped (fail)\n          why",
		"gone    one: b: open before", "new     one: c: open", "gone    old: not judged before", "new     new: not judged", "7 differences; compared: 1 runs, 2 verdicts, 1 paths",
	} {
		require.Contains(t, out.String(), want)
	}
	require.True(t, c.Worsened())
	require.False(t, Compare(after, after).Worsened())

	var page bytes.Buffer
	require.NoError(t, c.HTML(&page, "dev"))
	require.Contains(t, page.String(), "after &lt;b&gt;")

	// One that was broken off is worse than one that passed.
	require.True(t, Compare([]Run{judged("one", []string{"passed"}, nil)}, []Run{judged("one", nil, nil)}).Worsened())

	// Several runs of a name are samples of it.
	c = Compare([]Run{judged("one", []string{"passed"}, nil), judged("one", []string{"passed"}, nil)}, []Run{judged("one", []string{"passed"}, nil), judged("one", []string{"failed by x"}, nil)})
	require.Equal(t, "failed (x) 1, passed 1", c.Differences[1].After)

	// One run each is compared by whatever name.
	require.Equal(t, 1, Compare([]Run{judged("a", nil, nil)}, []Run{judged("b", nil, nil)}).Compared.Runs)
}
