package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// Level is how hard a server is pressed for resources.
type Level string

// The levels of back pressure
// (https://learn.microsoft.com/en-us/exchange/mail-flow/back-pressure).
const (
	PressureNormal Level = "normal"
	PressureMedium Level = "medium" // mail of hosts outside is refused
	PressureHigh   Level = "high"   // also that of Exchange servers
)

// Pressure is what a server short of resources does.
type Pressure struct {
	Level Level
	// Delay is by how much the answer to MAIL comes later, where it is not
	// refused: 10 s to 55 s before a queue is full.
	Delay time.Duration
	// AtEnd refuses at the end of a message, not at MAIL.
	AtEnd bool
}

// State is what befalls a server's transport while it runs.
type State struct {
	mu       sync.Mutex
	inactive map[string]bool // services
	pressure Pressure
	down     bool
	ids      atomic.Int64 // of messages: InternalId
}

// SetDown says that no service of the server listens, or that they do again.
func (s *State) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *State) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// refuses reports whether pressure refuses mail, of Exchange servers or of others.
func (s *State) refuses(exchange bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pressure.Level == PressureHigh || s.pressure.Level == PressureMedium && !exchange
}

// SetInactive sets a service of the port table inactive, or active again: it
// answers, and takes no mail.
func (s *State) SetInactive(service string, inactive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inactive == nil {
		s.inactive = map[string]bool{}
	}
	s.inactive[service] = inactive
}

// SetPressure sets how hard the server is pressed from now on.
func (s *State) SetPressure(p Pressure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pressure = p
}

func (s *State) isInactive(service string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inactive[service]
}

// pressed is what pressure does to a session's stage: it refuses, or delays.
func (s *session) pressed(atEnd bool) (refused bool) {
	st := s.c.conf.State
	st.mu.Lock()
	p := st.pressure
	st.mu.Unlock()
	switch {
	case p.AtEnd != atEnd:
		return false
	case st.refuses(s.isExchange()):
		return true
	}
	s.delay, s.delayedBy = p.Delay, "Back Pressure"
	return false
}

// isExchange reports whether the peer is an Exchange server.
func (s *session) isExchange() bool {
	return s.who.group == profile.ExchangeServers || s.who.group == profile.ExchangeLegacyServers
}

// Delay tells the engine by how much, and why, the answer that follows comes
// later; once.
func (s *session) Delay() (d time.Duration, why string) {
	d, s.delay = s.delay, 0
	return d, s.delayedBy
}

// stateChanged is what was set.
type stateChanged struct{ what, state string }

func (stateChanged) EventName() string { return "transport.state" }
func (e stateChanged) AppendTo(f *trace.Fields) {
	f.Text("what", e.what)
	f.Text("state", e.state)
}

// Changed records what was set.
func (s *State) Changed(src *trace.Source, what, state string) {
	src.Record(trace.Session{}, trace.Session{}, stateChanged{what, state}, nil)
}
