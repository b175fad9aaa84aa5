package rtp

import (
	"container/heap"
	"sync"
	"time"
)

// tick is the grain of the sending clock.
const tick = 500 * time.Microsecond

// pacer is the one clock that sends for all streams. It ticks only while a
// stream has something due.
type pacer struct {
	mu     sync.Mutex
	due    dueHeap
	wake   chan struct{}
	done   chan struct{}
	closed bool
	late   Exactness
	delays [delayBuckets]int
}

// Delays are counted by steps, the last of which has all that are longer.
const (
	delayStep    = 250 * time.Microsecond
	delayBuckets = 100
)

// Exactness tells how far the sending clock was behind, and what was lost at
// our own sockets.
type Exactness struct {
	Ticks int           // sends that were due
	Late  int           // of them, more than 10 ms late
	Worst time.Duration // the longest delay
	// P99 is a delay that one send in a hundred exceeds, to 0.25 ms.
	P99 time.Duration

	Unsent int // packets that a socket did not take
	Unread int // datagrams that came, and were dropped because we read too late
}

func newPacer(wg *sync.WaitGroup) *pacer {
	p := &pacer{wake: make(chan struct{}, 1), done: make(chan struct{})}
	wg.Go(p.run)
	return p
}

// schedule asks for s.tick at a time; a stream stands in the heap once, for
// the earliest time asked for.
func (p *pacer) schedule(s *Stream, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.slot > 0 && !at.Before(s.due):
		return
	case s.slot > 0:
		s.due = at
		heap.Fix(&p.due, s.slot-1)
	default:
		s.due = at
		heap.Push(&p.due, s)
	}
	if len(p.due) == 1 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *pacer) cancel(s *Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.slot > 0 {
		heap.Remove(&p.due, s.slot-1)
	}
}

func (p *pacer) run() {
	for {
		select {
		case <-p.done:
			return
		case <-p.wake:
		}
		t := newTicker(tick)
		for p.fire() && !p.over() {
			t.wait()
		}
		t.stop()
	}
}

func (p *pacer) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// fire runs every stream that is due; false when none is left in the heap.
func (p *pacer) fire() bool {
	for {
		p.mu.Lock()
		if len(p.due) == 0 {
			p.mu.Unlock()
			return false
		}
		now := time.Now() // those before may have taken their time
		s := p.due[0]
		late := now.Sub(s.due)
		if late < 0 {
			p.mu.Unlock()
			return true
		}
		heap.Pop(&p.due)
		p.late.Ticks++
		p.late.Worst = max(p.late.Worst, late)
		p.delays[min(int(late/delayStep), delayBuckets-1)]++
		if late > 10*time.Millisecond {
			p.late.Late++
		}
		p.mu.Unlock()
		if next := s.tick(now); !next.IsZero() {
			p.schedule(s, next)
		}
	}
}

func (p *pacer) exactness() Exactness {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.late
	over := e.Ticks / 100 // so many may be longer
	for i := delayBuckets - 1; i >= 0 && e.Ticks > 0; i-- {
		if over -= p.delays[i]; over < 0 {
			e.P99 = min(time.Duration(i+1)*delayStep, e.Worst)
			break
		}
	}
	return e
}

func (p *pacer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
}

// dueHeap orders streams by their due time; a stream keeps its slot, from 1.
type dueHeap []*Stream

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	s := x.(*Stream)
	*h = append(*h, s)
	s.slot = len(*h)
}

func (h *dueHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.slot = 0
	return s
}
