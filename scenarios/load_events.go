package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

func (l *load) record(p trace.Payload) { l.r.src.Record(noSession, noSession, p, nil) }

// loadBegun begins a load.
type loadBegun struct {
	step                 int
	rate                 float64
	concurrency, planned int
}

func (loadBegun) EventName() string { return "load.begun" }
func (e loadBegun) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.step))
	f.Float("rate", e.rate)
	f.Int("concurrency", int64(e.concurrency))
	f.Int("planned", int64(e.planned))
}

// loadSecond is how a second went.
type loadSecond struct {
	step    int
	at      time.Duration
	t       tally
	running int
	rate    float64
	self    selfSeen
}

func (loadSecond) EventName() string { return "load.second" }
func (e loadSecond) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.step))
	f.Duration("until", e.at)
	f.Int("begun", int64(e.t.begun))
	f.Int("ended", int64(e.t.ended))
	f.Int("failed", int64(e.t.failed))
	f.Int("running", int64(e.running))
	f.Int("held", int64(e.t.held))
	f.Float("rate", e.rate)
	f.Duration("late", e.t.late)
	f.Duration("scheduling", e.self.scheduling)
	f.Int("unsent", int64(e.self.unsent))
	f.Int("unread", int64(e.self.unread))
}

// loadFailed is one that failed.
type loadFailed struct {
	step, iteration     int
	text, why, sessions string
}

func (loadFailed) EventName() string { return "load.failed" }
func (e loadFailed) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.step))
	f.Int("iteration", int64(e.iteration))
	f.Text("text", e.text)
	f.Text("why", e.why)
	f.Text("sessions", e.sessions)
}

// loadStep is how long a step took in all.
type loadStep struct {
	step, part int
	verb, text string
	t          *times
}

func (loadStep) EventName() string { return "load.step" }
func (e loadStep) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.step))
	f.Int("part", int64(e.part))
	f.Text("verb", e.verb)
	f.Text("text", e.text)
	f.Int("count", int64(e.t.count))
	f.Int("failed", int64(e.t.failed))
	micro := func(key string, us int64) { f.Duration(key, time.Duration(us)*time.Microsecond) }
	for _, percent := range []float64{50, 90, 95, 99} {
		micro(fmt.Sprintf("p%.0f", percent), e.t.hist.ValueAtQuantile(percent))
	}
	micro("max", e.t.hist.Max())
}

// loadEnded sums up.
type loadEnded struct {
	n             int
	total         tally
	took          time.Duration
	peak          int
	taken, stored int64
	lost          int64
	seen          *verdictOfBench
}

func (loadEnded) EventName() string { return "load.ended" }
func (e loadEnded) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.n))
	f.Int("iterations", int64(e.total.begun))
	f.Int("failed", int64(e.total.failed))
	f.Int("held", int64(e.total.held))
	f.Int("peak", int64(e.peak))
	f.Duration("took", e.took)
	f.Int("mail_taken", e.taken)
	f.Int("mail_stored", e.stored)
	f.Int("mail_lost", e.lost)
	f.Duration("late", e.seen.late)
	f.Duration("scheduling", e.seen.scheduling)
	f.Int("unsent", int64(e.seen.unsent))
	f.Int("unread", int64(e.seen.unread))
	f.Bool("bottleneck", e.seen.bottleneck())
	f.Float("trusted", e.seen.trusted())
	f.Text("why", strings.Join(e.seen.reasons(), "; "))
}

func loadEventTypes() []trace.EventType {
	step := trace.FieldType{Key: "step", Means: "number of the repeat step"}
	late := trace.FieldType{Key: "late", Means: "longest time by which exsim began one later than due"}
	scheduling := trace.FieldType{Key: "scheduling", Means: "what one in a hundred of exsim's own waits for a processor exceeded; the highest of all seconds"}
	unsent := trace.FieldType{Key: "unsent", Means: "RTP packets that exsim's own sockets did not take"}
	unread := trace.FieldType{Key: "unread", Means: "datagrams that were dropped at exsim's own sockets"}
	held := trace.FieldType{Key: "held", Means: "that were due and found no room, by concurrency"}
	return []trace.EventType{
		{Name: "load.begun", Means: "a load begins", Fields: []trace.FieldType{step, {Key: "rate", Means: "how many begin in a second, behind the ramp"},
			{Key: "concurrency", Means: "how many may be under way at once"}, {Key: "planned", Means: "how many begin"}}},
		{Name: "load.second", Means: "how the last second of a load went", Fields: []trace.FieldType{step, {Key: "until", Means: "its end, since the load began"},
			{Key: "begun", Means: "that began"}, {Key: "ended", Means: "that ended"}, {Key: "failed", Means: "that failed"}, {Key: "running", Means: "that are under way"}, held,
			{Key: "rate", Means: "that began, per second"}, late, scheduling, unsent, unread}},
		{Name: "load.failed", Means: "one of a load failed; the first 1000 are told", Fields: []trace.FieldType{step, {Key: "iteration", Means: "which one, from 1"},
			{Key: "text", Means: "its step"}, {Key: "why", Means: "what came instead"}, {Key: "sessions", Means: "its calls"}}},
		{Name: "load.step", Means: "how long a step of a load took, over all that passed", Fields: []trace.FieldType{step, {Key: "part", Means: "which of its steps, from 1"}, {Key: "verb", Means: "its verb"},
			{Key: "text", Means: "the step in words"}, {Key: "count", Means: "how often it was done"}, {Key: "failed", Means: "how often it failed"}, {Key: "p50", Means: "time that half of them took at most"},
			{Key: "p90", Means: "that 90 in a hundred took at most"}, {Key: "p95", Means: "that 95 did"}, {Key: "p99", Means: "that 99 did"}, {Key: "max", Means: "the longest"}}},
		{Name: "load.ended", Means: "a load is over", Fields: []trace.FieldType{step, {Key: "iterations", Means: "how many began"}, {Key: "failed", Means: "how many of them failed"}, held,
			{Key: "peak", Means: "most that were under way at once"}, {Key: "took", Means: "from begin to end"},
			{Key: "mail_taken", Means: "messages that were acknowledged, for each recipient"}, {Key: "mail_stored", Means: "that came to a mailbox"}, {Key: "mail_lost", Means: "that are nowhere"},
			late, scheduling, unsent, unread, {Key: "bottleneck", Means: "true if exsim itself did not keep up"},
			{Key: "trusted", Means: "rate until which exsim kept up on this machine, the highest that was tried if it always did"}, {Key: "why", Means: "how it did not keep up"}}},
	}
}
