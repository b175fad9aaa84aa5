package um

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"math/big"
	"strings"
	"sync"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// Logons are what is remembered of wrong PINs, over calls and worker processes.
type Logons struct {
	org     *org.Organisation
	profile *profile.Profile

	mu    sync.Mutex
	state map[*org.Mailbox]*logon
}

type logon struct {
	failures int // in a row
	locked   bool
	pin      string // in place of the mailbox's own
}

// NewLogons remembers nothing yet.
func NewLogons(o *org.Organisation, p *profile.Profile) *Logons {
	return &Logons{org: o, profile: p, state: map[*org.Mailbox]*logon{}}
}

// tried is what came of a PIN.
type tried string

const (
	logonRight  tried = "right"
	logonWrong  tried = "wrong"
	logonReset  tried = "reset"  // wrong once more: a new PIN is made and mailed
	logonLocked tried = "locked" // nobody can log on any more
)

// try judges a PIN: with a new one comes that PIN.
func (l *Logons) try(m *org.Mailbox, pin string) (result tried, fresh string, failures int) {
	policy := l.org.PolicyOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(m)
	if s.locked {
		return logonLocked, "", s.failures
	}
	if want := cmp.Or(s.pin, m.PIN); want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(pin)) == 1 {
		s.failures = 0
		return logonRight, "", 0
	}
	s.failures++
	switch s.failures {
	case cmp.Or(policy.LogonsBeforeLock, l.profile.UM.MaxLogons):
		s.locked = true
		return logonLocked, "", s.failures
	case cmp.Or(policy.LogonsBeforePIN, l.profile.UM.LogonsBeforeReset):
		s.pin = newPIN(cmp.Or(policy.MinPINLength, l.profile.UM.MinPINLength))
		return logonReset, s.pin, s.failures
	}
	return logonWrong, "", s.failures
}

// Unlock lets the owner of a mailbox try again.
func (l *Logons) Unlock(m *org.Mailbox) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(m)
	s.locked, s.failures = false, 0
}

func (l *Logons) of(m *org.Mailbox) *logon {
	if l.state[m] == nil {
		l.state[m] = &logon{}
	}
	return l.state[m]
}

// newPIN makes a PIN by chance that nobody can repeat: it is a secret.
func newPIN(digits int) string {
	var b strings.Builder
	for range digits {
		n, err := rand.Int(rand.Reader, big.NewInt(10))
		if err != nil {
			panic(err) // never fails
		}
		b.WriteByte('0' + byte(n.Int64()))
	}
	return b.String()
}
