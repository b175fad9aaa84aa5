package um

import (
	"cmp"
	"context"
	"sync"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// Router is the call router of a Client Access server: it redirects each call
// to the UM service of the server that holds the mailbox, or of another one
// that lives. It never touches media.
type Router struct {
	conf Config
	src  *trace.Source

	mu   sync.Mutex
	down map[string]bool // servers that do not answer
	turn int

	state *State
}

// NewRouter makes the router of a server.
func NewRouter(conf Config, server *org.Server, state *State) *Router {
	return &Router{conf: conf, src: conf.Trace.Source(server.Name, CallRouter), down: map[string]bool{}, state: state}
}

// ServeSIP redirects calls and answers OPTIONS.
func (r *Router) ServeSIP(tx *sip.ServerTx) {
	a := r.conf.invitation(tx, r.src, r.state)
	if a == nil {
		return
	}
	if r.conf.otherVersion(tx, r.src, a) {
		return
	}
	to := r.pick(a)
	if to == nil {
		r.conf.refuse(tx, r.src, a, newRefusal("um-server", r.conf.Profile.Refusals.NoServer,
			"no UM service answers", "start the UM service of a Mailbox server"))
		return
	}
	r.conf.redirect(tx, r.src, a, cmp.Or(r.conf.Org.Redirect.Router, r.conf.Profile.Redirect.RouterHost), to, UMService)
}

// pick chooses the server of the mailbox if it lives, else the living ones in
// turn.
func (r *Router) pick(a *admitted) *org.Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.mailbox != nil && !r.down[a.mailbox.Server] {
		return r.conf.Org.ServerNamed(a.mailbox.Server)
	}
	servers := r.services()
	for range servers {
		s := servers[r.turn%len(servers)]
		r.turn++
		if !r.down[s.Name] {
			return s
		}
	}
	return nil
}

// services are the servers with a UM service.
func (r *Router) services() []*org.Server {
	return r.conf.Org.ServersWith(org.Role(r.conf.Profile.RoleOf(UMService)))
}

// Probe sends an OPTIONS to the UM service of a server and reports whether it
// was answered.
type Probe func(ctx context.Context, to *org.Server) error

// Watch probes every UM service until ctx is done. A server is passed over
// while it does not answer.
func (r *Router) Watch(ctx context.Context, probe Probe) {
	var wg sync.WaitGroup
	for _, s := range r.services() {
		wg.Go(func() {
			watch(ctx, r.conf.Profile.UM.ProbeInterval, func(once context.Context) {
				if err := probe(once, s); ctx.Err() == nil {
					r.health(s, err)
				}
			})
		})
	}
	wg.Wait()
}

// health records a change.
func (r *Router) health(s *org.Server, err error) {
	r.mu.Lock()
	changed := r.down[s.Name] != (err != nil)
	r.down[s.Name] = err != nil
	r.mu.Unlock()
	if changed {
		r.src.Record(trace.Session{}, trace.Session{}, serverHealth{s.Name, err}, nil)
	}
}

// Service is the UM service of a Mailbox server: it redirects each call to the
// worker process that takes new calls.
type Service struct {
	conf   Config
	src    *trace.Source
	server *org.Server
	state  *State
	worker func() (row string, ready bool)
}

// NewService makes the UM service of a server; worker names the row of the
// process that takes new calls now, if one is ready.
func NewService(conf Config, server *org.Server, state *State, worker func() (row string, ready bool)) *Service {
	return &Service{conf, conf.Trace.Source(server.Name, UMService), server, state, worker}
}

// ServeSIP redirects calls and answers OPTIONS.
func (s *Service) ServeSIP(tx *sip.ServerTx) {
	a := s.conf.invitation(tx, s.src, s.state)
	if a == nil || s.conf.otherVersion(tx, s.src, a) {
		return
	}
	row, ready := s.worker()
	if !ready {
		s.src.Record(tx.Session(), trace.Session{}, workerLate{}, nil)
		s.conf.refuse(tx, s.src, a, newRefusal("worker-late", s.conf.Profile.Refusals.NoServer,
			"no worker process has started yet", "call again behind Retry-After, or another UM server"))
		return
	}
	s.conf.redirect(tx, s.src, a, cmp.Or(s.conf.Org.Redirect.Service, s.conf.Profile.Redirect.ServiceHost), s.server, row)
}
