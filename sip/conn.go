package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim/quick"
	"github.com/exsim/exsim/sim/trace"
)

// conn is one byte stream to a peer, accepted or dialled.
type conn struct {
	ep    *Endpoint
	nc    net.Conn
	peer  netip.AddrPort
	name  string // peer, for events
	host  []byte // address of the peer, as text
	local netip.AddrPort
	load  *peerLoad

	accepted bool // else we have dialled

	head    head        // of the message being handled; only the reader touches it
	limited bool        // a read deadline is set; the reader's too
	dead    atomic.Bool // closed, or broken for writing

	mu       sync.Mutex
	out      []byte    // answers not yet written
	limit    time.Time // write deadline in force
	batching bool      // the reader is handling what one read brought
	err      error     // the first write error; nothing is written after it
	closed   bool
}

func (e *Endpoint) newConn(nc net.Conn) *conn {
	c := &conn{ep: e, nc: quick.Conn(nc), peer: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
	c.name, c.host = c.peer.String(), []byte(c.peer.Addr().String())
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// read handles what the peer sends until the stream ends.
func (c *conn) read() {
	why := c.readLoop()
	c.ep.dropConn(c, why)
}

func (c *conn) readLoop() (why string) {
	buf := make([]byte, 0, firstRead)
	inside := false // a message has begun: it must end in time
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		before := len(buf)
		n, err := c.nc.Read(buf[before:cap(buf)])
		buf = buf[:before+n]
		busy := len(buf) == cap(buf) // the peer sends more than a buffer at once
		rest, lost := c.handle(buf)
		runtime.Gosched() // lets more arrive: fewer, larger reads and writes under load
		if lost {
			return "the end of a message cannot be found"
		}
		inside = c.limitMessage(rest, inside && len(rest) == len(buf))
		buf = buf[:copy(buf, rest)]
		switch {
		case busy && cap(buf) < busyRead:
			buf = append(make([]byte, 0, busyRead), buf...)
		case len(buf) == 0 && cap(buf) > busyRead:
			buf = make([]byte, 0, firstRead)
		}
		if err != nil {
			return endOf(err, inside)
		}
	}
}

// limitMessage sets the time by which the message that begins rest must be
// complete, once for each message; running says that it is set already. Line
// ends between messages begin none.
func (c *conn) limitMessage(rest []byte, running bool) (inside bool) {
	inside = len(bytes.TrimLeft(rest, "\r\n")) > 0
	switch {
	case inside && !running:
		c.limited = true
		_ = c.nc.SetReadDeadline(time.Now().Add(c.ep.conf.MessageTimeout))
	case !inside && c.limited:
		c.limited = false
		_ = c.nc.SetReadDeadline(time.Time{})
	}
	return inside
}

func endOf(err error, inside bool) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "a message was begun and not finished in time"
	case errors.Is(err, io.EOF) && inside:
		return "closed by the peer inside a message"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return err.Error()
}

// handle takes every complete message off the front of b. All answers to them
// leave in one write.
func (c *conn) handle(b []byte) (rest []byte, lost bool) {
	c.mu.Lock()
	c.batching = true
	c.mu.Unlock()
	for !lost {
		kind, n := next(b, &c.head)
		if kind == frameMore {
			break
		}
		switch kind {
		case frameMessage:
			c.ep.receive(c, &c.head)
		case framePing:
			c.write(func(out []byte) []byte { return append(out, "\r\n"...) })
		case frameLost:
			c.ep.refuseLost(c, &c.head)
			lost = true
		}
		b = b[n:]
	}
	c.mu.Lock()
	c.batching = false
	c.flush()
	c.mu.Unlock()
	return b, lost
}

// write appends a message to what leaves next. Off the reader's goroutine, or
// between two reads, it leaves at once.
func (c *conn) write(appendTo func(out []byte) []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.closed {
		return // nothing leaves any more, so nothing is said to have been sent
	}
	c.out = appendTo(c.out)
	if !c.batching || len(c.out) > maxMessage {
		c.flush()
	}
}

// flush writes out what is waiting; c.mu is held.
func (c *conn) flush() {
	if len(c.out) == 0 {
		return
	}
	if c.err == nil && !c.closed {
		c.extend()
		if _, c.err = c.nc.Write(c.out); c.err != nil {
			c.dead.Store(true)
			_ = c.nc.Close() // the reader sees it and ends the connection
		}
	}
	c.out = c.out[:0]
	if cap(c.out) > maxMessage {
		c.out = nil
	}
}

// extend moves the write deadline on, no more often than a tenth of its length:
// setting one costs as much as a small write.
func (c *conn) extend() {
	timeout := c.ep.conf.WriteTimeout
	if now := time.Now(); c.limit.Sub(now) < timeout-timeout/10 {
		c.limit = now.Add(timeout)
		_ = c.nc.SetWriteDeadline(c.limit)
	}
}

// send writes and records a complete message of ours.
func (c *conn) send(session trace.Session, raw []byte) {
	c.write(func(out []byte) []byte {
		var h head
		h.scan(raw, max(headEnd(raw), 0))
		c.ep.conf.Trace.Record(session, trace.Session{}, sent{&h, c.name}, h.shown())
		return append(out, raw...)
	})
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.flush()
	c.closed = true
	c.dead.Store(true)
	_ = c.nc.Close()
}

// ok reports whether the stream is still good for writing. It never waits.
func (c *conn) ok() bool { return !c.dead.Load() }
