package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/exsim/exsim/sim/gateway"
)

// LoadState is how a load stands.
type LoadState struct {
	Step                                   int
	Text                                   string
	Planned, Begun, Ended, Failed, Running int
	Rate                                   float64       // that began in the last second
	Late                                   time.Duration // the longest that exsim was late by in it
	Held                                   int           // that found no room when they were due
}

// load is a repeat step at work.
type load struct {
	p    *repeat
	r    *run
	n    int // of the step
	feed *dispatcher
	room chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	total  tally
	second tally // of the second that runs
	times  []*times
	told   int // failures that have an event of their own
	self   *selfWatch
	seen   verdictOfBench
	peak   int // most that ran at once
	begun  time.Time
	last   time.Time // when the second began
}

// tally counts iterations.
type tally struct {
	begun, ended, failed, held int
	late                       time.Duration // the longest
}

// times are how long a step took.
type times struct {
	hist   *hdrhistogram.Histogram // in microseconds
	count  int
	failed int
}

// maxTold bounds the failures that are told one by one.
const maxTold = 1000

func newLoad(p *repeat, r *run, n int) *load {
	l := &load{p: p, r: r, n: n, room: make(chan struct{}, p.Concurrency), feed: newDispatcher()}
	for range p.steps {
		l.times = append(l.times, &times{hist: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)})
	}
	return l
}

// run begins what is due until all have, waits for them, and tells what came of
// it. Its error says that the load could not be applied; whether it passed is
// judged by the events.
func (l *load) run(ctx context.Context) error {
	following, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	from := l.r.mark()
	go func() {
		defer close(done)
		l.feed.follow(following, l.r.log, from)
	}()
	l.begun = time.Now()
	l.last, l.self = l.begun, newSelfWatch(l.r.lab)
	l.record(loadBegun{l.n, l.p.Rate, l.p.Concurrency, l.p.planned()})
	ticking := make(chan struct{})
	go func() {
		defer close(ticking)
		l.tick(following)
	}()
	l.begin(ctx)
	l.wg.Wait()
	lost := l.feed.settled(ctx, l.r.mark())
	stop()
	<-ticking
	<-done
	l.end(lost)
	if l.total.failed*100 > int(l.p.Allowed*float64(l.total.begun)) {
		return errors.New("too many failed")
	}
	return ctx.Err()
}

// begin lets each begin when it is due, as far as there is room.
func (l *load) begin(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var room time.Time // when there was some again
	for k := range l.p.planned() {
		due := l.begun.Add(l.p.due(k))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		held := false
		select {
		case l.room <- struct{}{}:
		default:
			held = true
			select {
			case l.room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			room = time.Now()
		}
		since := due
		if room.After(due) { // what waited for room, and what waited behind it, is not late
			since = room
		}
		l.wg.Go(func() {
			defer func() { <-l.room }()
			l.one(ctx, k, time.Since(since), held)
		})
	}
}

// one is one of many: it does the steps with calls of its own.
func (l *load) one(ctx context.Context, k int, late time.Duration, held bool) {
	l.count(func(t *tally) {
		t.begun++
		t.late = max(t.late, late)
		if held {
			t.held++
		}
	})
	feed := l.feed.iteration()
	defer feed.end()
	it := *l.r
	it.state = &state{calls: map[string]*gateway.Call{}, sessions: calls{}}
	it.feed = feed
	it.o.Progress = nil
	err := l.steps(ctx, &it, k)
	it.hangUpAll(ctx)
	l.count(func(t *tally) {
		t.ended++
		if err != nil {
			t.failed++
		}
	})
}

// steps does them; behind one that fails the others are not done.
func (l *load) steps(ctx context.Context, it *run, k int) error {
	for i := range l.p.steps {
		s := &l.p.steps[i]
		began := it.log.Now()
		if s.moves() || i == 0 {
			it.anchor = began
		}
		err := s.action.do(ctx, it, l.n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.took(i, it.log.Now()-began, err != nil)
		if err != nil {
			l.failed(k, s, it, err)
			return err
		}
	}
	return nil
}

func (l *load) took(i int, d time.Duration, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.times[i]
	t.count++
	if failed {
		t.failed++
		return
	}
	_ = t.hist.RecordValue(min(max(d.Microseconds(), 1), int64(time.Hour/time.Microsecond)))
}

func (l *load) failed(k int, s *Step, it *run, err error) {
	l.mu.Lock()
	l.told++
	told := l.told
	l.mu.Unlock()
	if told > maxTold {
		return
	}
	why := err.Error()
	if errors.Is(err, errNotSeen) {
		why = "it did not come in time"
	}
	l.record(loadFailed{step: l.n, iteration: k + 1, text: s.Text, why: why, sessions: it.feed.sessions()})
}

func (l *load) count(add func(t *tally)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.total)
	add(&l.second)
	l.peak = max(l.peak, l.total.begun-l.total.ended)
}

// hangUpAll ends the calls of one that are still up.
func (r *run) hangUpAll(ctx context.Context) {
	r.state.mu.Lock()
	calls := r.state.calls
	r.state.calls = nil
	r.state.mu.Unlock()
	for _, id := range names(calls) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_ = calls[id].Hangup(ctx) // most have ended
		cancel()
	}
}

