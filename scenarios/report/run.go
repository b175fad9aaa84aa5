package report

import (
	"cmp"
	"fmt"

	"github.com/exsim/exsim/sim/trace"
)

// Run is one run of a scenario as it is told in a summary.
type Run struct {
	Name    string
	Variant string // the values of its matrix, "" without one
	Planted string // fault that must be caught, "" without one
	Why     string // it was not caught
	Good    bool   // it passed, or the fault was caught
	Judged  bool   // there are verdicts
	Broken  string // why exsim itself failed, "" if it did not
	Events  []trace.Event
}

// RunOf reads a run from its trace.
func RunOf(events []trace.Event) Run {
	r := Run{Events: events, Good: true}
	if len(events) > 0 {
		h := &events[0]
		r.Name, r.Variant, r.Planted = cmp.Or(h.Text("scenario"), h.Text("plan")), h.Text("variant"), h.Text("planted")
	}
	failed, paths := "", false
	for i := range events {
		switch e := &events[i]; e.Name {
		case "scenario.verdict":
			r.Judged = true
			if e.Text("result") == "failed" && r.Good {
				r.Good, failed = false, e.Text("cause_id")
			}
		case "path.result":
			paths = true
			r.Good = r.Good && (r.Judged || e.Text("level") != "fail")
		case "bench.fault":
			r.Broken = e.Text("where") + ": " + e.Text("what")
		}
	}
	r.Judged = r.Judged || paths
	if r.Planted != "" && r.Judged {
		r.caught(failed)
	}
	return r
}

// caught turns the result of a run with a planted fault round: it is good if it
// failed, and for the cause that was to be named.
func (r *Run) caught(cause string) {
	wanted := r.Events[0].Text("planted_cause")
	switch {
	case r.Good:
		r.Good, r.Why = false, "the scenario passed with the fault"
	case wanted != "" && cause != wanted:
		r.Why = "its cause is " + orUnknown(cause) + ", and catches names " + wanted
	default:
		r.Good = true
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// NoEnd says what an incomplete trace means.
const NoEnd = "the trace has no end: what is absent in it may have happened all the same"

// Incomplete reports whether the trace was cut short.
func (r *Run) Incomplete() bool {
	return len(r.Events) == 0 || r.Events[len(r.Events)-1].Name != "run.ended"
}

// title names it.
func (r *Run) title() string {
	name := r.Name
	if name == "" {
		name = "a run without a scenario"
	}
	if r.Variant != "" {
		name += " (" + r.Variant + ")"
	}
	if r.Planted != "" {
		name += " with the fault " + r.Planted
	}
	return name
}

// Headline is its result and name.
func (r *Run) Headline() string {
	word, _ := r.result()
	return fmt.Sprintf("%-10s %s", word, r.title())
}

// result is its word, and the class of its colour.
func (r *Run) result() (word, class string) {
	switch {
	case r.Broken != "":
		return "exsim failed", "broken"
	case !r.Judged:
		return "not judged", "unjudged"
	case r.Planted != "" && r.Good:
		return "caught", "caught"
	case r.Planted != "":
		return "not caught", "failed"
	case r.Good:
		return "passed", "passed"
	}
	return "failed", "failed"
}

// reason says in a line why it failed.
func (r *Run) reason() string {
	if text := r.Broken + r.Why; text != "" {
		return text
	}
	for i := range r.Events {
		if e := &r.Events[i]; e.Name == "scenario.verdict" && e.Text("result") == "failed" {
			if cause := e.Text("cause"); cause != "" {
				return cause
			}
			return e.Text("got")
		}
	}
	return ""
}
