package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

// Endpoint is one SIP element: it serves listeners, opens connections, and
// holds the transactions and dialogs that live on them.
type Endpoint struct {
	conf     Config
	ownCalls bool
	seed     maphash.Seed
	parser   *sipgo.Parser
	wheel    wheel
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	wg       sync.WaitGroup // reading goroutines, timers that fire, requests under way

	answers  answers
	accepted *aging[struct{}] // INVITEs answered 2xx: their retransmissions are absorbed (RFC 6026 §7.1)
	forks    *aging[fork]     // our INVITEs answered 2xx: another 2xx is another dialog

	mu        sync.Mutex
	pending   table[uint64, *ServerTx] // unanswered, or INVITE not acknowledged
	merging   table[uint64, struct{}]  // by mergeKey, of INVITEs in pending
	reliables table[uint64, *ServerTx] // provisional answers that wait for a PRACK, by early dialog
	dialogs   table[uint64, *Dialog]
	clients   table[string, *clientTx] // by branch
	conns     map[*conn]struct{}
	peers     map[netip.Addr]*peerLoad
	listeners map[net.Listener]struct{}
	closed    bool
}

// ErrClosed is returned for work on a closed Endpoint.
var ErrClosed = errors.New("sip: endpoint closed")

// New makes an endpoint without listeners.
func New(conf Config) *Endpoint {
	e := &Endpoint{
		ownCalls:  conf.Calls == nil,
		conf:      conf.filled(),
		seed:      maphash.MakeSeed(),
		parser:    newParser(),
		conns:     map[*conn]struct{}{},
		peers:     map[netip.Addr]*peerLoad{},
		listeners: map[net.Listener]struct{}{},
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.accepted, e.forks = newAging[struct{}](e.conf.give()), newAging[fork](e.conf.give())
	e.wheel.wg = &e.wg
	return e
}

// Serve accepts connections until the listener fails or the endpoint is
// closed; then it returns nil.
func (e *Endpoint) Serve(ln net.Listener) error {
	if !e.add(func() { e.listeners[ln] = struct{}{} }) {
		_ = ln.Close()
		return ErrClosed
	}
	defer e.wg.Done()
	defer ln.Close()
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			e.accept(nc)
			continue
		}
		if e.isClosed() || errors.Is(err, net.ErrClosed) {
			return nil
		}
		// Out of descriptors and the like: the listener must survive it.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		e.conf.Trace.Record(trace.Session{}, trace.Session{}, plain{"bench.fault", [4]string{"where", "sip " + ln.Addr().String(), "what", "accept: " + err.Error()}}, nil)
		time.Sleep(pause)
	}
}

// add registers something under the lock and counts a goroutine, unless the
// endpoint is closed.
func (e *Endpoint) add(register func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	register()
	e.wg.Add(1)
	return true
}

func (e *Endpoint) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

func (e *Endpoint) accept(nc net.Conn) {
	c := e.newConn(nc)
	if !e.run(c, "accepted") {
		_ = nc.Close()
	}
}

// run starts the reading goroutine of a connection.
func (e *Endpoint) run(c *conn, side string) bool {
	if !e.add(func() {
		if e.enter(c, side == "accepted") {
			e.conns[c] = struct{}{}
		}
	}) {
		return false
	}
	if c.load == nil {
		e.conf.Trace.Record(trace.Session{}, trace.Session{}, crowded(c.peer, e.conf.MaxConns), nil)
		e.wg.Done()
		return false
	}
	e.conf.Trace.Record(trace.Session{}, trace.Session{}, opened(c.name, side), nil)
	go func() {
		defer e.wg.Done()
		defer e.caught(c)
		c.read()
	}()
	return true
}

// caught turns a panic while handling a connection into its end and an event
// that fails the run; the other connections go on.
func (e *Endpoint) caught(c *conn) {
	if p := recover(); p != nil {
		e.conf.Trace.Record(trace.Session{}, trace.Session{},
			plain{"bench.fault", [4]string{"where", "sip " + c.name, "what", fmt.Sprint(p)}}, debug.Stack())
		e.dropConn(c, "a fault of exsim")
	}
}

// dropConn forgets a connection and fails what waits for an answer on it.
func (e *Endpoint) dropConn(c *conn, why string) {
	c.close()
	e.mu.Lock()
	delete(e.conns, c)
	e.leave(c)
	var failed []*clientTx
	for _, tx := range e.clients.m {
		if tx.conn == c {
			failed = append(failed, tx)
		}
	}
	e.mu.Unlock()
	for _, tx := range failed {
		tx.fail(fmt.Errorf("sip: connection to %s: %s", c.name, why))
	}
	e.conf.Trace.Record(trace.Session{}, trace.Session{}, closed(c.name, why), nil)
}

// dial opens a connection, or returns one that is open to the same address.
func (e *Endpoint) dial(ctx context.Context, to netip.AddrPort) (*conn, error) {
	e.mu.Lock()
	for c := range e.conns {
		if c.peer == to && c.ok() {
			e.mu.Unlock()
			return c, nil
		}
	}
	e.mu.Unlock()
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	nc, err := e.conf.Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("sip: %w", err)
	}
	c := e.newConn(nc)
	if !e.run(c, "dialled") {
		_ = nc.Close()
		return nil, ErrClosed
	}
	return c, nil
}

// bounded ends a context with the endpoint, too.
func (e *Endpoint) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// spawn runs f on a goroutine that Close waits for.
func (e *Endpoint) spawn(f func()) {
	if e.add(func() {}) {
		go func() {
			defer e.wg.Done()
			f()
		}()
	}
}

// HangUp ends every dialog by BYE and waits for the answers, at most until ctx
// is done. It comes before Close where the peers shall know.
func (e *Endpoint) HangUp(ctx context.Context) {
	e.mu.Lock()
	dialogs := slices.Collect(maps.Values(e.dialogs.m))
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, d := range dialogs {
		wg.Go(func() { _, _ = d.Hangup(ctx) })
	}
	wg.Wait()
}

// Close ends listeners, connections and dialogs, and waits for their
// goroutines. It may be called twice.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	lns := slices.Collect(maps.Keys(e.listeners))
	conns := slices.Collect(maps.Keys(e.conns))
	e.mu.Unlock()
	for _, ln := range lns {
		_ = ln.Close()
	}
	e.endAll()
	e.stop()
	for _, c := range conns {
		c.close()
	}
	e.wheel.close()
	e.wg.Wait()
	e.endAll() // also what was under way
	e.accepted.close()
	e.forks.close()
	if e.ownCalls {
		e.conf.Calls.Close()
	}
	return nil
}

// endAll ends the dialogs, and refuses what waits for its answer.
func (e *Endpoint) endAll() {
	e.mu.Lock()
	pending := slices.Collect(maps.Values(e.pending.m))
	dialogs := slices.Collect(maps.Values(e.dialogs.m))
	e.mu.Unlock()
	for _, tx := range pending {
		tx.abandon()
	}
	for _, d := range dialogs {
		d.end(EndClosed)
	}
}

// token is a word of 10 hex digits, as tags and branches are made of.
func (e *Endpoint) token() string { return fmt.Sprintf("%010x", e.conf.Rand()&0xffffffffff) }
