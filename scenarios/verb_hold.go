package scenarios

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/trace"
)

// hold puts a call on hold.
type hold struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	For    time.Duration `yaml:"for" doc:"how long it stays so before the next step, at most 10m"`
	How    gateway.Media `yaml:"how" default:"sendonly" enum:"sendonly,inactive" doc:"the direction that is offered: sendonly, as with music on hold, or inactive"`
	Within time.Duration `yaml:"within" default:"10s" doc:"time for the answer"`
}

func (h *hold) callID() string { return h.Call }

func (h *hold) check(l *loader) string {
	l.callID(l.at("call"), h.Call)
	if h.For > 10*time.Minute {
		l.f.Report(l.at("for"), "", "hold: for is at most 10m, not %s", h.For)
	}
	text := fmt.Sprintf("%s is put on hold (%s)", h.Call, h.How)
	if h.For > 0 {
		text += " for " + h.For.String()
	}
	return text
}

func (h *hold) do(ctx context.Context, r *run, _ int) error {
	c, err := r.offer(ctx, h.Call, h.How, h.Within)
	if err != nil || h.For == 0 {
		return err
	}
	held, cancel := context.WithTimeout(ctx, h.For)
	defer cancel()
	if c.Wait(held) == nil {
		return errors.New("the call ended on hold")
	}
	return ctx.Err()
}

func (h *hold) instruction(s *Scenario) string {
	how := ""
	if h.How == "inactive" {
		how = ", in both directions if the device can"
	}
	return "put the call on hold" + s.inCall(h.Call) + how
}

func (h *hold) watch(ctx context.Context, r *run) error {
	return r.reoffered(ctx, h.Call, func(d string) bool { return d == "sendonly" || d == "inactive" })
}

// resume takes a call back from hold.
type resume struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	Within time.Duration `yaml:"within" default:"10s" doc:"time for the answer"`
}

func (h *resume) callID() string { return h.Call }

func (h *resume) check(l *loader) string {
	l.callID(l.at("call"), h.Call)
	return h.Call + " is taken back from hold"
}

func (h *resume) do(ctx context.Context, r *run, _ int) error {
	_, err := r.offer(ctx, h.Call, gateway.SendRecv, h.Within)
	return err
}

func (h *resume) instruction(s *Scenario) string {
	return "take the call back from hold" + s.inCall(h.Call)
}

func (h *resume) watch(ctx context.Context, r *run) error {
	return r.reoffered(ctx, h.Call, func(d string) bool { return d != "sendonly" && d != "inactive" })
}

// offer offers the media of a call anew.
func (r *run) offer(ctx context.Context, id string, way gateway.Media, within time.Duration) (*gateway.Call, error) {
	c, err := r.callAfter(ctx, id, "", 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c, c.Offer(ctx, way)
}

// reoffered waits for a re-INVITE of an external device with a direction, and
// for its 200.
func (r *run) reoffered(ctx context.Context, id string, wanted func(direction string) bool) error {
	session, err := r.remote(id)
	if err != nil {
		return err
	}
	got := ""
	e := r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		if e.Session != session || e.Text("method") != "INVITE" {
			return false
		}
		if e.Name == "sip.received" && e.Int("status") == 0 {
			got = directionIn(bodyOf(e.Raw))
		}
		return e.Name == "sip.sent" && e.Int("status") == 200 && wanted(got)
	})
	if e == nil {
		return fmt.Errorf("no such re-INVITE came and was answered within %s; the last one offered %q", r.patience(), got)
	}
	return nil
}

// directionIn is that of the media of a description, sendrecv if it does not say.
func directionIn(body []byte) string {
	for _, d := range []string{"sendonly", "recvonly", "inactive"} {
		if _, ok := description(body, d); ok {
			return d
		}
	}
	return "sendrecv"
}

// transfer asks that somebody else be called.
type transfer struct {
	Call    string        `yaml:"call,required" doc:"id of the call"`
	To      string        `yaml:"to,required" doc:"number to call instead"`
	Outcome string        `yaml:"outcome" default:"refused" enum:"accepted,refused" doc:"what shall come of it: Unified Messaging takes no REFER"`
	Within  time.Duration `yaml:"within" default:"10s" doc:"time for the answer"`
}

func (t *transfer) callID() string { return t.Call }

func (t *transfer) check(l *loader) string {
	l.callID(l.at("call"), t.Call)
	return fmt.Sprintf("%s asks for a transfer to %s: %s", t.Call, t.To, t.Outcome)
}

func (t *transfer) do(ctx context.Context, r *run, _ int) error {
	c, err := r.callAfter(ctx, t.Call, "", 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Within)
	defer cancel()
	status, err := c.Transfer(ctx, t.To)
	if err != nil {
		return err
	}
	return t.judged(status)
}

func (t *transfer) judged(status int) error {
	if accepted := status/100 == 2; accepted != (t.Outcome == "accepted") {
		return fmt.Errorf("REFER was answered %d", status)
	}
	return nil
}

func (t *transfer) instruction(s *Scenario) string {
	return "transfer the call to " + t.To + s.inCall(t.Call)
}

func (t *transfer) watch(ctx context.Context, r *run) error {
	session, err := r.remote(t.Call)
	if err != nil {
		return err
	}
	e := r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		return e.Session == session && e.Name == "sip.sent" && e.Text("method") == "REFER" && e.Int("status") != 0
	})
	if e == nil {
		return fmt.Errorf("no REFER came within %s", r.patience())
	}
	return t.judged(int(e.Int("status")))
}
