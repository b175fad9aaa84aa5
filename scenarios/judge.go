package scenarios

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Result of a step.
type Result string

// The results.
const (
	Passed Result = "passed"
	Failed Result = "failed"
	NotRun Result = "not run"
)

// Verdict is the judgement of one step.
type Verdict struct {
	Step   int    `json:"step"` // from 1; 0 for a goal or a never
	Text   string `json:"text"`
	Result Result `json:"result"`
	Got    string `json:"got,omitempty"`
	Event  int64  `json:"event"` // sequence number of the event that decided, -1 if none

	// Why it failed, by the table of causes: whose side it is on (device,
	// network, bench, unknown), what to do next, and what that rests on.
	Side    string `json:"side,omitempty"`
	CauseID string `json:"cause_id,omitempty"`
	Cause   string `json:"cause,omitempty"`
	Next    string `json:"next,omitempty"`
	Ref     string `json:"ref,omitempty"`
}

// Judge judges a scenario by the events of a run, recorded verdicts aside: a
// saved trace is judged as the run was.
func Judge(s *Scenario, all iter.Seq[trace.Event]) []Verdict {
	events := Essential(all)
	j := judge{s: s, all: all, events: events, calls: calls{}, step: map[int]int{}, acted: map[int]int{}, audio: map[int]int{}, guided: map[int]bool{}, external: map[string]bool{}}
	for i := range events {
		j.index(i)
	}
	verdicts := j.paths()
	anchor := -1
	for n, step := range s.Steps {
		at, ran := j.step[n+1]
		v := Verdict{Step: n + 1, Text: step.Text, Result: NotRun, Event: -1}
		if n > 0 && step.otherBranch(&s.Steps[n-1]) {
			anchor = j.branchBegin(n)
		}
		if ran {
			if step.moves() || anchor < 0 {
				anchor = at
			}
			j.one(&v, &step, anchor)
			if done, ok := j.acted[n+1]; ok && j.guided[n+1] {
				anchor = done // a person took time
			}
		}
		if v.Result == Failed {
			j.explain(&v, step.call(), step.about())
		}
		verdicts = append(verdicts, v)
	}
	for i := range s.Goals {
		v := j.goal(&s.Goals[i])
		if v.Result == Failed && v.Event < 0 && strings.HasPrefix(s.Goals[i].Event, "load.") {
			v.Side, v.Cause, v.Next = "unknown", unknownCause, "compare the conditions of only: with the values that the trace has: no event fits"
		} else if v.Result == Failed {
			j.explain(&v, s.Goals[i].Call, s.Goals[i].about())
		}
		verdicts = append(verdicts, v)
	}
	for i := range s.Never {
		v := j.never(&s.Never[i])
		if v.Result == Failed {
			j.explain(&v, s.Never[i].Call, s.Never[i].about())
		}
		verdicts = append(verdicts, v)
	}
	if AllPassed(verdicts) {
		verdicts = append(verdicts, j.idle()...)
	}
	return verdicts
}

// idle are the faults of a scenario, its steps included, that never struck: what
// was to be proven with them is not.
func (j *judge) idle() (list []Verdict) {
	faults := slices.Clone(j.s.Faults)
	for i := range j.s.Steps {
		if f, ok := j.s.Steps[i].action.(*plantFault); ok && !f.Lift {
			faults = append(faults, f.PlantedFault)
		}
	}
	for i := range faults {
		f := &faults[i]
		if !socketFault(f.Do) || slices.ContainsFunc(j.events, func(e trace.Event) bool {
			return e.Name == "fault.struck" && e.Host == f.Actor && e.Text("do") == f.Do && e.Text("of") == f.Of
		}) {
			continue
		}
		list = append(list, Verdict{
			Text: j.s.mask("the fault " + f.Name() + " of " + f.Actor + " strikes"), Result: Failed, Event: -1, Got: "there was nothing that it could befall",
			Side: "bench", Cause: "nothing is proven about a fault that never struck",
			Next: "compare its listener (at), what it is of and its number with the ladder",
		})
	}
	return list
}

// otherBranch reports whether the step before is of another branch, or group.
func (s *Step) otherBranch(before *Step) bool {
	return s.group != before.group || s.branch != before.branch
}