// Times of a load's lines.
const (
	tellEvery = 250 * time.Millisecond
	secondly  = 4 // of them make a second
)

// tick tells how it goes: four times a second to who watches, once in the trace.
func (l *load) tick(ctx context.Context) {
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if l.r.o.Load != nil {
			l.r.o.Load(l.state())
		}
		if n%secondly == 0 {
			l.closeSecond()
		}
	}
}

func (l *load) state() LoadState {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LoadState{
		Step: l.n, Text: l.r.s.Steps[l.n-1].Text, Planned: l.p.planned(), Begun: l.total.begun, Ended: l.total.ended, Failed: l.total.failed,
		Running: l.total.begun - l.total.ended, Late: l.second.late, Held: l.total.held,
	}
	if d := time.Since(l.last).Seconds(); d > 0 {
		s.Rate = float64(l.second.begun) / d
	}
	return s
}

// closeSecond records how the last second went, and what exsim itself did to it.
func (l *load) closeSecond() {
	self := l.self.look()
	l.mu.Lock()
	now := time.Now()
	took := now.Sub(l.last).Seconds()
	s, running := l.second, l.total.begun-l.total.ended
	l.second, l.last = tally{}, now
	rate := float64(s.begun) / max(took, 0.75) // the last one is short
	l.seen.note(rate, s.late, self)
	l.mu.Unlock()
	l.record(loadSecond{l.n, now.Sub(l.begun), s, running, rate, self})
}

func (l *load) end(lost int64) {
	if time.Since(l.last) > tellEvery || l.second != (tally{}) {
		l.closeSecond()
	}
	for i, t := range l.times {
		l.record(loadStep{l.n, i + 1, l.p.steps[i].Verb, l.p.steps[i].Text, t})
	}
	took := time.Since(l.begun)
	l.record(loadEnded{n: l.n, total: l.total, took: took, peak: l.peak, lost: lost, seen: &l.seen, taken: l.feed.count("mail.received"), stored: l.feed.count("mail.delivered")})
}

// verdictOfBench says whether exsim itself kept up.
type verdictOfBench struct {
	good, bad      float64 // highest rate of a second that went well, lowest of one that did not
	late           time.Duration
	scheduling     time.Duration
	unsent, unread int
	why            []string
}

// What exsim may be late by with a begin, and its goroutines may wait for a
// processor, and still be a judge of times in milliseconds.
const (
	tolerable     = 50 * time.Millisecond
	tolerableWait = 25 * time.Millisecond
)

func (b *verdictOfBench) note(rate float64, late time.Duration, self selfSeen) {
	b.late, b.scheduling = max(b.late, late), max(b.scheduling, self.scheduling)
	b.unsent, b.unread = b.unsent+self.unsent, b.unread+self.unread
	before := len(b.why)
	for _, trouble := range []struct {
		is   bool
		text string
	}{
		{late > tolerable, fmt.Sprintf("began %s late", late.Round(time.Millisecond))},
		{self.scheduling > tolerableWait, fmt.Sprintf("its goroutines waited %s for a processor", self.scheduling.Round(time.Millisecond))},
		{self.unsent > 0, fmt.Sprintf("%d RTP packets were not taken by its own sockets", self.unsent)},
		{self.unread > 0, fmt.Sprintf("%d datagrams were dropped at its own sockets", self.unread)},
	} {
		if trouble.is {
			b.why = append(b.why, trouble.text)
		}
	}
	switch {
	case len(b.why) == before:
		b.good = max(b.good, rate)
	case rate > 0 && (b.bad == 0 || rate < b.bad): // while nothing begins there is no rate to blame
		b.bad = rate
	}
}

// bottleneck reports whether exsim did not keep up at some time.
func (b *verdictOfBench) bottleneck() bool { return len(b.why) > 0 }

// trusted is the rate until which it did.
func (b *verdictOfBench) trusted() float64 {
	if b.bad > 0 {
		return min(b.good, b.bad)
	}
	return b.good
}

// reasons are the first of each kind.
func (b *verdictOfBench) reasons() []string {
	const most = 4
	return b.why[:min(len(b.why), most)]
}
