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
	until map[trace.Session]map[*Stream]time.Time // zero: not over yet
}

// NewSecrets makes one that holds none.
func NewSecrets() *Secrets { return &Secrets{until: map[trace.Session]map[*Stream]time.Time{}} }

// onTheWay is how long digits may be on their way to the other end.
const onTheWay = time.Second

// hide says whether an end of a call hides digits from now on.
func (s *Secrets) hide(end *Stream, hide bool) {
	if s == nil || end.session.Kind == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := s.until[end.session]
	_, hidden := ends[end]
	switch {
	case hide && ends == nil:
		s.until[end.session] = map[*Stream]time.Time{end: {}}
	case hide:
		ends[end] = time.Time{}
	case hidden:
		ends[end] = time.Now().Add(onTheWay)
	}
}

// forget lets go of an end that is closed.
func (s *Secrets) forget(end *Stream) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ends := s.until[end.session]; ends != nil {
		if delete(ends, end); len(ends) == 0 {
			delete(s.until, end.session)
		}
	}
}

// hiddenFrom reports whether the other end of a call hides what is said in it.
func (s *Secrets) hiddenFrom(end *Stream) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, at := range s.until[end.session] {
		if other != end && (at.IsZero() || time.Now().Before(at)) {
			return true
		}
	}
	return false
}
