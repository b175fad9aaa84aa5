package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// options asks the servers that gateways call for OPTIONS, as a device does
// that watches its trunk.
type options struct {
	From   string        `yaml:"from,required" doc:"actor that asks, an ip-gateway"`
	Status int           `yaml:"status" default:"200" doc:"status of each answer"`
	Within time.Duration `yaml:"within" default:"10s" doc:"time for each answer"`
}

func (o *options) actorName() string { return o.From }

func (o *options) check(l *loader) string {
	l.actor(l.at("from"), o.From, roleGateway)
	return fmt.Sprintf("%s asks for OPTIONS: %d", o.From, o.Status)
}

func (o *options) do(ctx context.Context, r *run, _ int) error {
	to, err := r.lab.Fronts(o.From)
	if err != nil {
		return err
	}
	for _, at := range to {
		once, cancel := context.WithTimeout(ctx, o.Within)
		status, err := r.lab.Gateways[o.From].Options(once, at)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if status != o.Status {
			return fmt.Errorf("%s answered %d", at, status)
		}
	}
	return nil
}

func (o *options) instruction(*Scenario) string {
	return "wait until the device asks for OPTIONS (it may have to be switched on)"
}

func (o *options) watch(ctx context.Context, r *run) error {
	own := r.s.Actors[o.From].Address
	e := r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		peer, err := netip.ParseAddrPort(e.Text("peer"))
		return err == nil && peer.Addr() == own && e.Name == "sip.sent" && e.Text("method") == "OPTIONS" && e.Int("status") != 0
	})
	if e == nil {
		return fmt.Errorf("no OPTIONS came from %s within %s", own, r.patience())
	}
	if got := int(e.Int("status")); got != o.Status {
		return fmt.Errorf("OPTIONS was answered %d", got)
	}
	return nil
}
