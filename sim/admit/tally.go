package admit

import (
	"net/netip"
	"sync"
	"time"
)

// tally keeps a stranger who comes again and again from filling the trace: one
// refusal of an address a second is told, the others are counted.
type tally struct {
	mu   sync.Mutex
	seen map[netip.Addr]*told
}

// told is when an address was last told of, and how many are untold since.
type told struct {
	at     time.Time
	untold int
}

const (
	tallyEvery = time.Second
	maxTally   = 1024 // addresses; more of them share one entry
)

// note counts a refusal; tell says whether it is to be told, with those before
// it that were not.
func (t *tally) note(addr netip.Addr, now time.Time) (untold int, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = map[netip.Addr]*told{}
	}
	if t.seen[addr] == nil && len(t.seen) >= maxTally {
		t.forget(now)
		if len(t.seen) >= maxTally {
			addr = netip.Addr{}
		}
	}
	e := t.seen[addr]
	if e == nil {
		e = &told{}
		t.seen[addr] = e
	}
	if now.Sub(e.at) < tallyEvery {
		e.untold++
		return 0, false
	}
	untold, e.at, e.untold = e.untold, now, 0
	return untold, true
}

// forget drops the addresses of which nothing is untold.
func (t *tally) forget(now time.Time) {
	for a, e := range t.seen {
		if e.untold == 0 && now.Sub(e.at) >= tallyEvery {
			delete(t.seen, a)
		}
	}
}
