// Package handed is a listener whose connections were accepted elsewhere: it puts
// a server behind a socket that is not its own.
package handed

import (
	"net"
	"sync"
)

// Listener gives its Accept the connections that it is given.
type Listener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// New makes a listener; addr is that of the real one.
func New(addr net.Addr) *Listener {
	return &Listener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept returns the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is that of the real listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// Give hands a connection over, or closes it if nobody takes it any more.
func (l *Listener) Give(nc net.Conn) {
	select {
	case l.conns <- nc:
	case <-l.done:
		_ = nc.Close()
	}
}
