// Package capture writes what our own ends send and receive as a pcapng file,
// without root and without libpcap: SIP and SMTP as TCP, RTP and RTCP as UDP,
// the secrets of TLS beside them, and what was SRTP once more in clear.
//
// While a run goes on, everything is put on disk in the order in which it
// happens. The file is made of that at the end, when it is known which packet
// decided which verdict.
package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Capture collects what passes. A nil one does nothing, so that nobody asks.
type Capture struct {
	start time.Time

	mu     sync.Mutex
	spool  *os.File
	out    *bufio.Writer
	err    error // the first that the disk made
	buf    []byte
	last   uint32                 // number of the last connection
	ends   map[tuple]*end         // TCP connections
	recent []tuple                // those that were closed, and whose other end has not come
	local  map[netip.AddrPort]int // UDP ports of ours
	keys   map[string]bool        // lines of the TLS key log
	done   bool
}

// tuple is a connection, whichever end looks at it: the smaller address first.
type tuple struct{ a, b netip.AddrPort }

func tupleOf(x, y netip.AddrPort) tuple {
	if y.Compare(x) < 0 {
		x, y = y, x
	}
	return tuple{x, y}
}

// end is who tells of a connection: where both ends are ours, the one that
// came first.
type end struct {
	dialled bool
	both    bool // the other one has come, too
}

// New makes a capture that keeps what it has in a file of a folder until Close;
// "" means the system's folder for temporary files. The file has no name where
// the system allows that, so that nothing stays behind a crash.
func New(dir string) (*Capture, error) {
	f, err := os.CreateTemp(dir, "exsim-capture-*")
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	_ = os.Remove(f.Name())
	return &Capture{
		start: time.Now(), spool: f, out: bufio.NewWriterSize(f, 256<<10),
		ends: map[tuple]*end{}, local: map[netip.AddrPort]int{}, keys: map[string]bool{},
	}, nil
}

// Keys takes the lines of TLS key logs; nil for a nil Capture.
func (c *Capture) Keys() io.Writer {
	if c == nil {
		return nil
	}
	return keyLog{c}
}

type keyLog struct{ c *Capture }

func (k keyLog) Write(line []byte) (int, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if !k.c.keys[string(line)] { // both ends of a connection may be ours
		k.c.keys[string(line)] = true
		k.c.put(&record{kind: keyLine, at: time.Now(), data: line})
	}
	return len(line), nil
}

// Opened says that a UDP port is ours.
func (c *Capture) Opened(local netip.AddrPort) { c.count(local, 1) }

// Closed says that it is not any more.
func (c *Capture) Closed(local netip.AddrPort) { c.count(local, -1) }

func (c *Capture) count(local netip.AddrPort, by int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.local[local] += by; c.local[local] <= 0 {
		delete(c.local, local)
	}
}

// Datagram is one that was sent or received.
type Datagram struct {
	At            time.Time
	Local, Remote netip.AddrPort
	Sent          bool
	Wire          []byte // as it was on the wire
	Plain         []byte // what was in it, where it was SRTP or SRTCP; else nil
	Control       bool   // RTCP
	Starred       bool   // its payload is left out: a secret was pressed
}

// Datagram takes one. What goes to another port of ours is taken where it
// arrives: that is what the network let through.
func (c *Capture) Datagram(d *Datagram) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.Sent && c.local[d.Remote] > 0 {
		return
	}
	r := record{kind: datagram, at: d.At, local: d.Local, remote: d.Remote, data: d.Wire, plain: d.Plain}
	for flag, set := range map[byte]bool{flagOut: d.Sent, flagControl: d.Control, flagStarred: d.Starred} {
		if set {
			r.flags |= flag
		}
	}
	c.put(&r)
}

// put writes a record; c.mu is held. Behind an error nothing is written any
// more, and Write tells it.
func (c *Capture) put(r *record) {
	if c.err != nil || c.done {
		return
	}
	c.buf = r.append(c.buf[:0], c.start)
	_, c.err = c.out.Write(c.buf)
}

// Close throws away what was collected.
func (c *Capture) Close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil
	}
	c.done = true
	return c.spool.Close()
}

// rewind makes all that was collected readable, from its begin.
func (c *Capture) rewind() (*bufio.Reader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil, errors.New("capture: it is closed")
	}
	if c.err == nil {
		c.err = c.out.Flush()
	}
	if c.err != nil {
		return nil, fmt.Errorf("capture: it is not whole: %w", c.err)
	}
	size, err := c.spool.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return bufio.NewReaderSize(io.NewSectionReader(c.spool, 0, size), 256<<10), nil
}
