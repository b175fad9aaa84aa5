package scenarios

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/transport"
)

// setGateway enables or disables a UM IP gateway.
type setGateway struct {
	Name   string     `yaml:"name,required" doc:"of the gateway object"`
	Status org.Status `yaml:"status,required" enum:"Enabled,NoNewCalls,Disabled" doc:"its new state"`
}

func (g *setGateway) check(l *loader) string {
	if o := l.s.Organisation; o != nil && !slices.ContainsFunc(o.Gateways, func(k org.UMIPGateway) bool { return k.Name == g.Name }) {
		l.f.Report(l.at("name"), "", "gateway: the organisation has no UM IP gateway %q", g.Name)
	}
	return fmt.Sprintf("UM IP gateway %s is set to %s", g.Name, g.Status)
}

func (g *setGateway) do(_ context.Context, r *run, _ int) error {
	return r.x.SetGatewayStatus(g.Name, g.Status)
}

// maintenance sets a component of a server inactive, or active again.
type maintenance struct {
	Server    string `yaml:"server,required" doc:"name of the server"`
	Component string `yaml:"component" default:"UnifiedMessaging" enum:"UnifiedMessaging,HubTransport,FrontendTransport,EdgeTransport" doc:"of the server"`
	State     string `yaml:"state,required" enum:"inactive,active" doc:"its new state"`
}

func (m *maintenance) check(l *loader) string {
	l.server(l.at("server"), m.Server, "")
	return m.Component + " of " + m.Server + " is set " + m.State
}

func (m *maintenance) do(_ context.Context, r *run, _ int) error {
	if m.Component != unifiedMessaging {
		return r.x.SetTransport(m.Server, m.Component, m.State == "inactive")
	}
	return r.x.SetMaintenance(m.Server, m.State == "inactive")
}

const unifiedMessaging = "UnifiedMessaging"

// pressure sets how hard a server is pressed for resources.
type pressure struct {
	Server string          `yaml:"server,required" doc:"name of the server"`
	Level  transport.Level `yaml:"level,required" enum:"normal,medium,high" doc:"of back pressure"`
	Delay  time.Duration   `yaml:"delay" doc:"by which the answer to MAIL comes later where it is not refused: 10s to 55s before a queue is full"`
	At     string          `yaml:"at" default:"mail" enum:"mail,message" doc:"what is refused: MAIL, or the message at its end"`
}

func (p *pressure) check(l *loader) string {
	l.server(l.at("server"), p.Server, "")
	return fmt.Sprintf("back pressure of %s is %s", p.Server, p.Level)
}

func (p *pressure) do(_ context.Context, r *run, _ int) error {
	return r.x.SetPressure(p.Server, transport.Pressure{Level: p.Level, Delay: p.Delay, AtEnd: p.At == "message"})
}

// recycle lets the second worker process of a server take the place of the
// first.
type recycle struct {
	Server string `yaml:"server,required" doc:"name of the server"`
}

func (c *recycle) check(l *loader) string {
	l.server(l.at("server"), c.Server, "um-worker")
	return "the worker process of " + c.Server + " is recycled"
}

func (c *recycle) do(_ context.Context, r *run, _ int) error { return r.x.Recycle(c.Server) }
