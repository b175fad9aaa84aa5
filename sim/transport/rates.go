package transport

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/profile"
)

// rates holds messages against message-rate-limit.
type rates struct {
	limit int
	of    profile.RateSource

	mu    sync.Mutex
	began time.Time
	taken map[string]int // in this minute, by source
}

func newRates(f *profile.ConnectorSettings) *rates {
	return &rates{limit: f.MessageRateLimit, of: f.MessageRateSource, taken: map[string]int{}}
}

// take counts a message and reports whether it may come.
func (r *rates) take(from netip.Addr, user string, now time.Time) bool {
	if r.limit == 0 {
		return true
	}
	key := map[profile.RateSource]string{profile.RateIP: from.String(), profile.RateUser: strings.ToLower(user)}[r.of]
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.began) >= time.Minute {
		r.began = now
		clear(r.taken)
	}
	r.taken[key]++
	return r.of == profile.RateNone || r.taken[key] <= r.limit
}
