package scenarios

import (
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/trace"
)

// good is a certificate with nothing wrong.
const good = "good"

// parties puts the simulated actors into a lab, each with its faults.
func (r *run) parties(conf *lab.Config) {
	for _, name := range names(r.s.Actors) {
		a := r.s.Actors[name]
		r.src.Record(trace.Session{}, trace.Session{}, sim.Party{Name: name, Role: a.Role, Address: a.Address}, nil)
		if a.Device == External {
			r.src.Record(trace.Session{}, trace.Session{}, externalEvent{name}, nil)
			continue
		}
		switch a.Role {
		case roleMail:
			conf.Mail = append(conf.Mail, lab.MailHost{
				Name: name, Address: a.Address, Faults: func(f mailhost.Fault) bool { return r.wrongs.has(name, string(f)) },
			})
		case roleBox:
			conf.Boxes = append(conf.Boxes, *r.labBox(name, a))
		default:
			conf.Gateways = append(conf.Gateways, r.gateway(name, a))
		}
	}
}

func (r *run) labBox(name string, a Actor) *lab.Box {
	return &lab.Box{Name: name, Address: a.Address, Behind: a.Between, Faults: r.wrongs.ofActor(name), NAT: func() bool { return r.wrongs.has(name, nat) }}
}

// gateway is an actor with the faults that it has from the start.
func (r *run) gateway(name string, a Actor) lab.Gateway {
	g := lab.Gateway{
		Name: name, Answers: r.s.answers(name), Address: a.Address, Wire: r.wrongs.ofActor(name),
		Faults: func(f gateway.Fault) bool { return r.wrongs.has(name, string(f)) },
	}
	for _, f := range r.early() {
		if f.Actor != name {
			continue
		}
		switch f.Do {
		case otherTransport:
			a.Transport = f.Transport
		case otherMedia:
			a.Media = f.Media
		}
		if f.Address.IsValid() {
			g.Other = f.Address
		}
		g.Port = max(g.Port, f.Port)
	}
	g.Telephones = a.Telephones
	g.Secure, g.SRTP = a.Transport == TLS, a.Media == SRTP
	if a.Certificate != good {
		g.Bad = a.Certificate
	}
	return g
}

// answers reports whether a step takes calls at an actor.
func (s *Scenario) answers(name string) bool {
	for i := range s.Steps {
		if a, ok := s.Steps[i].action.(*answer); ok && a.By == name {
			return true
		}
	}
	return false
}
