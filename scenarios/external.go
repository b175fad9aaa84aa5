package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Device is who plays an actor.
type Device string

// A simulated device is part of the run; an external one is the device under
// test: the run says what to do on it and waits.
const (
	Simulated Device = "simulated"
	External  Device = "external"
)

// SetDevice says who plays an actor, or, without a name, all of them.
func (s *Scenario) SetDevice(actor string, d Device) error {
	if d != Simulated && d != External {
		return fmt.Errorf("device %q is neither simulated nor external", d)
	}
	found := false
	var names []string
	for name, a := range s.Actors {
		names = append(names, name)
		if actor == "" || actor == name {
			a.Device, found = d, true
			s.Actors[name] = a
		}
	}
	if !found {
		slices.Sort(names)
		return fmt.Errorf("%s has no actor %q; %s", s.Name, actor, yamlfile.Suggest(actor, names))
	}
	return nil
}

// Guided reports whether a person plays an actor.
func (s *Scenario) Guided() bool {
	for _, a := range s.Actors {
		if a.Device == External {
			return true
		}
	}
	return false
}

// Playable reports what nobody can do at an external device: a fault, which is
// its own affair, or a step that no person can take. With catches it looks at
// those, too.
func (s *Scenario) Playable(catches bool) error {
	list := s.Faults
	if catches {
		list = slices.Concat(list, s.Catches)
	}
	for _, f := range list {
		if s.Actors[f.Actor].Device == External {
			return fmt.Errorf("%s: the fault %s cannot be planted in %s, which is an external device", s.Name, f.Do, f.Actor)
		}
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		actor := s.actor(step)
		_, can := step.action.(guide)
		_, does := step.action.(observer)
		if s.Actors[actor].Device == External && !can && !does {
			return fmt.Errorf("%s: step %d, %s: no person can do that at %s, which is an external device", s.Name, i+1, step.Verb, actor)
		}
		if f, ok := step.action.(*plantFault); ok && s.Actors[f.Actor].Device == External {
			return fmt.Errorf("%s: step %d: the fault %s cannot be planted in %s, which is an external device", s.Name, i+1, f.Do, f.Actor)
		}
		if c, ok := step.action.(*call); ok && c.Raw != nil && s.Actors[actor].Device == External {
			return fmt.Errorf("%s: step %d: raw: %s is an external device: it sends what it sends", s.Name, i+1, actor)
		}
	}
	for name, a := range s.Actors {
		if a.Role == roleBox && s.Actors[a.Between].Device == External {
			return fmt.Errorf("%s: %s is simulated, and the traffic of %s, an external device, does not pass through it", s.Name, name, a.Between)
		}
	}
	return nil
}

// SetAddresses gives servers, and actors with their gateway objects, other
// addresses, by name.
func (s *Scenario) SetAddresses(addresses map[string]netip.Addr) error {
	o := s.Organisation
	objects := map[string]*org.UMIPGateway{} // as they were before any has moved
	for name, a := range s.Actors {
		objects[name] = o.GatewayAt(a.Address)
	}
	for name, addr := range addresses {
		s.moved = append(s.moved, fmt.Sprintf("--address %s=%s", name, addr))
		a, isActor := s.Actors[name]
		server := o.ServerNamed(name)
		switch {
		case server != nil:
			server.Address = addr
		case isActor:
			if objects[name] != nil {
				objects[name].Address = addr
			}
			a.Address = addr
			s.Actors[name] = a
		default:
			names := slices.Collect(maps.Keys(s.Actors))
			for _, server := range o.Servers {
				names = append(names, server.Name)
			}
			slices.Sort(names)
			return fmt.Errorf("%s has no server and no actor %q; %s", s.Name, name, yamlfile.Suggest(name, names))
		}
	}
	slices.Sort(s.moved)
	return nil
}

// guided reports whether a person does a step at the device.
func (s *Scenario) guided(step *Step) bool {
	_, ok := step.action.(guide)
	return ok && s.Actors[s.actor(step)].Device == External
}

// guide is an action that a person can do at an external device.
type guide interface {
	action
	// instruction says what to do, in words for whoever stands at the device.
	instruction() string
	// watch waits until it was done, or says what came instead.
	watch(ctx context.Context, r *run) error
}

// preparing is a guide that waits for something before it tells anybody.
type preparing interface {
	prepare(ctx context.Context, r *run) error
}

// patience is how long a person may take, unless Options say otherwise.
const patience = 2 * time.Minute

// guided does a step by telling a person, and watching.
func (r *run) guided(ctx context.Context, n int, g guide) error {
	if p, ok := g.(preparing); ok {
		if err := p.prepare(ctx, r); err != nil {
			return err
		}
	}
	text := r.s.mask(g.instruction())
	r.src.Record(trace.Session{}, trace.Session{}, nowEvent{n, text}, nil)
	if r.o.Now != nil {
		r.o.Now(n, text)
	}
	return g.watch(ctx, r)
}

func (r *run) patience() time.Duration { return cmp.Or(r.o.Patience, patience) }

// since waits for an event from now on, at most for as long as a person may
// take.
func (r *run) since(ctx context.Context, begin uint64, limit time.Duration, match func(e *trace.Event) bool) *trace.Event {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for e := range r.log.Follow(ctx) {
		if e.Seq >= begin && match(&e) {
			return &e
		}
	}
	return nil
}

