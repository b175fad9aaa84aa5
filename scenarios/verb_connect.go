package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	role := map[string]string{"sip": roleGateway, "smtp": roleMail}[l.listener(l.at("at"), c.At)]
	l.actor(l.at("from"), c.From, role)
	return fmt.Sprintf("%s connects to %s of %s: %s", c.From, c.At, c.Server, c.Outcome)
}

// listener reports a name that no listener has.
func (l *loader) listener(at yamlfile.Pos, name string) (protocol string) {
	if l.s.Organisation == nil {
		return ""
	}
	p, err := profile.Load(l.s.Organisation.Version)
	if err != nil {
		return ""
	}
	var rows []string
	for _, r := range p.Ports {
		if r.Listens != "" {
			rows = append(rows, r.ID)
		}
		if r.ID == name && r.Listens != "" {
			return r.Protocol
		}
	}
	more := l.s.Organisation.ConnectorIDs(p)
	if slices.Contains(more, name) {
		return "smtp"
	}
	rows = append(rows, more...)
	slices.Sort(rows)
	rows = slices.Compact(rows)
	l.f.Report(at, cmp.Or(yamlfile.Suggest(name, rows), strings.Join(rows, ", ")), "no listener is named %q", name)
	return ""
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
