package smtp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Shared is an address and port that several servers share: who serves a
// connection hangs on where it comes from.
type Shared struct {
	servers []*Server
	choose  func(from netip.Addr) *Server

	mu     sync.Mutex
	wg     sync.WaitGroup
	ln     net.Listener
	closed bool
}

// Share makes servers share what is served next. choose is nil for a peer that
// nobody serves: its connection is closed.
func Share(choose func(from netip.Addr) *Server, servers ...*Server) *Shared {
	return &Shared{servers: servers, choose: choose}
}

// Serve accepts connections until the listener fails or Close is called; then it
// returns nil.
func (s *Shared) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrClosed
	}
	s.ln = ln
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	return acceptAll(ln, s.servers[0].conf.Trace, func(nc net.Conn) {
		if srv := s.choose(addrPort(nc.RemoteAddr()).Addr()); srv != nil {
			srv.ServeConn(nc)
			return
		}
		_ = nc.Close()
	})
}

// Close ends the listener and the servers.
func (s *Shared) Close() error {
	s.mu.Lock()
	s.closed = true
	ln := s.ln
	s.mu.Unlock()
	if ln != nil {
		_ = ln.Close()
	}
	s.wg.Wait()
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}

// acceptAll hands connections on until the listener fails; nil when it was
// closed.
func acceptAll(ln net.Listener, src *trace.Source, serve func(net.Conn)) error {
	defer ln.Close()
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			serve(nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		src.Record(trace.Session{}, trace.Session{}, fault{"accept: " + err.Error()}, nil)
		time.Sleep(pause) // out of descriptors: the listener must survive it
	}
}