func (c *call) instruction() string {
	how := map[string]string{
		"no-answer": "let it ring out", "user-busy": "while it is busy", "unconditional": "with all its calls forwarded to " + c.Dial,
		"do-not-disturb": "with do not disturb", "unavailable": "while it is unplugged",
	}
	switch {
	case c.To != "":
		return fmt.Sprintf("call %s at %s from %s", c.Dial, c.To, c.Caller)
	case c.Diverted == "":
		return fmt.Sprintf("call %s from %s", c.Dial, c.Caller)
	case how[c.Reason] == "":
		return fmt.Sprintf("call %s from %s so that it is diverted to %s (%s)", c.Diverted, c.Caller, c.Dial, c.Reason)
	}
	return fmt.Sprintf("call extension %s from %s, %s, so that the call comes to %s", c.Diverted, c.Caller, how[c.Reason], c.Dial)
}

// watch waits for a call of the device, and for what comes of it. Behind a
// refusal the device may try again, elsewhere or otherwise.
func (c *call) watch(ctx context.Context, r *run) error {
	own := r.s.Actors[c.From].Address
	object := ""
	if g := r.s.Organisation.GatewayAt(own); g != nil {
		object = g.Name
	}
	begin := r.mark()
	var session trace.Session
	refused := ""
	limit := r.patience()
	for {
		e := r.since(ctx, begin, limit, func(e *trace.Event) bool { return c.concerns(e, object, own) })
		if e == nil {
			break
		}
		begin, limit = e.Seq+1, c.Within
		if e.Session.Kind != "" && session != e.Session { // or a second attempt under another name
			session = e.Session
			r.named(c.ID, session)
		}
		switch {
		case e.Name == "um.answered" && c.Outcome == "refused":
			return errors.New("the call was answered")
		case e.Name == "um.answered":
			return nil
		case e.Name != "um.redirected":
			refused = e.Text("why")
			if refused == "" {
				refused = "refused at accept: " + e.Text("check")
			}
			if c.Outcome == "refused" {
				return nil
			}
		}
	}
	switch {
	case refused != "":
		return errors.New(refused)
	case session.Kind != "":
		return fmt.Errorf("the call came, and was not answered within %s", c.Within)
	}
	return fmt.Errorf("no call came from %s within %s", own, r.patience())
}

// concerns picks what happens to a call of the device.
func (c *call) concerns(e *trace.Event, object string, own netip.Addr) bool {
	switch e.Name {
	case "um.redirected", "um.answered":
		return e.Text("gateway") == object
	case "um.refused", "admit.refused", "tls.refused":
		peer, err := netip.ParseAddrPort(e.Text("peer"))
		return err == nil && peer.Addr() == own
	}
	return false
}

// mark is the number of the next event.
func (r *run) mark() (next uint64) {
	for e := range r.log.Events() {
		next = e.Seq + 1
	}
	return next
}

// remote is the session of a call of an external device.
func (r *run) remote(id string) (trace.Session, error) {
	if s := r.sessions()[id]; s.Kind != "" {
		return s, nil
	}
	return trace.Session{}, fmt.Errorf("call %s is not up", id)
}

func (t *talk) instruction() string {
	return fmt.Sprintf("wait for the tone, then talk for %s", t.For)
}

func (t *talk) watch(ctx context.Context, r *run) error {
	session, err := r.remote(t.Call)
	if err != nil {
		return err
	}
	e := r.since(ctx, 0, t.Within, func(e *trace.Event) bool { return e.Name == t.After && e.Session == session })
	if e == nil {
		return fmt.Errorf("no %s within %s", t.After, t.Within)
	}
	over := r.since(ctx, e.Seq, t.For, func(e *trace.Event) bool {
		return e.Session == session && (e.Name == "um.recorded" || e.Name == "um.ended")
	})
	if over != nil {
		return fmt.Errorf("%s came before %s were over", over.Name, t.For)
	}
	return ctx.Err()
}

func (d *dtmf) instruction() string { return "press " + d.Digits }

func (d *dtmf) watch(ctx context.Context, r *run) error {
	session, err := r.remote(d.Call)
	if err != nil {
		return err
	}
	pressed := ""
	r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		if e.Session == session && e.Name == "rtp.digit" && e.Text("direction") == "received" {
			pressed += e.Text("digit")
		}
		return strings.HasSuffix(pressed, d.Digits) || e.Session == session && e.Name == "um.ended"
	})
	if !strings.HasSuffix(pressed, d.Digits) {
		return fmt.Errorf("the keys that came as telephone events are %q", r.s.mask(pressed))
	}
	return nil
}

// prepare waits for the event behind which to hang up.
func (h *hangup) prepare(ctx context.Context, r *run) error {
	session := r.sessions()[h.Call]
	if h.After != "" && r.since(ctx, 0, h.Within, func(e *trace.Event) bool { return e.Name == h.After && e.Session == session }) == nil {
		return fmt.Errorf("no %s within %s", h.After, h.Within)
	}
	return nil
}

func (h *hangup) instruction() string { return "hang up" }

func (h *hangup) watch(ctx context.Context, r *run) error {
	session, err := r.remote(h.Call)
	if err != nil {
		return err
	}
	if r.since(ctx, 0, r.patience(), func(e *trace.Event) bool { return e.Session == session && e.Name == "um.ended" }) == nil {
		return fmt.Errorf("the call was not over within %s", r.patience())
	}
	return nil
}
