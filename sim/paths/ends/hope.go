package ends

import (
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths"
)

// hope is what calls have come to, by their path: where none comes through, not
// every port is waited for in vain.
type hope struct {
	mu     sync.Mutex
	failed map[*paths.Flow]int    // calls, -1 once one did not fail
	lost   map[*paths.Flow]int    // ports, -1 once one was not lost
	why    map[*paths.Flow]string // calls failed
}

func newHope() *hope {
	return &hope{failed: map[*paths.Flow]int{}, lost: map[*paths.Flow]int{}, why: map[*paths.Flow]string{}}
}

// inVain is how many must have failed, and none not.
const inVain = 2 * callers

// shortPatience is for an answer that nobody expects any more.
const shortPatience = 200 * time.Millisecond

// called notes a call, and why it failed, "" if it did not.
func (h *hope) called(by *paths.Flow, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tally(h.failed, by, why != "")
	h.why[by] = why
}

func (h *hope) asked(by *paths.Flow, isLost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tally(h.lost, by, isLost)
}

func tally(counts map[*paths.Flow]int, by *paths.Flow, bad bool) {
	switch {
	case !bad:
		counts[by] = -1
	case counts[by] >= 0:
		counts[by]++
	}
}

// left says why no more calls are placed, "" if they are, and whether answers are
// still expected in them.
func (h *hope) left(by *paths.Flow) (why string, answers bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed[by] >= inVain {
		return h.why[by], false
	}
	return "", h.lost[by] < inVain
}
