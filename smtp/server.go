package smtp

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/exsim/exsim/sim/trace"
)

// Server is one receive connector at work.
type Server struct {
	conf Config
	wg   sync.WaitGroup

	closing chan struct{} // closed by Close
	offers  sync.Map      // by the verb that TLS began with

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	sources   map[netip.Addr]int // connections of each
	closed    bool

	discredited discredited
}

// ErrClosed is returned for work on a closed Server.
var ErrClosed = errors.New("smtp: server closed")

// New makes a server without listeners. A reply that is not spelled, or has no
// code, is an error.
func New(conf Config) (*Server, error) {
	for _, name := range Required() {
		if code(conf.Replies[name]) == 0 {
			return nil, fmt.Errorf("smtp: reply %q is %q: a code and a text are wanted", name, conf.Replies[name])
		}
	}
	if conf.Sessions == nil {
		conf.Sessions = &Sessions{}
	}
	return &Server{conf: conf, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}, sources: map[netip.Addr]int{}, closing: make(chan struct{})}, nil
}

// code is the leading number of a reply, 0 if there is none.
func code(reply string) int {
	if len(reply) < 5 || reply[3] != ' ' && reply[3] != '-' {
		return 0
	}
	n := 0
	for _, c := range reply[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// Serve accepts connections until the listener fails or the server is closed;
// then it returns nil.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrClosed
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	return acceptAll(ln, s.conf.Trace, s.ServeConn)
}

// ServeConn serves a connection that was accepted elsewhere, and returns at
// once.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	full := s.full(c.remote.Addr())
	s.conns[c] = struct{}{}
	s.sources[c.remote.Addr()]++
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer s.end(c)
		c.serve(full)
	}()
}

// full is the reply to a connection from an address that is one too many, ""
// where it is not.
func (s *Server) full(from netip.Addr) Reply {
	switch {
	case s.conf.MaxConnections > 0 && len(s.conns) >= s.conf.MaxConnections:
		return ReplyTooManyConnections
	case s.conf.MaxPerSource > 0 && s.sources[from] >= s.conf.MaxPerSource:
		return ReplyTooManyFromSource
	}
	return ""
}

// end forgets a connection; a panic in it ends it alone and is recorded.
func (s *Server) end(c *conn) {
	if p := recover(); p != nil {
		s.conf.Trace.Record(c.session, trace.Session{}, fault{fmt.Sprint(p)}, debug.Stack())
		c.why = "a fault of exsim"
	}
	c.finish()
	s.mu.Lock()
	delete(s.conns, c)
	if s.sources[c.remote.Addr()]--; s.sources[c.remote.Addr()] == 0 {
		delete(s.sources, c.remote.Addr())
	}
	s.mu.Unlock()
}

// fault records a panic.
func (s *Server) fault(p any) {
	s.conf.Trace.Record(trace.Session{}, trace.Session{}, fault{fmt.Sprint(p)}, debug.Stack())
}

type fault struct{ what string }

func (fault) EventName() string { return "bench.fault" }
func (e fault) AppendTo(f *trace.Fields) {
	f.Text("where", "smtp")
	f.Text("what", e.what)
}

// Close ends listeners and connections and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		close(s.closing)
	}
	s.closed = true
	lns := slices.Collect(maps.Keys(s.listeners))
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, ln := range lns {
		_ = ln.Close()
	}
	for _, c := range conns {
		c.interrupt()
	}
	s.wg.Wait()
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
