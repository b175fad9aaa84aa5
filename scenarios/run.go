package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/trace"
)

// Options say how a scenario runs.
type Options struct {
	Dir   string // keeps mailboxes; made if it is not there
	Ports sim.Ports
	Seed  uint64        // 0 picks one
	Plant *PlantedFault // beside the scenario's own faults
	// Progress is told each step as it begins and ends.
	Progress func(n int, text string, ok *bool)
	// Now is told what a person has to do at an external device, and Patience is
	// how long that may take; 2m if zero.
	Now      func(n int, text string)
	Patience time.Duration
	// Ready is told when the organisation is up.
	Ready func(x *sim.Exchange)
}

// Outcome is a run and its judgement.
type Outcome struct {
	Scenario *Scenario
	Verdicts []Verdict
	Log      *trace.Log // closed, still readable
	Passed   bool
}

// Caught reports whether the run failed by a fault that was planted in it, and
// for the cause that the scenario says.
func (o *Outcome) Caught(f *PlantedFault) bool {
	for _, v := range o.Verdicts {
		if v.Result == Failed {
			return f.Cause == "" || v.CauseID == f.Cause
		}
	}
	return false
}

// Run runs a scenario against an organisation of its own and judges it. An
// error means that exsim could not run it, not that it failed.
func Run(ctx context.Context, s *Scenario, o Options) (*Outcome, error) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()>>32 + 1
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("scenarios: %w", err)
	}
	header := append(sim.Header(s.Organisation.Version, o.Seed), trace.Field{Key: "scenario", Value: s.Name})
	for _, name := range slices.Sorted(maps.Keys(s.Vars)) {
		header = append(header, trace.Field{Key: varPrefix + name, Value: s.Vars[name]})
	}
	log := trace.New(trace.Config{Dir: o.Dir, Header: header, Mask: s.Secrets})
	r := &run{s: s, o: o, log: log, src: log.Source("", "scenario"), calls: map[string]*gateway.Call{}, sessions: calls{}}
	err := r.start()
	if err == nil {
		r.steps(ctx)
	}
	r.accuse()
	err = errors.Join(err, r.close())
	out := &Outcome{Scenario: s, Log: log}
	if err == nil {
		events := slices.Collect(log.Events())
		out.Verdicts = Judge(s, events)
		out.Passed = AllPassed(out.Verdicts)
		for _, v := range out.Verdicts {
			r.src.Record(trace.Session{}, trace.Session{}, verdictEvent{v}, nil)
		}
		err = faults(events)
	}
	if err == nil {
		err = ctx.Err()
	}
	return out, errors.Join(err, log.Close())
}

// varPrefix stands before the names of vars in the first event of a trace.
const varPrefix = "var."

// VarsOf are the values of vars with which a trace was made.
func VarsOf(events []trace.Event) map[string]string {
	set := map[string]string{}
	for _, f := range events[0].Fields {
		if name, ok := strings.CutPrefix(f.Key, varPrefix); ok {
			set[name] = trace.FormatValue(f.Value)
		}
	}
	return set
}

// faults makes a failure of exsim itself an error of the run.
func faults(events []trace.Event) error {
	for i := range events {
		if events[i].Name == "bench.fault" {
			return fmt.Errorf("exsim itself failed (%s): %s", events[i].Text("where"), events[i].Text("what"))
		}
	}
	return nil
}

type run struct {
	s        *Scenario
	o        Options
	log      *trace.Log
	src      *trace.Source
	lab      *lab.Lab
	x        *sim.Exchange
	calls    map[string]*gateway.Call
	sessions calls

	anchor time.Duration // when the last action began
}

func (r *run) start() error {
	var err error
	r.lab, err = lab.Start(lab.Config{
		Org: r.s.Organisation, Dir: r.o.Dir, Seed: r.o.Seed, Ports: r.o.Ports, Trace: r.log, Gateways: r.parties(), Ready: r.o.Ready,
	})
	if err == nil {
		r.x = r.lab.Exchange
	}
	return err
}

func (r *run) close() error {
	if r.lab == nil {
		return nil
	}
	return r.lab.Close()
}

// accuse records how exact exsim itself was.
func (r *run) accuse() {
	if r.lab == nil {
		return
	}
	late := r.lab.Lateness()
	for _, who := range slices.Sorted(maps.Keys(late)) {
		if l := late[who]; l.Ticks > 0 {
			r.src.Record(trace.Session{}, trace.Session{}, latenessEvent{who, l.Ticks, l.Late, l.Worst}, nil)
		}
	}
}

// steps runs them in order; behind one that fails the others are not run.
func (r *run) steps(ctx context.Context) {
	for i := range r.s.Steps {
		step := &r.s.Steps[i]
		n := i + 1
		r.progress(n, step.Text, nil)
		r.src.Record(trace.Session{}, trace.Session{}, stepEvent{n, step.Verb, step.Text}, nil)
		if step.moves() || i == 0 {
			r.moveAnchor(n)
		}
		ok := r.step(ctx, n, step)
		if r.s.guided(step) {
			r.anchor = r.log.Now() // a person took time
		}
		r.progress(n, step.Text, &ok)
		if !ok || ctx.Err() != nil {
			return
		}
	}
}

func (r *run) progress(n int, text string, ok *bool) {
	if r.o.Progress != nil {
		r.o.Progress(n, text, ok)
	}
}

// moveAnchor finds the event with which step n began.
func (r *run) moveAnchor(n int) {
	for e := range r.log.Events() {
		if e.Name == "scenario.step" && e.Int("step") == int64(n) {
			r.anchor = e.At
		}
	}
}

// await waits for an event of the run, at most within of event time since the
// last action began.
func (r *run) await(ctx context.Context, within time.Duration, match func(e *trace.Event) bool) *trace.Event {
	limit := r.anchor + within
	ctx, cancel := context.WithTimeout(ctx, max(limit-r.log.Now(), 0)+50*time.Millisecond)
	defer cancel()
	for e := range r.log.Follow(ctx) {
		if e.At > limit {
			return nil
		}
		if match(&e) {
			return &e
		}
	}
	return nil
}
