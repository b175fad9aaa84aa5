package capture

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Listener takes down what a listener accepts; for a nil Capture it is that
// listener.
func (c *Capture) Listener(ln net.Listener) net.Listener {
	if c == nil {
		return ln
	}
	return &listener{ln, c}
}

type listener struct {
	net.Listener
	c *Capture
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.c.conn(nc, false), nil
}

// Dialled takes down a connection that we opened; for a nil Capture it is that
// connection.
func (c *Capture) Dialled(nc net.Conn) net.Conn {
	if c == nil {
		return nc
	}
	return c.conn(nc, true)
}

// conn takes down a connection, unless its other end, which is ours, too, does
// so already.
func (c *Capture) conn(nc net.Conn, dialled bool) net.Conn {
	local, remote := addrOf(nc.LocalAddr()), addrOf(nc.RemoteAddr())
	if !local.IsValid() || !remote.IsValid() {
		return nc // in memory
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := tupleOf(local, remote)
	if e := c.ends[key]; e != nil && e.dialled != dialled && !e.both {
		e.both = true
		return nc
	}
	c.ends[key] = &end{dialled: dialled}
	c.last++
	r := record{kind: opened, at: time.Now(), conn: c.last, local: local, remote: remote}
	if dialled {
		r.flags = flagOut
	}
	c.put(&r)
	return &conn{Conn: nc, c: c, id: c.last, key: key}
}

func addrOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// conn is a connection that is taken down.
type conn struct {
	net.Conn
	c   *Capture
	id  uint32
	key tuple

	heard, said sync.Once // its ends
}

func (n *conn) Read(b []byte) (int, error) {
	got, err := n.Conn.Read(b)
	if got > 0 {
		n.note(data, false, b[:got])
	}
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
	case errors.Is(err, io.EOF):
		n.heard.Do(func() { n.note(closed, false, nil) })
	default:
		n.heard.Do(func() { n.note(broken, false, nil) })
	}
	return got, err
}

// Write notes first what goes out: the answer is noted behind it.
func (n *conn) Write(b []byte) (int, error) {
	n.note(data, true, b)
	return n.Conn.Write(b)
}

func (n *conn) Close() error {
	n.said.Do(func() { n.note(closed, true, nil) })
	n.c.forget(n.key)
	return n.Conn.Close()
}

// CloseWrite says that nothing follows.
func (n *conn) CloseWrite() error {
	half, ok := n.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	n.said.Do(func() { n.note(closed, true, nil) })
	return half.CloseWrite()
}

// SetLinger is that of a TCP connection; with 0, Close resets it.
func (n *conn) SetLinger(sec int) error {
	l, ok := n.Conn.(interface{ SetLinger(sec int) error })
	if !ok {
		return errors.ErrUnsupported
	}
	if sec == 0 {
		n.said.Do(func() { n.note(broken, true, nil) })
	}
	return l.SetLinger(sec)
}

// SetNoDelay is that of a TCP connection.
func (n *conn) SetNoDelay(on bool) error {
	d, ok := n.Conn.(interface{ SetNoDelay(on bool) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return d.SetNoDelay(on)
}

func (n *conn) note(what kind, out bool, b []byte) {
	r := record{kind: what, conn: n.id, data: b}
	if out {
		r.flags = flagOut
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	r.at = time.Now()
	n.c.put(&r)
}

// maxRecent is how many connections are remembered whose other end, if it is
// ours, has not come yet.
const maxRecent = 1024

// forget lets a connection of the same addresses be another one: at once where
// both ends have come, else when many others have gone since.
func (c *Capture) forget(key tuple) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.ends[key]; e == nil || e.both {
		delete(c.ends, key)
		return
	}
	if c.recent = append(c.recent, key); len(c.recent) > maxRecent {
		delete(c.ends, c.recent[0])
		c.recent = c.recent[1:]
	}
}
