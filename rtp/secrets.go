package rtp

import (
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Secrets are the calls in which digits are a secret now. Engines whose streams
// are two ends of one call share it: what one end hides, the other does not tell.
// A nil one holds none.
type Secrets struct {
	mu    sync.Mutex
	until map[trace.Session]time.Time // zero: not over yet
}

// NewSecrets makes one that holds none.
func NewSecrets() *Secrets { return &Secrets{until: map[trace.Session]time.Time{}} }

// onTheWay is how long digits may be on their way to the other end.
const onTheWay = time.Second

func (s *Secrets) hide(session trace.Session, hide bool) {
	if s == nil || session.Kind == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for other, at := range s.until {
		if !at.IsZero() && at.Before(now) {
			delete(s.until, other)
		}
	}
	_, hidden := s.until[session]
	switch {
	case hide:
		s.until[session] = time.Time{}
	case hidden:
		s.until[session] = now.Add(onTheWay)
	}
}

func (s *Secrets) holds(session trace.Session) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, hidden := s.until[session]
	return hidden && (at.IsZero() || time.Now().Before(at))
}
