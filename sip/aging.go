package sip

import (
	"sync"
	"sync/atomic"
	"time"
)

// aging is a set of keyed values that forgets: a value stays for at least one
// and at most one and a half times its life, counted from its last use. Three
// generations take turns, so that forgetting frees whole maps and costs no
// timer for each value.
type aging[V any] struct {
	mu    sync.Mutex
	life  time.Duration
	gens  [3]map[uint64]V // newest first
	timer *time.Timer     // runs while there is something to forget
}

func newAging[V any](life time.Duration) *aging[V] { return &aging[V]{life: life} }

// get finds a value; with keep its life begins anew.
func (a *aging[V]) get(key uint64, keep bool) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, g := range a.gens {
		if v, ok := g[key]; ok {
			if keep && i > 0 {
				delete(g, key)
				a.putLocked(key, v)
			}
			return v, true
		}
	}
	var none V
	return none, false
}

// getOr finds a value or puts the next of a counter.
func getOr(a *aging[uint32], key uint64, counter *atomic.Uint32) uint32 {
	if v, ok := a.get(key, true); ok {
		return v
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.gens[0][key]; ok {
		return v
	}
	v := counter.Add(1)
	a.putLocked(key, v)
	return v
}

func (a *aging[V]) put(key uint64, v V) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.putLocked(key, v)
}

func (a *aging[V]) putLocked(key uint64, v V) {
	if a.gens[0] == nil {
		a.gens[0] = map[uint64]V{}
	}
	a.gens[0][key] = v
	if a.timer == nil {
		a.timer = time.AfterFunc(a.life/2, a.turn)
	}
}

// turn drops the oldest generation.
func (a *aging[V]) turn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gens = [3]map[uint64]V{nil, a.gens[0], a.gens[1]}
	if a.gens[1] == nil && a.gens[2] == nil || a.timer == nil {
		a.timer = nil
		return
	}
	a.timer = time.AfterFunc(a.life/2, a.turn)
}

func (a *aging[V]) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	a.gens = [3]map[uint64]V{}
}
