package scenarios

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/capture"
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
	// Secret is shared with exsim listen, for paths to an external device.
	Secret []byte
	// Load is told how a load stands, four times a second.
	Load func(LoadState)
	// Program is the version of exsim that the trace names; "" for none.
	Program string
	// Capture, if set, takes down what passes.
	Capture *capture.Capture
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
	log := trace.New(trace.Config{Dir: o.Dir, Header: headerOf(s, &o), Mask: s.Secrets})
	r := &run{s: s, o: o, log: log, src: log.Source("", "scenario"), state: &state{calls: map[string]*gateway.Call{}, sessions: calls{}}, wrongs: &wrongs{}}
	sim.RecordFile(r.src, s.File, s.Source)
	err := r.start(ctx)
	if err == nil {
		r.steps(ctx)
	}
	r.accuse()
	err = errors.Join(err, r.close())
	out := &Outcome{Scenario: s, Log: log}
	if err == nil {
		out.Verdicts = Judge(s, log.Events())
		out.Passed = AllPassed(out.Verdicts)
		for _, v := range out.Verdicts {
			r.src.Record(trace.Session{}, trace.Session{}, verdictEvent{v}, nil)
		}
		err = ownFault(log.Events())
	}
	if err == nil {
		err = ctx.Err()
	}
	return out, errors.Join(err, log.Close())
}

// headerOf is what the first event of a run says.
func headerOf(s *Scenario, o *Options) []trace.Field {
	list := append(sim.Header(o.Program, s.Organisation.Version, o.Seed), trace.Field{Key: "scenario", Value: s.Name})
	add := func(key, value string) {
		if value != "" {
			list = append(list, trace.Field{Key: key, Value: value})
		}
	}
	add("variant", s.Variant)
	if o.Plant != nil {
		add("planted", o.Plant.Name())
		add("planted_cause", o.Plant.Cause)
	}
	_, secret := sim.Starred(s.File, s.Source)
	for _, name := range slices.Sorted(maps.Keys(s.Vars)) {
		if !slices.Contains(secret, name) {
			add(varPrefix+name, s.Vars[name])
		}
	}
	return list
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

// ownFault makes a failure of exsim itself an error of the run.
func ownFault(events iter.Seq[trace.Event]) error {
	for e := range events {
		if e.Name == "bench.fault" {
			return fmt.Errorf("exsim itself failed (%s): %s", e.Text("where"), e.Text("what"))
		}
	}
	return nil
}

type run struct {
	s      *Scenario
	o      Options
	log    *trace.Log
	src    *trace.Source
	lab    *lab.Lab
	x      *sim.Exchange
	state  *state
	wrongs *wrongs

	anchor time.Duration // when the last action began; of a branch its own

	feed         *feed // of one of many, its own events
	besideGuided bool  // of a branch: a person does a step of it, or of one beside it
}

// state is what the steps of a run share.
type state struct {
	mu       sync.Mutex
	calls    map[string]*gateway.Call // that are up
	sessions calls
	progress sync.Mutex
}

// named notes which call an id means.
func (r *run) named(id string, session trace.Session) {
	r.state.mu.Lock()
	r.state.sessions[id] = session
	r.state.mu.Unlock()
	if r.feed != nil {
		r.feed.claim(session)
		return
	}
	r.src.Record(noSession, noSession, callEvent{id, session}, nil)
}

// up notes that a call of ours is up.
func (r *run) up(id string, c *gateway.Call) {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	r.state.calls[id] = c
}

// call is a call of ours that is up, nil if it is not.
func (r *run) call(id string) *gateway.Call {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	return r.state.calls[id]
}

// sessions are the calls that are known by now.
func (r *run) sessions() calls {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	return maps.Clone(r.state.sessions)
}

func (r *run) start(ctx context.Context) error {
	err := r.openFaults()
	if err == nil {
		err = r.plantEarly(false)
	}
	if err == nil {
		err = r.paths(ctx)
	}
	if err != nil {
		return err
	}
	conf := lab.Config{
		Org: r.s.Organisation, Dir: r.o.Dir, Seed: r.o.Seed, Ports: r.o.Ports, Trace: r.log, Ready: r.o.Ready, Faults: r.wrongs.ofListener, Capture: r.o.Capture,
	}
	r.parties(&conf)
	if r.lab, err = lab.Start(conf); err != nil {
		return err
	}
	r.x = r.lab.Exchange
	return r.plantEarly(true)
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
	exact := r.lab.Exactness()
	for _, who := range names(exact) {
		if x := exact[who]; x.Ticks > 0 {
			r.src.Record(noSession, noSession, exactEvent{who, x.Ticks, x.Late, x.P99, x.Worst, x.Unsent, x.Unread}, nil)
		}
	}
}

// steps runs them in order; behind one that fails the others are not run.
func (r *run) steps(ctx context.Context) {
	for i := 0; i < len(r.s.Steps) && ctx.Err() == nil; {
		last := r.s.groupEnd(i)
		ok := false
		if r.s.Steps[i].group == 0 {
			ok = r.one(ctx, i, i == 0)
		} else {
			ok = r.parallel(ctx, i, last)
		}
		if !ok {
			r.settle(ctx)
			return
		}
		i = last
	}
}

// A run that failed ends once nothing has happened for quietFor, at the latest
// settleWithin later.
const (
	quietFor     = 100 * time.Millisecond
	settleWithin = time.Second
)

// settle lets what is under way be noticed by the other side, too: a failure is
// explained by what both saw.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	quiet := time.AfterFunc(quietFor, cancel)
	defer quiet.Stop()
	for range r.log.Follow(ctx) {
		quiet.Reset(quietFor)
	}
}

