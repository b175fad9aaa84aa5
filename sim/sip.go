package sim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sip"
)

// unifiedMessaging is the service behind a listener; those for TCP and for TLS
// share what it remembers.
func (x *Exchange) unifiedMessaging(l *Listener) (endpoint, error) {
	s := l.Server
	switch l.Row.Service {
	case um.CallRouter:
		if x.routers[s.Name] == nil {
			x.routers[s.Name] = um.NewRouter(x.um, s, x.state(s))
		}
		return x.sipEndpoint(l, x.routers[s.Name])
	case um.UMService:
		return x.sipEndpoint(l, um.NewService(x.um, s, x.state(s), func() (string, bool) { return x.workers[s.Name].row() }))
	case um.UMWorker:
		if x.workers[s.Name] == nil {
			x.workers[s.Name] = x.newWorkers(s)
		}
		p := x.workers[s.Name].named(l.Row.Process)
		if p == nil {
			return nil, fmt.Errorf("sim: worker process %s of %s does not run", l.Row.Process, s.Name)
		}
		return x.sipEndpoint(l, p.worker)
	}
	return nil, fmt.Errorf("sim: row %s of the port table: no service %q", l.Row.ID, l.Row.Service)
}

// sipEndpoint makes the endpoint of a listener that redirects or answers. Over
// TCP a gateway is known by its address, over TLS by its certificate.
func (x *Exchange) sipEndpoint(l *Listener, handler sip.Handler) (endpoint, error) {
	src := x.log.Source(l.Server.Name, l.Row.ID)
	set := x.faultsOf(l)
	if set != nil {
		handler = refusing{handler, set}
	}
	conf := sip.Config{
		Handler:   handler,
		Dialect:   um.Dialect(x.profile, l.Row.Listens == "redirect"),
		Allow:     x.profile.SIP.Allow,
		Supported: x.profile.SIP.Supported,
		T1:        x.profile.SIP.T1,
		Transport: strings.ToUpper(l.Row.Transport),
		Rand:      x.rand, Calls: x.calls, Trace: src,
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return x.conf.Net.Dial(ctx, l.Server.Address, to)
		},
	}
	if l.Row.Transport != "tls" {
		l.ln = faulty(admit.Listener(l.ln, x.allowed.Load, admit.Close, src), set)
		return sip.New(conf), nil
	}
	cert, err := x.certificate(l.Server)
	if err != nil {
		return nil, err
	}
	mutual := x.mutualTLS(cert)
	mutual.Trace = src
	accepting := mutual
	x.Misdeeds(&accepting, set, l.Server.FQDN, l.Server.Name)
	l.ln = faulty(accepting.Listener(l.ln), set)
	conf.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		nc, err := x.conf.Net.Dial(ctx, l.Server.Address, to)
		if err != nil {
			return nil, err
		}
		return x.expecting(mutual, to.Addr()).Client(ctx, nc, "")
	}
	return sip.New(conf), nil
}

// faulty puts faults on what a listener accepts.
func faulty(ln net.Listener, set *faults.Set) net.Listener {
	if set == nil {
		return ln
	}
	return set.Listener(ln, faults.SIP)
}

// probe asks a UM service for OPTIONS, from a router's own address and over a
// transport that both have.
func (x *Exchange) probe(from *org.Server) um.Probe {
	return func(ctx context.Context, to *org.Server) error {
		for _, suffix := range []string{"", "-tls"} {
			ours, theirs := x.Listener(from.Name, um.CallRouter+suffix), x.Listener(to.Name, um.UMService+suffix)
			if ours == nil || theirs == nil {
				continue
			}
			_, err := options(ctx, ours, netip.AddrPortFrom(to.Address, theirs.Bound))
			return err
		}
		return fmt.Errorf("%s and %s have no transport in common: see um-startup-mode", from.Name, to.Name)
	}
}

// askGateway asks a gateway for OPTIONS, from the UM service of a server.
func (x *Exchange) askGateway(from *org.Server) um.Options {
	return func(ctx context.Context, to netip.AddrPort, secure bool) (int, error) {
		row := um.UMService + map[bool]string{true: "-tls"}[secure]
		ours := x.Listener(from.Name, row)
		if ours == nil {
			return 0, fmt.Errorf("%s has no listener %s: see um-startup-mode", from.Name, row)
		}
		return options(ctx, ours, to)
	}
}

// notify sends a request outside a dialog from the UM service of a server.
func (x *Exchange) notify(ctx context.Context, from *org.Server, secure bool, r sip.Request) (sip.Reply, trace.Session, error) {
	row := um.UMService + map[bool]string{true: "-tls"}[secure]
	ours := x.Listener(from.Name, row)
	if ours == nil {
		return sip.Reply{}, trace.Session{}, fmt.Errorf("%s has no listener %s: see um-startup-mode", from.Name, row)
	}
	ep, ok := ours.serv.(*sip.Endpoint)
	if !ok {
		return sip.Reply{}, trace.Session{}, fmt.Errorf("%s speaks no SIP", row)
	}
	return ep.Send(ctx, r)
}

// options sends OPTIONS from one of our listeners; all but 200 is an error.
func options(ctx context.Context, from *Listener, to netip.AddrPort) (status int, err error) {
	ep, ok := from.serv.(*sip.Endpoint)
	if !ok {
		return 0, fmt.Errorf("%s speaks no SIP", from.Row.ID)
	}
	r, err := ep.Options(ctx, to, "sip:"+to.String()+";transport="+from.Row.Transport, "<sip:"+from.Server.FQDN+">")
	if err == nil && r.Status != 200 {
		err = fmt.Errorf("OPTIONS was answered %d %s", r.Status, r.Reason)
	}
	return r.Status, err
}
