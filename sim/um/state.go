package um

import (
	"sync/atomic"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// State is the component state of Unified Messaging on a server
// (Set-ServerComponentState). The zero State is active.
type State struct{ inactive atomic.Bool }

// Set puts the server into maintenance or back.
func (s *State) Set(inactive bool) { s.inactive.Store(inactive) }

// inactive refuses everything while a server is in maintenance: new calls, and
// OPTIONS, so that who asks sends the calls elsewhere.
func (c *Config) inactive(tx *sip.ServerTx, src *trace.Source, s *State) bool {
	if !s.inactive.Load() {
		return false
	}
	no := newRefusal("maintenance", c.Profile.Refusals.Maintenance,
		"Unified Messaging is set inactive on server "+src.Host(), "set it active again: the step maintenance, or typed into exsim up: maintenance "+src.Host()+" off")
	if tx.Method() == "INVITE" {
		c.refuse(tx, src, nil, no)
	} else {
		tx.Respond(sip.Response{Status: no.answer.Code, Reason: no.answer.Reason})
	}
	return true
}
