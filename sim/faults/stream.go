package faults

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Framing finds the messages in a stream.
type Framing int

// The framings.
const (
	SIP    Framing = iota // by Content-Length (RFC 3261 §18.3)
	Lines                 // one line each, as the commands and replies of SMTP
	Opaque                // each write is one: TLS
)

// Conn is a connection whose writes the faults befall. Reads pass.
type Conn struct {
	net.Conn
	set     *Set
	framing Framing

	mu      sync.Mutex
	back    func(b []byte) // takes what is answered to the writer, nil for nobody
	wake    *sync.Cond
	queue   []piece
	queued  int           // octets in it
	timeout time.Duration // of each write, 0 for none
	part    []byte        // of a message that is not complete
	closing bool
	err     error // of the last write
	done    chan struct{}
	hurry   chan struct{} // closed by Close: nothing is waited for any more
}

// piece is what leaves at once; behind last the connection ends.
type piece struct {
	b     []byte
	after time.Duration
	last  bool
	back  bool // it is an answer to the writer
}

// Conn puts a set's faults between a writer and its connection. Writing is
// done by a goroutine of its own, that ends with Close, so that a delay holds
// nobody up.
func (s *Set) Conn(nc net.Conn, framing Framing) *Conn {
	c := &Conn{Conn: nc, set: s, framing: framing, done: make(chan struct{}), hurry: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	go c.run()
	return c
}

// Opaque says that nothing can be read in the stream any more: TLS has begun.
func (c *Conn) Opaque() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.framing = Opaque
	if len(c.part) > 0 {
		c.push([]piece{{b: c.part}})
		c.part = nil
	}
}

// Answers says who takes the answers to the writer that faults give.
func (c *Conn) Answers(back func(b []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back = back
}

// Identity is whose certificate the peer has shown, "" without one.
func (c *Conn) Identity() string {
	if i, ok := c.Conn.(interface{ Identity() string }); ok {
		return i.Identity()
	}
	return ""
}

// Listener puts a set's faults on all connections that are accepted.
func (s *Set) Listener(ln net.Listener, framing Framing) net.Listener {
	return &listener{ln, s, framing}
}

type listener struct {
	net.Listener
	set     *Set
	framing Framing
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.set.Conn(nc, l.framing), nil
}

// Write takes what is to leave; an earlier failure is told by the next write.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return 0, net.ErrClosed
	}
	if c.err == nil && c.queued > maxQueued {
		c.err = errNotRead
	}
	if c.err != nil {
		return 0, c.err
	}
	c.part = append(c.part, b...)
	for {
		n := c.framing.message(c.part)
		if n == 0 {
			break
		}
		c.push(c.set.befall(c.framing, slices.Clone(c.part[:n])))
		c.part = c.part[n:]
	}
	return len(b), nil
}

// push queues what is to leave; c.mu is held.
func (c *Conn) push(pieces []piece) {
	for _, p := range pieces {
		c.queued += len(p.b)
	}
	c.queue = append(c.queue, pieces...)
	c.wake.Signal()
}

// SetWriteDeadline bounds each write by as long as is left now: what is delayed
// leaves when its writer has gone on.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout = 0
	if !t.IsZero() {
		c.timeout = max(time.Until(t), time.Millisecond)
	}
	return nil
}

// SetDeadline is that of reads, and as SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// maxQueued bounds what waits for a peer that does not read.
const maxQueued = 4 << 20

var errNotRead = errors.New("faults: the peer does not read")

// lastWord bounds how long Close may take.
const lastWord = time.Second

// Close lets what is queued leave at once, and closes the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		c.timeout = lastWord // of a peer that does not read
		_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWord))
		close(c.hurry)
		c.wake.Signal()
	}
	c.mu.Unlock()
	<-c.done
	return nil
}

func (c *Conn) run() {
	defer close(c.done)
	defer c.Conn.Close()
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closing {
			c.wake.Wait()
		}
		if len(c.queue) == 0 {
			rest := c.part
			c.mu.Unlock()
			if len(rest) > 0 {
				_, _ = c.Conn.Write(rest)
			}
			return
		}
		p := c.queue[0]
		c.queue = c.queue[1:]
		c.queued -= len(p.b)
		c.mu.Unlock()
		if !c.leave(p) {
			return
		}
	}
}

// leave writes a piece, and reports whether the connection goes on.
func (c *Conn) leave(p piece) bool {
	if p.after > 0 {
		t := time.NewTimer(p.after)
		select {
		case <-t.C:
		case <-c.hurry:
		}
		t.Stop()
	}
	c.mu.Lock()
	timeout, back := c.timeout, c.back
	c.mu.Unlock()
	if p.back {
		if back != nil {
			back(p.b)
		}
		return true
	}
	if timeout > 0 {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	_, err := c.Conn.Write(p.b)
	if p.last && err == nil {
		err = errCut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	return err == nil
}

var errCut = errors.New("faults: the connection was cut")

// never is longer than any connection lasts.
const never = 24 * time.Hour

// maxHeld bounds what is held back until a message is complete; what is longer
// passes as it is.
const maxHeld = 256 << 10

// message is the length of the first message, 0 if it is not complete.
func (f Framing) message(b []byte) int {
	n := f.end(b)
	if n == 0 && len(b) > maxHeld {
		return len(b)
	}
	return n
}

func (f Framing) end(b []byte) int {
	switch f {
	case Lines:
		return bytes.IndexByte(b, '\n') + 1
	case Opaque:
		return len(b)
	}
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		return 2 // keep-alive (RFC 5626 §3.5.1)
	}
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return 0
	}
	body, err := strconv.ParseUint(headerOf(b[:head], "Content-Length", "l"), 10, 31)
	if err != nil {
		body = 0 // none, or no number
	}
	n := head + 4 + int(body)
	if n > len(b) {
		return 0
	}
	return n
}

