package simtest

import (
	"context"
	"testing"
	"time"

	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/trace"
)

// Gateway is the simulated device behind a gateway object.
type Gateway struct {
	x    *Exchange
	name string
}

// Gateway finds the device of a gateway object.
func (x *Exchange) Gateway(name string) *Gateway {
	x.t.Helper()
	if x.lab.Gateways[name] == nil {
		x.t.Fatalf("simtest: the organisation has no UM IP gateway %q with an address", name)
	}
	return &Gateway{x, name}
}

// CallOption changes a call that is placed.
type CallOption func(*gateway.CallParams)

// Diverted says whose call it was before, and why it did not stay there: a word
// of RFC 5806, such as no-answer or user-busy.
func Diverted(extension, reason string) CallOption {
	return func(p *gateway.CallParams) { p.Diverted, p.Reason = extension, reason }
}

// Caller is the number of the caller; 7125550123 without it.
func Caller(number string) CallOption { return func(p *gateway.CallParams) { p.Caller = number } }

// LateOffer leaves the offer to the other side.
func LateOffer() CallOption { return func(p *gateway.CallParams) { p.LateOffer = true } }

// SessionInterval asks for a session timer (RFC 4028).
func SessionInterval(d time.Duration) CallOption {
	return func(p *gateway.CallParams) { p.Session = d }
}

// Call is a call that was placed.
type Call struct {
	x    *Exchange
	t    testing.TB
	call *gateway.Call
	err  error
}

// Dial places a call to a pilot number and waits for the final answer,
// following redirects.
func (g *Gateway) Dial(pilot string, options ...CallOption) *Call {
	t := g.x.t
	t.Helper()
	p := gateway.CallParams{Dial: pilot, Caller: "7125550123"}
	for _, o := range options {
		o(&p)
	}
	var err error
	if p.Routers, err = g.x.lab.Fronts(g.name); err != nil {
		t.Fatalf("simtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Within)
	defer cancel()
	c := &Call{x: g.x, t: t}
	c.call, c.err = g.x.lab.Gateways[g.name].Call(ctx, p)
	return c
}

// Session names the call in the trace.
func (c *Call) Session() trace.Session { return c.call.Session() }

// WantAnswered fails the test unless the call was answered.
func (c *Call) WantAnswered() *Call {
	c.t.Helper()
	if c.err != nil {
		c.t.Fatalf("the call was not answered: %v", c.err)
	}
	return c
}

// WantRefused fails the test unless Unified Messaging refused the call by a
// check, such as hunt-group; the event um.refused tells all of them.
func (c *Call) WantRefused(check string) *Call {
	c.t.Helper()
	if c.err == nil {
		c.t.Fatalf("the call was answered, and not refused by the check %s", check)
	}
	c.x.WantEvent("um.refused", func(e *trace.Event) bool { return e.Session == c.Session() && e.Text("check") == check })
	return c
}

// WantEvent waits for an event of this call.
func (c *Call) WantEvent(name string) *Call {
	c.t.Helper()
	c.x.WantEvent(name, func(e *trace.Event) bool { return e.Session == c.Session() })
	return c
}

func (c *Call) do(what string, do func(ctx context.Context) error) *Call {
	c.t.Helper()
	c.WantAnswered()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	if err := do(ctx); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	return c
}

// Talk speaks.
func (c *Call) Talk(length time.Duration) *Call {
	c.t.Helper()
	return c.do("talk", func(ctx context.Context) error { return c.call.Talk(ctx, length) })
}

// Press presses keys: 0-9, *, #, A-D.
func (c *Call) Press(digits string) *Call {
	c.t.Helper()
	return c.do("press "+digits, func(ctx context.Context) error { return c.call.Digits(ctx, digits) })
}

// Hangup ends the call, unless the other side has.
func (c *Call) Hangup() *Call {
	c.t.Helper()
	return c.do("hang up", c.call.Hangup)
}