// groupEnd is the index behind a step, or behind the parallel steps that it is
// one of.
func (s *Scenario) groupEnd(i int) int {
	g := s.Steps[i].group
	for i++; g != 0 && i < len(s.Steps) && s.Steps[i].group == g; i++ {
	}
	return i
}

// parallel runs the branches of a group, and reports whether all of them came
// to their end. The time of what follows counts from the group's begin.
func (r *run) parallel(ctx context.Context, first, last int) bool {
	var wg sync.WaitGroup
	var failed atomic.Bool
	guided := r.s.guides(first, last)
	for begin := first; begin < last; {
		end := begin + 1
		for end < last && r.s.Steps[end].branch == r.s.Steps[begin].branch {
			end++
		}
		from, b := begin, *r
		b.besideGuided = guided
		wg.Go(func() {
			for i := from; i < end; i++ {
				if ctx.Err() != nil || !b.one(ctx, i, i == from) {
					failed.Store(true)
					return
				}
			}
		})
		begin = end
	}
	wg.Wait()
	if r.anchor = r.begun(first, last); guided {
		r.anchor = r.log.Now() // a person took time
	}
	return !failed.Load()
}

// one runs a step and reports whether the next one has a ground to stand on.
// first is that of the run, or of a branch.
func (r *run) one(ctx context.Context, i int, first bool) bool {
	step, n := &r.s.Steps[i], i+1
	r.progress(n, step.Text, nil)
	r.src.Record(noSession, noSession, stepEvent{n, step.Verb, step.Text}, nil)
	if step.moves() || first {
		r.anchor = r.begun(i, i+1)
	}
	ok := r.step(ctx, n, step)
	if r.s.guided(step) {
		r.anchor = r.log.Now() // a person took time
	}
	r.progress(n, step.Text, &ok)
	return ok
}

func (r *run) progress(n int, text string, ok *bool) {
	if r.o.Progress != nil {
		r.state.progress.Lock()
		defer r.state.progress.Unlock()
		r.o.Progress(n, text, ok)
	}
}

// begun is when the first of some steps began, by their indexes.
func (r *run) begun(first, last int) time.Duration {
	at := time.Duration(-1)
	for e := range r.log.Events() {
		if n := int(e.Int("step")) - 1; e.Name == "scenario.step" && n >= first && n < last && (at < 0 || e.At < at) {
			at = e.At
		}
	}
	return at
}

// follow yields the events of the run, or, of one of many, those of its calls.
func (r *run) follow(ctx context.Context) iter.Seq[trace.Event] {
	if r.feed != nil {
		return r.feed.follow(ctx)
	}
	return r.log.Follow(ctx)
}

// await waits for an event of the run, at most within of event time since the
// last action began.
func (r *run) await(ctx context.Context, within time.Duration, match func(e *trace.Event) bool) *trace.Event {
	limit := r.anchor + within
	ctx, cancel := context.WithTimeout(ctx, max(limit-r.log.Now(), 0)+50*time.Millisecond)
	defer cancel()
	for e := range r.follow(ctx) {
		if e.At > limit {
			return nil
		}
		if match(&e) {
			return &e
		}
	}
	return nil
}
