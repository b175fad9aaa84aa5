package scenarios

import (
	"context"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// dispatcher reads the timeline once for all that run at the same time, and
// hands each the events of its calls.
type dispatcher struct {
	mu     sync.Mutex
	owners map[trace.Session]*feed         // nil is that of a call that is over
	now    time.Duration                   // time of the last event
	next   uint64                          // number of the event to come
	last   time.Time                       // when the last event of a call of ours was read
	early  map[trace.Session][]trace.Event // of calls that nobody has named yet
	order  []unnamed                       // in which they came
	counts map[string]int64                // events by name, and recipients of mail.received
	voice  map[trace.Session]bool          // sessions in which Unified Messaging hands over
	mails  int64                           // that it has handed over, less those received
}

// unnamed is a call that nobody has named, or not any more.
type unnamed struct {
	session trace.Session
	at      time.Duration
}

// earlyTime is how long its events are kept.
const earlyTime = 30 * time.Second

func newDispatcher() *dispatcher {
	return &dispatcher{owners: map[trace.Session]*feed{}, early: map[trace.Session][]trace.Event{}, counts: map[string]int64{}, voice: map[trace.Session]bool{}}
}

// follow hands on events from one on, until its context ends.
func (d *dispatcher) follow(ctx context.Context, log *trace.Log, from uint64) {
	for e := range log.FollowFrom(ctx, from) {
		d.take(e)
	}
}

func (d *dispatcher) take(e trace.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = e.Seq + 1
	if _, ours := d.owners[e.Session]; ours {
		d.last = time.Now()
	}
	d.note(&e)
	for len(d.order) > 0 && e.At-d.order[0].at > earlyTime {
		s := d.order[0].session
		if delete(d.early, s); d.owners[s] == nil {
			delete(d.owners, s)
		}
		d.order = d.order[1:]
	}
	d.now = e.At
	for _, s := range [...]trace.Session{e.Session, e.Cause} {
		if s.Kind == "" {
			continue
		}
		f, known := d.owners[s]
		if f != nil {
			f.add(e)
		}
		if known || s.Kind != "call" {
			continue
		}
		if d.early[s] == nil {
			d.order = append(d.order, unnamed{s, e.At})
		}
		d.early[s] = append(d.early[s], e)
	}
}

// note counts what tells where mail is.
func (d *dispatcher) note(e *trace.Event) {
	switch e.Name {
	case "smtp.connected":
		if e.Cause.Kind == "call" {
			d.voice[e.Session] = true
		}
	case "mail.received":
		d.counts[e.Name] += e.Int("count")
		if d.voice[e.Session] {
			d.mails--
			delete(d.voice, e.Session)
		}
	case "um.submitted":
		d.mails++
	case "mail.delivered", "send.queued":
		d.counts[e.Name]++
	}
}

func (d *dispatcher) count(name string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[name]
}

// mailTime is how long mail may be on its way behind the last that ended.
const mailTime = 10 * time.Second

// quietTime is how long nothing more must have happened in calls that are over:
// what Unified Messaging makes of them comes behind their ends.
const quietTime = 300 * time.Millisecond

// settled waits until all events until a number are read, the calls are quiet and
// no mail is on its way, and returns how much never came.
func (d *dispatcher) settled(ctx context.Context, until uint64) (lost int64) {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	look := time.NewTicker(quietTime / 4)
	defer look.Stop()
	for {
		d.mu.Lock()
		lost = max(d.mails, 0) + d.counts["mail.received"] - d.counts["mail.delivered"] - d.counts["send.queued"]
		over := lost <= 0 && d.next >= until && time.Since(d.last) > quietTime
		d.mu.Unlock()
		if over {
			return 0
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return max(lost, 0)
		}
	}
}

// feed are the events of one that runs.
type feed struct {
	d      *dispatcher
	mu     sync.Mutex
	events []trace.Event
	mine   []trace.Session
	wake   chan struct{}
}

func (d *dispatcher) iteration() *feed { return &feed{d: d, wake: make(chan struct{})} }

// claim says that a call is this one's.
func (f *feed) claim(s trace.Session) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.owners[s] = f
	f.mine = append(f.mine, s)
	for _, e := range f.d.early[s] {
		f.add(e)
	}
	delete(f.d.early, s)
}

func (f *feed) add(e trace.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
	close(f.wake)
	f.wake = make(chan struct{})
}

// end lets its calls go.
func (f *feed) end() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	for _, s := range f.mine {
		f.d.owners[s] = nil
		f.d.order = append(f.d.order, unnamed{s, f.d.now})
	}
}

// sessions names its calls.
func (f *feed) sessions() string {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	list := make([]string, len(f.mine))
	for i, s := range f.mine {
		list[i] = s.String()
	}
	return strings.Join(list, " ")
}

// follow yields its events, and waits for more.
func (f *feed) follow(ctx context.Context) iter.Seq[trace.Event] {
	return func(yield func(trace.Event) bool) {
		for i := 0; ; {
			f.mu.Lock()
			wake, more := f.wake, i < len(f.events)
			var e trace.Event
			if more {
				e = f.events[i]
				i++
			}
			f.mu.Unlock()
			if more {
				if !yield(e) {
					return
				}
				continue
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return
			}
		}
	}
}
