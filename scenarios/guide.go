package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// guided reports whether a person does a step at the device.
func (s *Scenario) guided(step *Step) bool {
	_, ok := step.action.(guide)
	return ok && s.Actors[s.actor(step)].Device == External
}

// guide is an action that a person can do at an external device.
type guide interface {
	action
	// instruction says what to do, in words for whoever stands at the device.
	instruction(s *Scenario) string
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
	text := r.s.mask(g.instruction(r.s))
	r.src.Record(trace.Session{}, trace.Session{}, nowEvent{n, text}, nil)
	if r.o.Now != nil {
		r.o.Now(n, text)
	}
	return g.watch(ctx, r)
}

func (r *run) patience() time.Duration { return cmp.Or(r.o.Patience, patience) }

// within is the time for something beside which a person may have to do something
// first.
func (r *run) within(limit time.Duration) time.Duration {
	if r.besideGuided {
		limit += r.patience()
	}
	return limit
}

// guides reports whether a person does one of some steps, by their indexes.
func (s *Scenario) guides(first, last int) bool {
	for i := first; i < last; i++ {
		if s.guided(&s.Steps[i]) {
			return true
		}
	}
	return false
}

// since waits for an event from now on, at most for as long as a person may
// take.
func (r *run) since(ctx context.Context, begin uint64, limit time.Duration, match func(e *trace.Event) bool) *trace.Event {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for e := range r.follow(ctx) {
		if e.Seq >= begin && match(&e) {
			return &e
		}
	}
	return nil
}

// inCall names a call where the device has more than one.
func (s *Scenario) inCall(id string) string {
	var ids []string
	for i := range s.Steps {
		if id := s.Steps[i].opens(); id != "" && s.Actors[s.actor(&s.Steps[i])].Device == External {
			ids = append(ids, id)
		}
	}
	if len(ids) < 2 || !slices.Contains(ids, id) {
		return ""
	}
	return fmt.Sprintf(" (%s, call %d of %d)", id, slices.Index(ids, id)+1, len(ids))
}

func (c *call) instruction(s *Scenario) string {
	how := map[string]string{
		"no-answer": "let it ring out", "user-busy": "while it is busy", "unconditional": "with all its calls forwarded to " + c.Dial,
		"do-not-disturb": "with do not disturb", "unavailable": "while it is unplugged",
	}
	text := fmt.Sprintf("call extension %s from %s, %s, so that the call comes to %s", c.Diverted, c.Caller, how[c.Reason], c.Dial)
	switch {
	case c.To != "":
		text = fmt.Sprintf("call %s at %s from %s", c.Dial, c.To, c.Caller)
	case c.Diverted == "":
		text = fmt.Sprintf("call %s from %s", c.Dial, c.Caller)
	case how[c.Reason] == "":
		text = fmt.Sprintf("call %s from %s so that it is diverted to %s (%s)", c.Diverted, c.Caller, c.Dial, c.Reason)
	}
	return text + s.inCall(c.ID)
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
	deadline := time.Now().Add(r.patience())
	end := deadline.Add(c.Within) // whatever the device goes on trying
	for {
		e := r.since(ctx, begin, time.Until(deadline), func(e *trace.Event) bool { return c.concerns(e, object, own) && !r.others(c, e) })
		if e == nil {
			break
		}
		begin = e.Seq + 1
		if refused == "" || e.Session.Kind != "" { // what is refused at accept may be OPTIONS, again and again
			deadline = time.Now().Add(c.Within)
		}
		if deadline.After(end) {
			deadline = end
		}
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

// others reports whether an event is of another call of the device: one that has
// its name already, or, of those that are under way beside this one, that which
// the calling number tells.
func (r *run) others(c *call, e *trace.Event) bool {
	for id, session := range r.sessions() {
		if e.Session.Kind != "" && session == e.Session && id != c.ID {
			return true
		}
	}
	caller := e.Text("caller")
	if caller == "" || caller == c.Caller {
		return false
	}
	own, _ := r.s.opening(c.ID)
	for i := range r.s.Steps {
		step := &r.s.Steps[i]
		other, ok := step.action.(*call)
		if ok && other.From == c.From && other.Caller == caller && step.group != 0 && step.group == r.s.Steps[own-1].group {
			return true
		}
	}
	return false
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

func (t *talk) instruction(s *Scenario) string {
	tone := "wait for the tone, then "
	for i := range s.Steps {
		if s.Steps[i].action == action(t) {
			break
		}
		before, talked := s.Steps[i].action.(*talk)
		seen, waited := s.Steps[i].action.(*expect)
		if talked && before.Call == t.Call || waited && seen.Call == t.Call && seen.Event == t.After {
			tone = "" // it has been
		}
	}
	return fmt.Sprintf("%stalk for %s", tone, t.For) + s.inCall(t.Call)
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

func (d *dtmf) instruction(s *Scenario) string { return "press " + d.Digits + s.inCall(d.Call) }

// prepare waits for the event behind which to press them.
func (d *dtmf) prepare(ctx context.Context, r *run) error {
	return r.behind(ctx, d.Call, d.After, d.Within)
}

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
		return endsWith(pressed, d.Digits) || e.Session == session && e.Name == "um.ended"
	})
	if !endsWith(pressed, d.Digits) {
		return fmt.Errorf("the keys that came as telephone events are %q", r.s.mask(pressed))
	}
	return nil
}

// endsWith compares keys; those of a PIN stand in the trace as question marks.
func endsWith(pressed, digits string) bool {
	if len(pressed) < len(digits) {
		return false
	}
	for i, key := range []byte(pressed[len(pressed)-len(digits):]) {
		if key != digits[i] && key != '?' {
			return false
		}
	}
	return true
}

// prepare waits for the event behind which to hang up.
func (h *hangup) prepare(ctx context.Context, r *run) error {
	return r.behind(ctx, h.Call, h.After, h.Within)
}

// behind waits for an event of a call, if one is named.
func (r *run) behind(ctx context.Context, call, event string, limit time.Duration) error {
	session := r.sessions()[call]
	if event != "" && r.since(ctx, 0, limit, func(e *trace.Event) bool { return e.Name == event && e.Session == session }) == nil {
		return fmt.Errorf("no %s within %s", event, limit)
	}
	return nil
}

func (h *hangup) instruction(s *Scenario) string { return "hang up" + s.inCall(h.Call) }

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
