package sim

import (
	"context"
	"fmt"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// caller places calls from the listeners of a server.
type caller struct {
	x      *Exchange
	server *org.Server
}

func (c caller) Name(callID, fromTag string) trace.Session { return c.x.calls.Name(callID, fromTag) }

func (c caller) Invite(ctx context.Context, row string, inv *sip.Invite) (sip.Answer, error) {
	ours := c.x.Listener(c.server.Name, row)
	if ours == nil {
		return sip.Answer{}, fmt.Errorf("%s has no listener %s: see um-startup-mode", c.server.Name, row)
	}
	ep, ok := ours.serv.(*sip.Endpoint)
	if !ok {
		return sip.Answer{}, fmt.Errorf("%s speaks no SIP", row)
	}
	return ep.Invite(ctx, inv)
}

// PlayOnPhone calls a number and plays a voice message of a mailbox there, as
// the web service of that name makes Unified Messaging do: the message with this
// ID, or the latest. A user has one such call at a time. It returns once the
// telephone has answered; the call goes on by itself.
func (x *Exchange) PlayOnPhone(ctx context.Context, address, id, number string) (trace.Session, error) {
	m := x.conf.Org.MailboxAt(address)
	if m == nil {
		return trace.Session{}, fmt.Errorf("sim: no mailbox has the address %q", address)
	}
	w := x.workersOf(m)
	if w == nil {
		return trace.Session{}, fmt.Errorf("sim: no server has Unified Messaging")
	}
	x.mu.Lock()
	busy, closed := x.playing[m], x.closed
	if !busy && !closed {
		x.playing[m] = true
	}
	x.mu.Unlock()
	if closed {
		return trace.Session{}, errClosed
	}
	if busy {
		return trace.Session{}, fmt.Errorf("sim: a message of %s is being played already", address)
	}
	w.mu.Lock()
	worker := w.takes.worker
	w.mu.Unlock()
	return worker.PlayOnPhone(ctx, m, id, number, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.playing, m)
	})
}

// workersOf are the worker processes of a mailbox's server, or of the first one
// with Unified Messaging where that is another role's.
func (x *Exchange) workersOf(m *org.Mailbox) *workers {
	if w := x.workers[m.Server]; w != nil {
		return w
	}
	for _, s := range x.conf.Org.Servers {
		if w := x.workers[s.Name]; w != nil {
			return w
		}
	}
	return nil
}
