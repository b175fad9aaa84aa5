package sim

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/um"
)

// workers are the worker processes of one server. One takes the new calls; one
// that did so before may still be serving its last ones:
//
//	started ──▶ takes calls ──recycle──▶ draining ──last call over, or limit──▶ stopped
//	                 ▲                                                            │
//	                 └──────────────── the next recycling, on its ports ──────────┘
type workers struct {
	x       *Exchange
	server  *org.Server
	running atomic.Int64

	mu       sync.Mutex
	takes    *process
	draining *process
	timer    *time.Timer
}

// process is one worker process with its listeners.
type process struct {
	name   string // of its rows: a or b
	worker *um.Worker
}

// row is the process's row of the port table for TCP; that for TLS has the
// same name and a suffix.
func (p *process) row() string {
	if p.name == "b" {
		return um.UMWorker + "-b"
	}
	return um.UMWorker
}

// newWorkers makes the first process of a server.
func (x *Exchange) newWorkers(s *org.Server) *workers {
	w := &workers{x: x, server: s}
	w.takes = w.process("a")
	return w
}

// process makes a worker process that listens nowhere yet.
func (w *workers) process(name string) *process {
	p := &process{name: name}
	limit := w.x.conf.Org.Recycling.AfterCalls
	struck := func(what faults.Kind) func() bool {
		return func() bool { return w.x.struck(w.server.Name, p.row(), what) }
	}
	p.worker = um.NewWorker(um.WorkerConfig{
		Config: w.x.um, Server: w.server, Row: p.row(), Running: &w.running, Media: w.x.media, Shared: w.x.shared,
		Prompts: w.x.prompts, Mailboxes: w.x.mailboxes, Logons: w.x.logons, Caller: caller{w.x, w.server}, NoPorts: struck(faults.OutOfPorts), BadGreeting: struck(faults.BadGreeting), Submit: w.x.submit(w.server),
		Taken: func(calls int) {
			if limit > 0 && calls%limit == 0 {
				w.x.spawn(func() { _ = w.recycle(p, fmt.Sprintf("it has taken %d calls", calls)) })
			}
		},
	})
	return p
}

// row is where new calls go, unless no process is ready for them.
func (w *workers) row() (row string, ready bool) {
	if w.x.struck(w.server.Name, um.UMService, faults.WorkerLate) {
		return "", false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.takes.row(), true
}

// Recycle replaces the worker process of a server: a second one, on
// the other ports, takes the new calls, and the old one ends behind its last
// call, at the latest at the drain limit.
func (x *Exchange) Recycle(server string) error {
	w := x.workers[server]
	if w == nil {
		return fmt.Errorf("sim: no server with a worker process is named %q", server)
	}
	return w.recycle(nil, "by command")
}

// recycle replaces the process that takes calls; only, if set, is the one that
// it must still be.
func (w *workers) recycle(only *process, why string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if only != nil && w.takes != only {
		return nil
	}
	if w.draining != nil {
		return fmt.Errorf("sim: worker process %s of %s still has %d calls; wait for um.worker_stopped",
			w.draining.row(), w.server.Name, w.draining.worker.Calls())
	}
	if w.x.isDown(w.server.Name) {
		return fmt.Errorf("sim: %s is down", w.server.Name)
	}
	next := w.process(map[string]string{"a": "b", "b": "a"}[w.takes.name])
	if err := w.start(next, why); err != nil {
		w.record(workerFailed{next.row(), err})
		return err
	}
	old := w.takes
	w.takes, w.draining = next, old
	idle := old.worker.Drain()
	w.record(workerDraining{old.row(), old.worker.Calls()})
	if !w.x.spawn(func() { w.drain(old, idle) }) {
		return errClosed
	}
	return nil
}

// start opens the listeners of a process.
func (w *workers) start(p *process, why string) error {
	listeners, err := w.x.open(w.server, func(r profile.Port) bool { return r.Process == p.name })
	if err != nil {
		return err
	}
	for _, l := range listeners {
		if l.serv, err = w.x.sipEndpoint(l, p.worker); err != nil {
			return errors.Join(err, closeAll(listeners))
		}
	}
	if !w.x.add(listeners) {
		return errors.Join(errClosed, closeAll(listeners))
	}
	w.started(p, why)
	return nil
}

// began is the start of the first process.
func (w *workers) began() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started(w.takes, "at the start")
}

// started says so, and lets the process grow as old as it may.
func (w *workers) started(p *process, why string) {
	w.record(workerStarted{p.row(), w.ports(p), why})
	interval := w.x.conf.Org.Recycling.Interval
	if interval == 0 {
		interval = w.x.profile.UM.RecycleInterval
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(interval, func() { w.x.spawn(func() { w.aged(p, interval) }) })
}

// aged replaces a process that is as old as it may become.
func (w *workers) aged(p *process, interval time.Duration) {
	if w.recycle(p, "it is "+interval.String()+" old") == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.takes == p {
		w.timer.Reset(again)
	}
}

// again is when a recycling by age is tried again that could not be done.
const again = time.Minute

func (w *workers) ports(p *process) string {
	var ports []string
	for _, l := range w.x.Listeners() {
		if l.Server == w.server && l.Row.Process == p.name {
			ports = append(ports, fmt.Sprintf("%d/%s", l.Bound, l.Row.Transport))
		}
	}
	return strings.Join(ports, " ")
}

// drain waits for the last call of a process, and ends it.
func (w *workers) drain(p *process, idle <-chan struct{}) {
	limit := w.x.conf.Org.Recycling.DrainLimit
	if limit == 0 {
		limit = w.x.profile.UM.DrainLimit
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	why := "its last call is over"
	select {
	case <-idle:
	case <-timer.C:
		why = "the drain limit of " + limit.String() + " is over"
	case <-w.x.ctx.Done():
		return // Close ends it
	}
	left := p.worker.Calls()
	listeners := w.x.remove(func(l *Listener) bool { return l.Server == w.server && l.Row.Process == p.name })
	hangUp(listeners)
	_ = closeAll(listeners)
	p.worker.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = nil
	w.record(workerStopped{p.row(), why, left})
}

// hangUp ends the running calls of a gateway.
func (w *workers) hangUp(gateway, why string) {
	for _, p := range w.processes() {
		p.worker.HangUp(gateway, why)
	}
}

// processes are those that run.
func (w *workers) processes() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining == nil {
		return []*process{w.takes}
	}
	return []*process{w.takes, w.draining}
}

// named is the running process of a name, nil if it does not run.
func (w *workers) named(name string) *process {
	for _, p := range w.processes() {
		if p.name == name {
			return p
		}
	}
	return nil
}

// wait waits until no process has a message left.
func (w *workers) wait() {
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	for _, p := range w.processes() {
		p.worker.Wait()
	}
}

func (w *workers) record(p trace.Payload) {
	w.x.log.Source(w.server.Name, um.UMService).Record(trace.Session{}, trace.Session{}, p, nil)
}

var errClosed = errors.New("sim: the organisation is closed")

// spawn runs f on a goroutine that Close waits for, unless it has begun.
func (x *Exchange) spawn(f func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.closed {
		x.wg.Go(f)
	}
	return !x.closed
}