// branchBegin is the event from which the times of a branch count: none, so
// that it is that of its first step; behind parallel steps the first of them.
func (j *judge) branchBegin(n int) int {
	if j.s.Steps[n].group != 0 {
		return -1
	}
	begin, guided := -1, -1
	for i := n - 1; i >= 0 && j.s.Steps[i].group == j.s.Steps[n-1].group; i-- {
		if at, ran := j.step[i+1]; ran && (begin < 0 || at < begin) {
			begin = at
		}
		if done, ok := j.acted[i+1]; ok && j.guided[i+1] {
			guided = max(guided, done) // a person took time
		}
	}
	return max(begin, guided)
}

type judge struct {
	all    iter.Seq[trace.Event] // of the run
	s      *Scenario
	events []trace.Event
	calls  calls
	step   map[int]int // index of the event, by step
	acted  map[int]int
	audio  map[int]int

	guided   map[int]bool    // steps that a person did
	external map[string]bool // actors

	since  int          // index of the event with which the call to explain began
	others []netip.Addr // of actors that did not place it
	ofCall bool         // whether there is a call to explain
}

func (j *judge) index(i int) {
	e := &j.events[i]
	n := int(e.Int("step"))
	switch e.Name {
	case "scenario.step":
		j.step[n] = i
	case "scenario.acted":
		j.acted[n] = i
	case "scenario.now":
		j.guided[n] = true
	case "scenario.external":
		j.external[e.Text("actor")] = true
	case "scenario.audio":
		j.audio[n] = i
	case "scenario.call":
		if session, err := trace.ParseSession(e.Text("names")); err == nil {
			j.calls[e.Text("id")] = session
		}
	}
}

// find passes the verdict if an event matches; else it tells the nearest miss,
// the one with the fewest conditions not met.
func (j *judge) find(v *Verdict, m *Matcher, anchor int, within time.Duration, eligible func(*trace.Event) bool) {
	limit := j.events[anchor].At + within
	nearest := 0
	for i := 0; i < len(j.events) && j.events[i].At <= limit; i++ {
		e := &j.events[i]
		if !eligible(e) {
			continue
		}
		ok, misses, why := m.matches(e, j.calls)
		if ok {
			v.Result, v.Got, v.Event = Passed, "", int64(e.Seq)
			return
		}
		if misses > 0 && (nearest == 0 || misses < nearest) {
			nearest = misses
			v.Got, v.Event = why, int64(e.Seq)
		}
	}
}

// goal holds every event that it names against its conditions.
func (j *judge) goal(m *Goal) Verdict {
	about := Matcher{Event: m.Event, Call: m.Call, At: m.At, Where: m.Only}
	text := "goal: every " + m.String()
	if len(m.Only) > 0 {
		text = "goal: every " + about.String() + ": " + m.String()
	}
	v := Verdict{Text: j.s.mask(text), Result: Failed, Event: -1, Got: "there was no such event"}
	if j.external[m.At] {
		v.Result, v.Got = Passed, notOurs
		return v
	}
	for e := range j.all {
		if ok, _, _ := about.matches(&e, j.calls); !ok {
			continue
		}
		v.Event = int64(e.Seq)
		if ok, _, why := m.matches(&e, j.calls); !ok {
			v.Result, v.Got = Failed, why
			return v
		}
		v.Result, v.Got = Passed, ""
	}
	return v
}

func (j *judge) never(m *Matcher) Verdict {
	v := Verdict{Text: j.s.mask("never " + m.String()), Result: Passed, Event: -1}
	for e := range j.all {
		if ok, _, _ := m.matches(&e, j.calls); ok {
			v.Result, v.Event = Failed, int64(e.Seq)
			v.Got = fmt.Sprintf("it happened %s after the beginning", e.At.Round(time.Millisecond))
			break
		}
	}
	return v
}

// WithVerdicts are the events of a run with these verdicts in place of those
// that were recorded.
func WithVerdicts(events []trace.Event, verdicts []Verdict) []trace.Event {
	list := slices.DeleteFunc(slices.Clone(events), func(e trace.Event) bool { return e.Name == "scenario.verdict" })
	log := trace.New(trace.Config{})
	defer func() { _ = log.Close() }()
	for _, v := range verdicts {
		log.Source("", "scenario").Record(trace.Session{}, trace.Session{}, verdictEvent{v}, nil)
	}
	for e := range log.Events() {
		if e.Name == "scenario.verdict" {
			list = append(list, e)
		}
	}
	return list
}

// AllPassed reports whether every step passed.
func AllPassed(verdicts []Verdict) bool {
	for _, v := range verdicts {
		if v.Result != Passed {
			return false
		}
	}
	return true
}
