package scenarios

import (
	"runtime/metrics"
	"time"

	"github.com/exsim/exsim/sim/lab"
)

// selfWatch watches exsim itself: how long its goroutines wait for a processor,
// and what its sockets lose.
type selfWatch struct {
	lab            *lab.Lab
	sample         []metrics.Sample
	counts         []uint64 // of the histogram, when it was looked at last
	unsent, unread int
}

// selfSeen is what was seen since the last look.
type selfSeen struct {
	scheduling     time.Duration // what one wait in a hundred exceeds
	unsent, unread int
}

func newSelfWatch(l *lab.Lab) *selfWatch {
	w := &selfWatch{lab: l, sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	w.look()
	return w
}

func (w *selfWatch) look() (seen selfSeen) {
	metrics.Read(w.sample)
	if w.sample[0].Value.Kind() == metrics.KindFloat64Histogram {
		h := w.sample[0].Value.Float64Histogram()
		seen.scheduling = w.exceeded(h)
		w.counts = append(w.counts[:0], h.Counts...)
	}
	unsent, unread := 0, 0
	for _, x := range w.lab.Exactness() {
		unsent, unread = unsent+x.Unsent, unread+x.Unread
	}
	seen.unsent, seen.unread = max(unsent-w.unsent, 0), max(unread-w.unread, 0)
	w.unsent, w.unread = unsent, unread
	return seen
}

// exceeded is what one in a hundred of the waits since the last look exceeds.
func (w *selfWatch) exceeded(h *metrics.Float64Histogram) time.Duration {
	if len(w.counts) != len(h.Counts) {
		return 0
	}
	all := uint64(0)
	for i, n := range h.Counts {
		all += n - w.counts[i]
	}
	rest := all / 100
	for i := len(h.Counts) - 1; i >= 0; i-- {
		n := h.Counts[i] - w.counts[i]
		if n > rest {
			return time.Duration(h.Buckets[i] * float64(time.Second)) // its lower bound
		}
		rest -= n
	}
	return 0
}