// headerOf is the value of the first header under one of two names.
func headerOf(head []byte, name, short string) string {
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok {
			if key = strings.TrimSpace(key); strings.EqualFold(key, name) || strings.EqualFold(key, short) {
				return strings.TrimSpace(value)
			}
		}
	}
	return ""
}

// is reports whether a message is one that a fault names: INVITE, 302, or the
// answer to a method as "200 BYE"; of lines EHLO or 250. The empty name means
// all.
func (f Framing) is(of string, message []byte) bool {
	if of == "" {
		return true
	}
	if f == Opaque {
		return false
	}
	first, _, _ := strings.Cut(string(message), "\r\n")
	code, method, both := strings.Cut(of, " ")
	if f == Lines {
		return strings.EqualFold(strings.TrimRight(first[:min(len(code), len(first))], " "), code)
	}
	word, rest, _ := strings.Cut(first, " ")
	if word == "SIP/2.0" {
		word, _, _ = strings.Cut(rest, " ")
	}
	if !both {
		return word == code
	}
	_, answered, _ := strings.Cut(headerOf(message, "CSeq", "CSeq"), " ")
	return word == code && strings.TrimSpace(answered) == method
}

// befall makes of a message what leaves in its place.
func (s *Set) befall(framing Framing, message []byte) []piece {
	if framing == SIP && len(message) == 2 {
		return []piece{{b: message}}
	}
	pieces := []piece{{b: message}}
	strikes := s.strikes(func(f *Fault) bool {
		return ofStream[f.Do] != nil && framing.is(f.Of, message) && f.concerns(framing, message)
	})
	slices.SortStableFunc(strikes, func(a, b strike) int { return turn(a.Do) - turn(b.Do) })
	for _, k := range strikes {
		pieces = each(pieces, func(b []byte) []piece { return ofStream[k.Do](&k.Fault, framing, b) })
		var left []byte
		for _, p := range pieces {
			left = append(left, p.b...)
		}
		s.note(&k, left)
	}
	return pieces
}

// turn orders faults of one message: what it says, how often, how it leaves.
func turn(k Kind) int {
	switch k {
	case Rewrite, Strip, Mask, Stars, CRLF, Answer:
		return 0
	case Duplicate:
		return 1
	case Split:
		return 2
	case Cut:
		return 3
	}
	return 4
}

// each does something to every piece; what a piece had to wait for, and that it
// was the last, holds for what becomes of it.
func each(pieces []piece, do func(b []byte) []piece) (list []piece) {
	for _, p := range pieces {
		some := do(p.b)
		if len(some) > 0 {
			some[0].after += p.after
			some[len(some)-1].last = some[len(some)-1].last || p.last
		}
		list = append(list, some...)
		if len(list) > 0 && list[len(list)-1].last {
			break
		}
	}
	return list
}

// concerns reports whether a message has what a fault is about.
func (f *Fault) concerns(framing Framing, message []byte) bool {
	switch {
	case f.Do == Large:
		return framing == Opaque && len(message) > f.Octet
	case framing == Opaque:
		return f.Do == Delay || f.Do == Split || f.Do == Cut
	case f.Do == LongLine:
		return framing == Lines && len(message) > f.Octet
	case f.Keyword != "":
		return framing == Lines && keyword(message, f.Keyword)
	case f.Do == Stars:
		return framing == Lines && bytes.HasPrefix(message, []byte("220 "))
	case f.Do == CRLF:
		return framing == Lines && !bytes.HasSuffix(message, []byte("\r\n")) && bytes.HasSuffix(message, []byte("\n"))
	case f.Do == Answer:
		return framing == Lines
	case f.Do == Rewrite, f.Do == Strip:
		return framing == SIP && !bytes.Equal(ofStream[f.Do](f, framing, message)[0].b, message)
	}
	return true
}

// ofStream are the faults of messages.
var ofStream = map[Kind]func(f *Fault, framing Framing, message []byte) []piece{
	Delay:     func(f *Fault, _ Framing, m []byte) []piece { return []piece{{b: m, after: f.For}} },
	Silence:   func(*Fault, Framing, []byte) []piece { return nil },
	Duplicate: func(_ *Fault, _ Framing, m []byte) []piece { return []piece{{b: m}, {b: m}} },
	Rewrite:   func(f *Fault, _ Framing, m []byte) []piece { return []piece{{b: rewritten(f, m)}} },
	Strip: func(f *Fault, framing Framing, m []byte) []piece {
		if framing == Lines {
			return stripped(m)
		}
		return []piece{{b: without(m, f.Header)}}
	},
	Stars: func(_ *Fault, _ Framing, m []byte) []piece { return []piece{{b: starred(m)}} },
	CRLF: func(_ *Fault, _ Framing, m []byte) []piece {
		return []piece{{b: append(m[:len(m)-1:len(m)-1], "\r\n"...)}}
	},
	Answer: func(f *Fault, _ Framing, _ []byte) []piece { return []piece{{b: []byte(f.Value + "\r\n"), back: true}} },
	Mask:   func(_ *Fault, _ Framing, m []byte) []piece { return []piece{{b: masked(m)}} },
	Split: func(f *Fault, _ Framing, m []byte) []piece {
		at := min(f.Octet, len(m))
		return []piece{{b: m[:at]}, {b: m[at:], after: f.For}}
	},
	LongLine: func(*Fault, Framing, []byte) []piece { return []piece{{last: true}} },
	Large:    func(_ *Fault, _ Framing, m []byte) []piece { return []piece{{b: m, after: never}} },
	Cut:      func(f *Fault, _ Framing, m []byte) []piece { return []piece{{b: m[:min(f.Octet, len(m))], last: true}} },
}
