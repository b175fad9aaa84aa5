package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// connect opens a connection.
type connect struct {
	From    string        `yaml:"from,required" doc:"actor that connects: an ip-gateway to a SIP listener, a mail-host to a receive connector"`
	Server  string        `yaml:"server,required" doc:"name of the server"`
	At      string        `yaml:"at,required" doc:"its listener, such as call-router or default-frontend"`
	Outcome string        `yaml:"outcome" default:"open" enum:"open,closed" doc:"what shall come of it: open is a sign of life of the service, closed anything else"`
	Within  time.Duration `yaml:"within" default:"5s" doc:"time for that"`
}

func (c *connect) actorName() string { return c.From }

func (c *connect) check(l *loader) string {
	l.server(l.at("server"), c.Server, "")
	role := ""
	if o := l.s.Organisation; o != nil {
		if p, err := profile.Load(o.Version); err == nil {
			role = c.listener(l, p)
		}
	}
	l.actor(l.at("from"), c.From, role)
	return fmt.Sprintf("%s connects to %s of %s: %s", c.From, c.At, c.Server, c.Outcome)
}

// listener checks the listener, and says who connects to it.
func (c *connect) listener(l *loader, p *profile.Profile) (role string) {
	var rows []string
	for _, r := range p.Ports {
		if r.Listens != "" {
			rows = append(rows, r.ID)
		}
	}
	i := slices.IndexFunc(p.Ports, func(r profile.Port) bool { return r.ID == c.At && r.Listens != "" })
	if i < 0 {
		l.f.Report(l.at("at"), yamlfile.Suggest(c.At, rows), "no listener is named %q", c.At)
		return ""
	}
	return map[string]string{"sip": roleGateway, "smtp": roleMail}[p.Ports[i].Protocol]
}

func (c *connect) do(ctx context.Context, r *run, _ int) error {
	l := r.x.Listener(c.Server, c.At)
	if l == nil {
		return fmt.Errorf("%s has no listener %s", c.Server, c.At)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	var err error
	if h := r.lab.Mail[c.From]; h != nil {
		err = h.Ping(ctx, l.Addr())
	} else {
		err = r.lab.Gateways[c.From].Ping(ctx, l.Addr())
	}
	if c.Outcome == "closed" {
		if err == nil {
			return errors.New("the service answered")
		}
		return nil
	}
	return err
}
