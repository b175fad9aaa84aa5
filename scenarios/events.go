package scenarios

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/integrity"
	"github.com/exsim/exsim/sim/paths/truth"
	"github.com/exsim/exsim/sim/trace"
)

type stepEvent struct {
	n    int
	verb string
	text string
}

func (stepEvent) EventName() string { return "scenario.step" }
func (e stepEvent) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.n))
	f.Text("verb", e.verb)
	f.Text("text", e.text)
}

// acted is what came of a step that does something.
type acted struct {
	n   int
	ok  bool
	got string
}

func (acted) EventName() string { return "scenario.acted" }
func (e acted) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.n))
	f.Bool("ok", e.ok)
	f.Text("got", e.got)
}

type callEvent struct {
	id      string
	session trace.Session
}

func (callEvent) EventName() string { return "scenario.call" }
func (e callEvent) AppendTo(f *trace.Fields) {
	f.Text("id", e.id)
	f.Text("names", e.session.String())
}

type audioEvent struct {
	n, octets int
	same      bool
}

func (audioEvent) EventName() string { return "scenario.audio" }
func (e audioEvent) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.n))
	f.Int("octets", int64(e.octets))
	f.Bool("same", e.same)
}

var noSession trace.Session

type faultEvent struct {
	f      PlantedFault
	lifted bool
}

func (faultEvent) EventName() string { return "scenario.fault" }
func (e faultEvent) AppendTo(f *trace.Fields) {
	f.Text("actor", e.f.Actor)
	f.Text("do", e.f.Do)
	f.Bool("lifted", e.lifted)
}

// nowEvent is what a person has to do.
type nowEvent struct {
	n    int
	text string
}

func (nowEvent) EventName() string { return "scenario.now" }
func (e nowEvent) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.n))
	f.Text("text", e.text)
}

// exactEvent is what exsim itself adds to jitter and loss.
type exactEvent struct {
	who            string
	ticks, late    int
	p99, worst     time.Duration
	unsent, unread int
}

func (exactEvent) EventName() string { return "bench.exactness" }
func (e exactEvent) AppendTo(f *trace.Fields) {
	f.Text("who", cmp.Or(e.who, "organisation"))
	f.Int("sends", int64(e.ticks))
	f.Int("late", int64(e.late))
	f.Duration("p99", e.p99)
	f.Duration("worst", e.worst)
	f.Int("unsent", int64(e.unsent))
	f.Int("unread", int64(e.unread))
}

// probedEvent ends the proof of the paths between two.
type probedEvent struct {
	actor, server string
	err           error
}

func (probedEvent) EventName() string { return "path.probed" }
func (e probedEvent) AppendTo(f *trace.Fields) {
	f.Text("actor", e.actor)
	f.Text("server", e.server)
	why := ""
	if e.err != nil {
		why = e.err.Error()
	}
	f.Text("failed", why)
}

// pathEvent is what the network did to a path.
type pathEvent struct{ *truth.Result }

func (pathEvent) EventName() string { return "path.result" }
func (e pathEvent) AppendTo(f *trace.Fields) {
	f.Text("path", e.Flow.ID)
	f.Text("from", e.Flow.From.Name)
	f.Text("to", e.Flow.To.Name)
	f.Text("kind", string(e.Flow.Kind))
	f.Text("protocol", e.Flow.Protocol)
	f.Text("tls", e.Flow.TLS)
	f.Text("expected", string(e.Flow.Expect))
	f.Text("found", string(e.Verdict))
	f.Text("level", string(e.Level))
	f.Int("tried", int64(e.Tried))
	f.Bool("provable", e.Flow.Unproven == "" || e.Flow.Ports.Len() > 0)
	f.Bool("compared", e.Compared)
	f.Text("translated", e.Translated)
	f.Text("side", e.Side)
	f.Text("cause", e.Cause)
	f.Text("next", strings.Trim(e.Next+"; "+e.Rule, "; "))
	f.Text("evidence", strings.Join(slices.Concat(e.How, e.Evidence), "; "))
}

// changedEvent is something that the network changed.
type changedEvent struct {
	flow *paths.Flow
	integrity.Change
}

func (changedEvent) EventName() string { return "path.changed" }
func (e changedEvent) AppendTo(f *trace.Fields) {
	f.Text("path", e.flow.ID)
	f.Text("protocol", protocolOf(e.flow, e.What))
	f.Text("what", e.What)
	f.Text("way", e.Way)
	f.Text("sent", e.Sent)
	f.Text("got", e.Got)
	f.Text("rating", string(e.Rating))
	f.Text("means", e.Means)
	f.Text("by", e.By)
}

type externalEvent struct{ actor string }

func (externalEvent) EventName() string          { return "scenario.external" }
func (e externalEvent) AppendTo(f *trace.Fields) { f.Text("actor", e.actor) }

type verdictEvent struct{ v Verdict }

func (verdictEvent) EventName() string { return "scenario.verdict" }
func (e verdictEvent) AppendTo(f *trace.Fields) {
	f.Int("step", int64(e.v.Step))
	f.Text("text", e.v.Text)
	f.Text("result", string(e.v.Result))
	f.Text("got", e.v.Got)
	f.Int("event", e.v.Event)
	for _, why := range [...][2]string{{"side", e.v.Side}, {"cause_id", e.v.CauseID}, {"cause", e.v.Cause}, {"next", e.v.Next}, {"ref", e.v.Ref}} {
		if why[1] != "" {
			f.Text(why[0], why[1])
		}
	}
}

