package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
)

// Listener is one bound row of the port table.
type Listener struct {
	Server *org.Server
	Row    profile.Port
	// Documented is the port that Exchange uses, Bound the one we bound.
	Documented, Bound uint16

	ln   net.Listener
	serv endpoint

	connectors []string // IDs of the receive connectors at it
}

// endpoint is what answers on a listener.
type endpoint interface {
	Serve(ln net.Listener) error
	io.Closer
}

// Connectors are the IDs of the receive connectors that share it, none where it
// is no listener of mail.
func (l *Listener) Connectors() []string { return l.connectors }

// Addr is the bound address.
func (l *Listener) Addr() netip.AddrPort { return netip.AddrPortFrom(l.Server.Address, l.Bound) }

// bind opens the listeners of every server, with its first worker process.
func (x *Exchange) bind() error {
	var failed bindErrors
	for i := range x.conf.Org.Servers {
		list, err := x.open(&x.conf.Org.Servers[i], func(r profile.Port) bool { return r.Process != "b" })
		x.listeners = append(x.listeners, list...)
		var some bindErrors
		if errors.As(err, &some) {
			failed = append(failed, some...)
		} else if err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// open binds some rows of a server, or none.
func (x *Exchange) open(s *org.Server, which func(r profile.Port) bool) ([]*Listener, error) {
	var list []*Listener
	var failed bindErrors
	for _, row := range x.conf.Org.Rows(x.profile, s) {
		if !which(row) {
			continue
		}
		if err := x.conf.Ports.fits(row.Port); err != nil {
			return nil, errors.Join(err, closeAll(list))
		}
		port := x.conf.Ports.bound(row.Port)
		ln, err := x.conf.Net.Listen(netip.AddrPortFrom(s.Address, port))
		if err != nil {
			failed = append(failed, failedBind{s.Name, s.Address, port, row, err})
			continue
		}
		l := &Listener{Server: s, Row: row, Documented: row.Port, ln: ln}
		list = append(list, l)
		ap, err := netip.ParseAddrPort(ln.Addr().String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sim: listener of %s: %w", row.ID, err), closeAll(list))
		}
		l.Bound = ap.Port()
	}
	if len(failed) > 0 {
		_ = closeAll(list)
		return nil, failed
	}
	return list, nil
}

// address is where a listener is reached by others.
func (x *Exchange) address(serverName, row string) netip.AddrPort {
	if l := x.Listener(serverName, row); l != nil {
		return netip.AddrPortFrom(l.Server.Public(), l.Bound)
	}
	return netip.AddrPort{}
}

// Listener finds a bound row of a server, or the one that a receive connector
// shares with others, by its ID; nil if there is none.
func (x *Exchange) Listener(serverName, id string) *Listener {
	for _, l := range x.Listeners() {
		if l.Server.Name == serverName && (l.Row.ID == id || slices.Contains(l.connectors, id)) {
			return l
		}
	}
	return nil
}

// serve serves a listener until it is closed.
func (x *Exchange) serve(l *Listener) {
	err := l.serv.Serve(l.ln)
	if err != nil && !errors.Is(err, sip.ErrClosed) && !errors.Is(err, smtp.ErrClosed) { // stopped before it had begun
		x.log.Source(l.Server.Name, l.Row.ID).Record(trace.Session{}, trace.Session{}, listenerFailed{err}, nil)
	}
}

// Listeners lists what is bound now.
func (x *Exchange) Listeners() []*Listener {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.listeners
}

// StopListener stops one row of a server, as when its service is stopped.
func (x *Exchange) StopListener(serverName, row string) error {
	l := x.Listener(serverName, row)
	if l == nil {
		return fmt.Errorf("sim: %s has no listener %s", serverName, row)
	}
	return l.serv.Close()
}

// StartListener starts a row again that was stopped, on the same port.
func (x *Exchange) StartListener(serverName, row string) error {
	old := x.Listener(serverName, row)
	if old == nil {
		return fmt.Errorf("sim: %s has no listener %s", serverName, row)
	}
	ln, err := x.conf.Net.Listen(old.Addr())
	if err != nil {
		return bindErrors{{serverName, old.Server.Address, old.Bound, old.Row, err}}
	}
	l := &Listener{Server: old.Server, Row: old.Row, Documented: old.Documented, Bound: old.Bound, ln: ln}
	if err := x.equip(l); err != nil {
		return errors.Join(err, closeAll([]*Listener{l}))
	}
	x.remove(func(k *Listener) bool { return k == old })
	if !x.add([]*Listener{l}) {
		return errors.Join(errClosed, closeAll([]*Listener{l}))
	}
	return nil
}

type listenerFailed struct{ err error }

func (listenerFailed) EventName() string { return "bench.fault" }

func (e listenerFailed) AppendTo(f *trace.Fields) {
	f.Text("where", "listener")
	f.Text("what", e.err.Error())
}

// add puts new listeners to service, unless the organisation is closed.
func (x *Exchange) add(listeners []*Listener) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.listeners = append(x.listeners[:len(x.listeners):len(x.listeners)], listeners...)
	for _, l := range listeners {
		x.wg.Go(func() { x.serve(l) })
	}
	return true
}

// remove takes listeners out of service, without closing them.
func (x *Exchange) remove(which func(l *Listener) bool) []*Listener {
	x.mu.Lock()
	defer x.mu.Unlock()
	var gone []*Listener
	x.listeners = slices.DeleteFunc(slices.Clone(x.listeners), func(l *Listener) bool {
		if which(l) {
			gone = append(gone, l)
			return true
		}
		return false
	})
	return gone
}

// closeAll ends listeners; one that never served does not know its own.
func closeAll(listeners []*Listener) error {
	var errs []error
	for _, l := range listeners {
		if l.serv != nil {
			errs = append(errs, l.serv.Close())
		}
		_ = l.ln.Close()
	}
	return errors.Join(errs...)
}

// hangUp lets the peers of running calls know that they are over.
func hangUp(listeners []*Listener) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range listeners {
		if ep, ok := l.serv.(*sip.Endpoint); ok {
			wg.Go(func() { ep.HangUp(ctx) })
		}
	}
	wg.Wait()
}

// bindErrors are what kept listeners from being bound, all in one error.
type bindErrors []failedBind

func (failed bindErrors) Error() string {
	var lines, denied []string
	for _, f := range failed {
		at := netip.AddrPortFrom(f.addr, f.bound)
		switch {
		case errors.Is(f.err, syscall.EADDRINUSE):
			lines = append(lines, fmt.Sprintf("%s of %s: port %s is taken; stop what holds it (ss -ltnp), or use --port-offset N", f.row.ID, f.server, at))
		case errors.Is(f.err, os.ErrPermission):
			denied = append(denied, fmt.Sprintf("%s (%s of %s)", at, f.row.ID, f.server))
		case errors.Is(f.err, syscall.EADDRNOTAVAIL):
			lines = append(lines, fmt.Sprintf("%s of %s: %s is no address of this machine; add it, or change address in the organisation", f.row.ID, f.server, f.addr))
		default:
			lines = append(lines, fmt.Sprintf("%s of %s: %v", f.row.ID, f.server, f.err))
		}
	}
	if len(denied) > 0 {
		lines = append(lines, "no privilege for "+strings.Join(denied, ", ")+
			"; use --low-port-offset 10000, or once: sudo setcap cap_net_bind_service=+ep PATH-OF-EXSIM")
	}
	return "sim: " + strings.Join(lines, "\n")
}

type failedBind struct {
	server string
	addr   netip.Addr
	bound  uint16
	row    profile.Port
	err    error
}
