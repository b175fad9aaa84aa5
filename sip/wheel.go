package sip

import (
	"sync"
	"time"
)

// wheel runs the timers of all transactions: one goroutine-free tick of
// wheelTick for as long as any is set. Setting and stopping cost no
// allocation.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots]entry // list heads
	now   int               // slot that fires next
	set   int               // timers in the wheel
	tick  *time.Timer       // nil while no timer is set
	done  bool
	wg    *sync.WaitGroup // of the endpoint: counts timers that fire
}

const (
	wheelTick  = 100 * time.Millisecond
	wheelSlots = 512 // 51.2 s, more than 64*T1: longer timers go round
)

// entry is a timer inside the struct that it serves.
type entry struct {
	prev, next *entry
	rounds     int    // of the wheel, yet to go
	fire       func() // on a goroutine of its own; must not hold the wheel
}

// start sets a timer, or sets it anew. It fires up to one tick late.
func (w *wheel) start(e *entry, after time.Duration, fire func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(e)
	e.fire = fire
	if w.done {
		return
	}
	ticks := int(after/wheelTick) + 1
	e.rounds = (ticks - 1) / wheelSlots
	head := &w.slots[(w.now+ticks)%wheelSlots]
	if head.next == nil {
		head.next, head.prev = head, head
	}
	e.prev, e.next = head.prev, head
	head.prev.next, head.prev = e, e
	w.set++
	if w.tick == nil {
		w.tick = time.AfterFunc(wheelTick, w.turn)
	}
}

// stop unsets a timer; it may be firing already.
func (w *wheel) stop(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(e)
}

func (w *wheel) unlink(e *entry) {
	if e.next == nil {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	w.set--
}

// turn fires one slot.
func (w *wheel) turn() {
	w.mu.Lock()
	w.now = (w.now + 1) % wheelSlots
	head := &w.slots[w.now]
	for e := head.next; e != nil && e != head && !w.done; {
		next := e.next
		if e.rounds == 0 {
			w.unlink(e)
			w.wg.Go(e.fire)
		}
		e.rounds--
		e = next
	}
	switch {
	case w.done || w.set == 0:
		w.tick = nil
	default:
		w.tick = time.AfterFunc(wheelTick, w.turn)
	}
	w.mu.Unlock()
}

func (w *wheel) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.tick != nil {
		w.tick.Stop()
		w.tick = nil
	}
}
