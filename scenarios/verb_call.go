package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/trace"
)

// call places a call and waits for its final answer.
type call struct {
	ID       string        `yaml:"id,required" doc:"name of the call in later steps"`
	From     string        `yaml:"from,required" doc:"actor that calls, an ip-gateway"`
	Dial     string        `yaml:"dial,required" doc:"number that is dialled, the pilot"`
	Caller   string        `yaml:"caller" default:"7125550123" doc:"number of the caller"`
	Name     string        `yaml:"name" doc:"display name of the caller"`
	Diverted string        `yaml:"diverted" doc:"extension that the call was diverted from"`
	Reason   string        `yaml:"reason" default:"no-answer" enum:"unknown,user-busy,no-answer,unavailable,unconditional,time-of-day,do-not-disturb,deflection,follow-me,out-of-service,away" doc:"of the diversion (RFC 5806)"`
	Session  time.Duration `yaml:"session" doc:"session interval that the gateway asks for (RFC 4028)"`
	Late     bool          `yaml:"late-offer" doc:"true: the INVITE has no SDP, the ACK has the answer"`
	To       string        `yaml:"to" doc:"actor that is called, an ip-gateway that answers; the organisation if left out"`
	Raw      *raw          `yaml:"raw" doc:"what replaces headers of each INVITE, or all of it"`
	Outcome  string        `yaml:"outcome" default:"answered" enum:"answered,refused" doc:"what shall come of it"`
	Within   time.Duration `yaml:"within" default:"10s" doc:"time for the final answer"`
}

func (c *call) callID() string    { return c.ID }
func (c *call) actorName() string { return c.From }

func (c *call) check(l *loader) string {
	l.opens(c.ID)
	l.actor(l.at("from"), c.From, roleGateway)
	l.raw(l.at("raw"), c.Raw, c.From)
	text := fmt.Sprintf("%s: %s calls %s", c.ID, c.From, c.Dial)
	if c.To != "" {
		l.actor(l.at("to"), c.To, roleGateway)
		text += " at " + c.To
	}
	if c.Diverted != "" {
		text += fmt.Sprintf(", diverted from %s (%s)", c.Diverted, c.Reason)
	}
	return text + ": " + c.Outcome
}

func (c *call) do(ctx context.Context, r *run, _ int) error {
	to, err := r.called(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	placed, err := r.lab.Gateways[c.From].Call(ctx, gateway.CallParams{
		Routers: to, Dial: c.Dial, Caller: c.Caller, Name: c.Name, Diverted: c.Diverted, Reason: c.Reason, Session: c.Session, LateOffer: c.Late, Raw: c.Raw.apply,
	})
	r.named(c.ID, placed.Session())
	if c.Outcome == "refused" {
		if err == nil {
			return errors.New("the call was answered")
		}
		return nil
	}
	if err == nil {
		r.up(c.ID, placed)
	}
	return err
}

// called is where a call goes.
func (r *run) called(c *call) ([]netip.AddrPort, error) {
	if c.To == "" {
		return r.lab.Fronts(c.From)
	}
	if g := r.lab.Gateways[c.To]; g != nil {
		return []netip.AddrPort{g.Addr()}, nil
	}
	a := r.s.Actors[c.To]
	return []netip.AddrPort{netip.AddrPortFrom(a.Address, a.port())}, nil
}

// port is where an external device is called.
func (a *Actor) port() uint16 {
	switch {
	case a.Port != 0:
		return a.Port
	case a.Transport == TLS:
		return 5061
	}
	return 5060
}

// talk speaks.
type talk struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	For    time.Duration `yaml:"for,required" doc:"how long, at most 10m"`
	After  string        `yaml:"after" default:"um.recording" doc:"event of the call that it waits for"`
	Within time.Duration `yaml:"within" default:"30s" doc:"time for that event"`
}

func (t *talk) callID() string { return t.Call }

func (t *talk) check(l *loader) string {
	l.callID(l.at("call"), t.Call)
	l.event(l.at("after"), t.After)
	if t.For > 10*time.Minute {
		l.f.Report(l.at("for"), "", "talk: for is at most 10m, not %s", t.For)
	}
	return fmt.Sprintf("%s talks for %s after %s", t.Call, t.For, t.After)
}

func (t *talk) do(ctx context.Context, r *run, _ int) error {
	c, err := r.callAfter(ctx, t.Call, t.After, t.Within)
	if err != nil {
		return err
	}
	return c.Talk(ctx, t.For)
}

// dtmf presses keys.
type dtmf struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	Digits string        `yaml:"digits,required" doc:"0-9, *, #, A-D"`
	After  string        `yaml:"after" doc:"event of the call that it waits for"`
	Secret bool          `yaml:"secret" doc:"true keeps them out of trace and report, as for a PIN"`
	Within time.Duration `yaml:"within" default:"30s" doc:"time until all are pressed"`
}

func (d *dtmf) callID() string { return d.Call }

func (d *dtmf) check(l *loader) string {
	l.callID(l.at("call"), d.Call)
	if strings.Trim(d.Digits, "0123456789*#ABCD") != "" {
		l.f.Report(l.at("digits"), "0-9, *, #, A-D", "dtmf: digits %q", d.Digits)
	}
	l.event(l.at("after"), d.After)
	told := d.Digits
	if d.Secret {
		told = strings.Repeat("?", len(d.Digits))
	}
	if d.After != "" {
		told += " after " + d.After
	}
	return d.Call + " presses " + told
}

func (d *dtmf) do(ctx context.Context, r *run, _ int) error {
	c, err := r.callAfter(ctx, d.Call, d.After, d.Within)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.Within)
	defer cancel()
	if d.Secret {
		return c.Secret(ctx, d.Digits)
	}
	return c.Digits(ctx, d.Digits)
}

// hangup ends a call from the gateway's side.
type hangup struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	After  string        `yaml:"after" doc:"event of the call that it waits for"`
	Within time.Duration `yaml:"within" default:"30s" doc:"time for that event, and then for the answer to BYE"`
}

func (h *hangup) callID() string { return h.Call }

func (h *hangup) check(l *loader) string {
	l.callID(l.at("call"), h.Call)
	l.event(l.at("after"), h.After)
	return h.Call + " hangs up"
}

func (h *hangup) do(ctx context.Context, r *run, _ int) error {
	c, err := r.callAfter(ctx, h.Call, h.After, h.Within)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.Within)
	defer cancel()
	return c.Hangup(ctx)
}

// callAfter is a call that is up, once an event of it has come.
func (r *run) callAfter(ctx context.Context, id, event string, within time.Duration) (*gateway.Call, error) {
	c := r.call(id)
	if c == nil {
		return nil, fmt.Errorf("call %s is not up", id)
	}
	if event == "" {
		return c, nil
	}
	session := c.Session()
	if r.await(ctx, within, func(e *trace.Event) bool { return e.Name == event && e.Session == session }) == nil {
		return nil, fmt.Errorf("no %s within %s", event, within)
	}
	return c, nil
}