// Events lists every event of a run with a scenario, sorted by name. It is not to
// be changed.
func Events() []trace.EventType { return allEvents() }

var allEvents = sync.OnceValue(func() []trace.EventType {
	step := trace.FieldType{Key: "step", Means: "number of the step, from 1; 0 for a never"}
	list := []trace.EventType{
		{Name: "scenario.step", Means: "a step begins", Fields: []trace.FieldType{
			step, {Key: "verb", Means: "its verb"}, {Key: "text", Means: "the step in words"}}},
		{Name: "scenario.acted", Means: "what came of a step that does something", Fields: []trace.FieldType{
			step, {Key: "ok", Means: "whether it could be done"}, {Key: "got", Means: "what happened"}}},
		{Name: "scenario.call", Means: "a call step has placed its call", Fields: []trace.FieldType{
			{Key: "id", Means: "id of the step"}, {Key: "names", Means: "the call's name in this trace"}}},
		{Name: "scenario.audio", Means: "the recording in a mail was compared with what was said", Fields: []trace.FieldType{
			step, {Key: "octets", Means: "octets said"}, {Key: "same", Means: "whether the recording holds them all in a row"}}},
		{Name: "scenario.now", Means: "a person is told what to do at an external device", Fields: []trace.FieldType{
			step, {Key: "text", Means: "what to do"}}},
		{Name: "scenario.external", Means: "an actor is a device of its own, not simulated", Fields: []trace.FieldType{{Key: "actor", Means: "the actor"}}},
		{Name: "path.probed", Means: "the paths between an actor and a server were tried", Fields: []trace.FieldType{
			{Key: "actor", Means: "the actor"}, {Key: "server", Means: "the server"}, {Key: "failed", Means: "why they could not be, empty if they could"}}},
		{Name: "path.result", Means: "what the network did to a path", Fields: []trace.FieldType{
			{Key: "path", Means: "its name, such as gw>MBX1 tcp/5062"}, {Key: "from", Means: "who connects"}, {Key: "to", Means: "who is connected to"},
			{Key: "kind", Means: "documented, derived, contradictory, extra or undocumented"}, {Key: "protocol", Means: "what is spoken there"}, {Key: "tls", Means: "none, starttls, implicit, mutual or optional"},
			{Key: "expected", Means: "open or closed"}, {Key: "found", Means: "open, dropped, altered and so on"},
			{Key: "level", Means: "pass, warn, fail or unproven"}, {Key: "tried", Means: "ports that were tried"},
			{Key: "provable", Means: "false where the pages name no port"}, {Key: "compared", Means: "whether what left was compared with what came"},
			{Key: "translated", Means: "how addresses were translated"}, {Key: "side", Means: "of a failure: network, bench, far end, unknown"},
			{Key: "cause", Means: "why"}, {Key: "next", Means: "what to do, and the rule"}, {Key: "evidence", Means: "what was seen"}}},
		{Name: "path.changed", Means: "the network changed what passed on a path", Fields: []trace.FieldType{
			{Key: "path", Means: "its name"}, {Key: "protocol", Means: "sip, sdp, smtp, tls or rtp"}, {Key: "what", Means: "what was changed"},
			{Key: "way", Means: "out, from who connects, or back"}, {Key: "sent", Means: "as it left"}, {Key: "got", Means: "as it came, empty if it is gone"},
			{Key: "rating", Means: "harmless, risky or breaking"}, {Key: "means", Means: "what that does"}, {Key: "by", Means: "what usually does it"}}},
		{Name: "bench.exactness", Means: "what exsim itself added to jitter and loss", Fields: []trace.FieldType{
			{Key: "who", Means: "organisation, or an actor"}, {Key: "sends", Means: "RTP packets that were due"},
			{Key: "late", Means: "of them, more than 10 ms late"}, {Key: "p99", Means: "a delay that one in a hundred exceeds"}, {Key: "worst", Means: "the longest delay"},
			{Key: "unsent", Means: "of them, not taken by the socket"},
			{Key: "unread", Means: "datagrams that came and were dropped, because exsim read too late"}}},
		{Name: "scenario.fault", Means: "a fault was planted, or lifted", Fields: []trace.FieldType{
			{Key: "actor", Means: "the actor, or the server"}, {Key: "do", Means: "the fault"}, {Key: "lifted", Means: "whether it was lifted"}}},
		{Name: "scenario.verdict", Means: "the judgement of a step", Fields: []trace.FieldType{
			step, {Key: "text", Means: "what was expected"}, {Key: "result", Means: "passed, failed or not run"},
			{Key: "got", Means: "what happened instead"}, {Key: "event", Means: "number of the event that decided, -1 if none"},
			{Key: "side", Means: "of a failure: device, network, bench or unknown"}, {Key: "cause_id", Means: "its cause in the table of causes"},
			{Key: "cause", Means: "the cause in words"}, {Key: "next", Means: "what to do"}, {Key: "ref", Means: "what the cause rests on"}}},
	}
	list = append(list, loadEventTypes()...)
	list = append(list, sim.Events()...)
	list = append(list, gateway.Events()...)
	list = append(list, mailhost.Events()...)
	list = append(list, faults.Events()...)
	slices.SortFunc(list, func(a, b trace.EventType) int { return strings.Compare(a.Name, b.Name) })
	return list
})
