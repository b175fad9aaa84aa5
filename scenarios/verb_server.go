package scenarios

import (
	"context"
	"fmt"
	"slices"

	"github.com/exsim/exsim/sim/org"
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

// maintenance sets Unified Messaging inactive on a server, or active again.
type maintenance struct {
	Server string `yaml:"server,required" doc:"name of the server"`
	State  string `yaml:"state,required" enum:"inactive,active" doc:"its new state"`
}

func (m *maintenance) check(l *loader) string {
	l.server(l.at("server"), m.Server, "")
	return "Unified Messaging of " + m.Server + " is set " + m.State
}

func (m *maintenance) do(_ context.Context, r *run, _ int) error {
	return r.x.SetMaintenance(m.Server, m.State == "inactive")
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
