package smtp

import (
	"bytes"
	"errors"
	"io"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/trace"
)

// data receives a message up to CRLF.CRLF; nothing else ends it
// (RFC 5321 §4.1.1.4).
func (c *conn) data(args string) error {
	switch {
	case !c.mail:
		c.fail(c.tooEarly())
		return nil
	case c.rcpts == 0:
		c.fail(ReplyNeedRcpt)
		return nil
	case args != "":
		c.fail(ReplyInvalidArguments)
		return nil
	case c.opts.Body == gosmtp.BodyBinaryMIME, c.chunks != nil:
		c.fail(ReplyBadSequence)
		return nil
	}
	if c.dropped() {
		return errQuit
	}
	c.reply(ReplyStartData)
	c.grow(bigBuffer)
	r := &dotReader{c: c, lineStart: true}
	t := c.ask(StageMessage)
	var err error
	if t == nil || t.Reply == "" {
		err = c.back.Data(r)
	}
	if turnsAway(err) && !errors.Is(r.err, io.ErrUnexpectedEOF) {
		c.received(r.octets)
		c.outcome(err, r.octets, t)
		return c.turnAway()
	}
	if _, derr := io.Copy(io.Discard, r); derr != nil && !errors.Is(derr, errTooBig) && !errors.Is(derr, errBareLinefeed) {
		return derr // the connection broke inside the message
	}
	c.received(r.octets)
	c.outcome(err, r.octets, t)
	return nil
}

// dropped asks the session whether the connection ends here, behind all recipients.
func (c *conn) dropped() bool {
	back, ok := c.back.(Dropper)
	if !ok || !back.Drop() {
		return false
	}
	c.why = "dropped by a filter"
	return true
}

// turnsAway reports whether an error of the back end ends the session at once.
func turnsAway(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Close
}

// turnAway ends a session within a message: the answer leaves, and what the peer
// still sends is read for a while, so that the answer is not lost with it.
func (c *conn) turnAway() error {
	c.why = "refused"
	if err := c.flush(); err != nil {
		return err
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.CopyN(io.Discard, c.nc, maxLingering)
	return errQuit
}

const (
	lingering    = 2 * time.Second
	maxLingering = 4 << 20
)

func (c *conn) received(octets int64) {
	c.s.conf.Trace.Record(c.session, trace.Session{}, content{octets, c.verb}, nil)
}

// outcome answers the end of a message.
func (c *conn) outcome(err error, octets int64, t *Trouble) {
	switch {
	case c.answers(t):
	case c.tooBig(octets):
		c.fail(ReplyTooBig)
	case err != nil:
		c.refuse(err)
	default:
		var values []string
		if q, ok := c.back.(Queued); ok {
			for k, v := range q.Queued() {
				values = append(values, k, v)
			}
		}
		c.delayed()
		c.reply(ReplyQueued, values...)
	}
	c.reset()
	c.shrink()
}

func (c *conn) tooBig(octets int64) bool {
	if x, ok := c.back.(SizeExempt); ok && x.SizeExempt() {
		return false
	}
	return c.s.conf.MaxMessageSize > 0 && octets > c.s.conf.MaxMessageSize
}

// errTooBig tells the back end that the message is over its limit; the rest
// of it is read and dropped.
var errTooBig = &Refusal{Reply: ReplyTooBig}

// errBareLinefeed is the same for a line feed without its carriage return.
var errBareLinefeed = &Refusal{Reply: ReplyBareLinefeed}

// dotReader undoes the dot transparency of DATA (RFC 5321 §4.5.2) on the
// connection's own buffer: whole stretches between line beginnings with a dot
// are handed on at once.
type dotReader struct {
	c         *conn
	lineStart bool // the next octet begins a line
	cr        bool // the last octet was a CR
	last      byte // that was handed on
	bare      bool // a line feed came alone
	done      bool
	octets    int64
	err       error
}

var crlfDot = []byte("\r\n.")

func (r *dotReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.c.tooBig(r.octets) {
		return 0, r.skip(errTooBig)
	}
	if r.bare {
		return 0, r.skip(errBareLinefeed)
	}
	for {
		if r.done {
			return 0, io.EOF
		}
		if n := r.take(p); n > 0 {
			r.look(p[:n])
			r.octets += int64(n)
			return n, nil
		}
		if r.done {
			return 0, io.EOF
		}
		if err := r.c.fill(); err != nil {
			r.err = broken(err)
			return 0, r.err
		}
	}
}

// broken makes the end of the stream inside a message an error: to a reader a
// plain EOF would be the message's own end.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// look finds a line feed alone, where that matters.
func (r *dotReader) look(p []byte) {
	if !r.c.s.conf.NoBareLinefeed {
		return
	}
	for _, b := range p {
		r.bare = r.bare || b == '\n' && r.last != '\r'
		r.last = b
	}
}

// skip drops the rest of a message that is refused, so that the session can go
// on.
func (r *dotReader) skip(why error) error {
	var drop [32 << 10]byte
	for !r.done {
		if r.take(drop[:]) > 0 {
			continue
		}
		if r.done {
			break
		}
		if err := r.c.fill(); err != nil {
			r.err = broken(err)
			return r.err
		}
	}
	r.err = why
	return why
}

// take moves message text into p; 0 if more must be read first. A line begins
// behind CRLF only, also where the two octets came, or went, apart.
func (r *dotReader) take(p []byte) int {
	in := r.c.in
	if len(in) == 0 || len(p) == 0 {
		return 0
	}
	if r.cr && in[0] == '\n' {
		p[0] = '\n'
		r.c.in, r.cr, r.lineStart = in[1:], false, true
		return 1
	}
	if r.lineStart && in[0] == '.' {
		switch {
		case bytes.HasPrefix(in, []byte(".\r\n")):
			r.c.in, r.done = in[3:], true
			return 0
		case len(in) < 3 && bytes.HasPrefix([]byte(".\r\n"), in):
			return 0
		}
		in = in[1:] // a stuffed dot
	}
	n := len(in)
	if i := bytes.Index(in, crlfDot); i >= 0 {
		n = i + 2
	}
	n = copy(p, in[:n])
	r.c.in = in[n:]
	r.lineStart = bytes.HasSuffix(in[:n], []byte("\r\n"))
	r.cr = n > 0 && in[n-1] == '\r'
	return n
}
