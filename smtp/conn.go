package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/quick"
	"github.com/exsim/exsim/sim/trace"
)

const (
	bufferSize = 1 << 10 // of an idle connection; messages come in through a bigBuffer
	bigBuffer  = 64 << 10
	// maxLine bounds a command line with its CRLF. RFC 5321 §4.5.3.1.4 asks
	// for 512 octets at least; GSSAPI tokens need up to 12288 (RFC 4954 §4).
	maxLine = 12288
)

// conn is one connection and the state of its SMTP session.
type conn struct {
	s       *Server
	nc      net.Conn
	raw     net.Conn // below TLS
	remote  netip.AddrPort
	session trace.Session
	why     string // it ended
	ends    time.Time

	in  []byte // read and not yet consumed
	buf []byte // its array
	out []byte

	verb          string
	errors        int
	logons        int // that failed
	tls           *tls.ConnectionState
	secured       string // the verb that TLS began with
	hello         string // "" before EHLO or HELO
	esmtp         bool
	back          gosmtp.Session
	authenticated bool
	afterAuth     bool // the last command was AUTH, or of its form
	lineErr       error

	// the transaction
	mail   bool
	opts   gosmtp.MailOptions
	rcpts  int
	chunks *chunks // a BDAT message under way

	// what is done to an answer on purpose
	suffers    *Trouble // the next one
	held       time.Duration
	broken     error
	slow       bool // it is for what the peer has done
	mistrusted bool // every answer is delayed
	closing    bool // behind this answer
}

func newConn(s *Server, nc net.Conn) *conn {
	nc = quick.Conn(nc)
	return &conn{s: s, nc: nc, raw: nc, remote: addrPort(nc.RemoteAddr()), why: "closed"}
}

// errQuit ends a session in order.
var errQuit = errors.New("quit")

func (c *conn) serve(full Reply) {
	conf := &c.s.conf
	c.session = conf.Sessions.Next()
	cause := trace.Session{}
	if conf.Cause != nil {
		cause = conf.Cause(c.remote)
	}
	conf.Trace.Record(c.session, cause, openedEvent{c.remote.String(), addrPort(c.nc.LocalAddr()).String(), conf.Name}, nil)
	c.buf = take(bufferSize)
	if conf.Session > 0 {
		c.ends = time.Now().Add(conf.Session)
	}
	if full != "" {
		c.reply(full)
		_ = c.flush()
		c.why = "too many connections"
		return
	}
	c.mistrusted = conf.Discredit && c.s.discredited.has(c.remote.Addr())
	if !c.answers(c.ask(StageConnect)) {
		c.say(220, "220 "+conf.Banner(time.Now()))
	}
	for {
		if err := c.command(); err != nil {
			c.explain(err)
			return
		}
	}
}

// explain says goodbye where the end is ours.
func (c *conn) explain(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, errQuit):
	case errors.As(err, &timeout) && timeout.Timeout():
		c.verb = ""
		c.why = "the peer was idle too long"
		if !c.ends.IsZero() && !time.Now().Before(c.ends) {
			c.why = "the session took too long"
			c.reply(ReplyTimeoutSession)
		} else {
			c.reply(ReplyTimeoutInput)
		}
	case errors.Is(err, io.EOF):
		c.why = "closed by the peer"
	case errors.Is(err, net.ErrClosed):
		c.why = "closed"
	default:
		c.why = err.Error()
	}
	_ = c.flush()
}

// interrupt wakes a connection that waits for its peer, so that it ends.
func (c *conn) interrupt() { _ = c.raw.Close() }

func (c *conn) finish() {
	if c.chunks != nil {
		c.chunks.abort(io.ErrUnexpectedEOF)
	}
	c.logout()
	_ = c.nc.Close()
	give(c.buf)
	c.buf, c.in = nil, nil
	c.s.conf.Trace.Record(c.session, trace.Session{}, closedEvent{c.remote.String(), c.why}, nil)
}

func (c *conn) logout() {
	if c.back != nil {
		if err := c.back.Logout(); err != nil {
			c.note(err)
		}
		c.back = nil
	}
}

func (c *conn) note(err error) {
	c.s.conf.Trace.Record(c.session, trace.Session{}, failure{err.Error()}, nil)
}

// command reads and answers one command. Answers leave when no further command
// is waiting (RFC 2920).
func (c *conn) command() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if line == nil {
		c.fail(ReplyLineTooLong)
		return c.tooManyErrors()
	}
	verb, args := splitVerb(line)
	c.verb = verb
	c.record(line)
	switch h := handler(verb); {
	case h == nil:
		c.fail(ReplyUnrecognized)
	case verb != "BDAT" && c.answers(c.ask(verb)): // the chunk behind BDAT is to be read
	default:
		err = h(c, args)
	}
	if err != nil {
		return err
	}
	if c.broken != nil {
		return c.flush() // nothing behind it is served
	}
	if c.closing {
		c.why = "refused"
		_ = c.flush()
		return errQuit
	}
	return c.tooManyErrors()
}

// record keeps the line, without what may be secret.
func (c *conn) record(line []byte) {
	auth := c.verb == "AUTH" || c.verb == "X-EXPS"
	if f := bytes.Fields(line); auth && len(f) > 2 {
		line = append(bytes.Join(f[:2], []byte(" ")), " "+hidden...)
	}
	if c.afterAuth && handler(c.verb) == nil { // what a client says that did not wait for the answer
		c.verb, line = "", []byte(hidden)
	}
	c.afterAuth = auth || c.afterAuth && c.verb == ""
	c.s.conf.Trace.Record(c.session, trace.Session{}, received{c.verb}, line)
}

func splitVerb(line []byte) (verb, args string) {
	text := strings.TrimRight(string(line), "\r\n")
	verb = text
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		verb, args = text[:i], text[i+1:]
	}
	return strings.ToUpper(verb), strings.TrimSpace(args)
}

// line returns the next line with its line end; nil for one that is too long,
// which is consumed.
func (c *conn) line() ([]byte, error) {
	long := false
	for {
		if i := bytes.IndexByte(c.in, '\n'); i >= 0 {
			line := c.in[:i+1]
			c.in = c.in[i+1:]
			if long || len(line) > maxLine {
				return nil, nil
			}
			return line, nil
		}
		if len(c.in) >= maxLine {
			long = true
			c.in = c.in[:0]
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// fill flushes our answers and reads what the peer sends next.
func (c *conn) fill() error {
	if err := c.flush(); err != nil {
		return err
	}
	n := copy(c.buf, c.in)
	if n == len(c.buf) {
		c.grow(2 * len(c.buf))
	}
	c.in = c.buf[:n]
	_ = c.nc.SetReadDeadline(c.deadline())
	m, err := c.nc.Read(c.buf[n:])
	c.in = c.buf[:n+m]
	if m > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow makes room for more.
func (c *conn) grow(size int) {
	if size > len(c.buf) {
		c.rebuffer(size)
	}
}

// shrink gives the room of a message back.
func (c *conn) shrink() {
	if len(c.buf) > bufferSize && len(c.in) <= bufferSize {
		c.rebuffer(bufferSize)
	}
}

func (c *conn) rebuffer(size int) {
	buf := take(size)
	c.in = buf[:copy(buf, c.in)]
	give(c.buf)
	c.buf = buf
}

// Buffers are used again: most connections live for one message.
var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}
	bigBuffers   = sync.Pool{New: func() any { b := make([]byte, bigBuffer); return &b }}
)

func take(size int) []byte {
	var b *[]byte
	switch size {
	case bufferSize:
		b, _ = smallBuffers.Get().(*[]byte)
	case bigBuffer:
		b, _ = bigBuffers.Get().(*[]byte)
	default:
		return make([]byte, size)
	}
	return *b
}

func give(b []byte) {
	switch len(b) {
	case bufferSize:
		smallBuffers.Put(&b)
	case bigBuffer:
		bigBuffers.Put(&b)
	}
}

func (c *conn) deadline() time.Time {
	var at time.Time
	if d := c.s.conf.Inactivity; d > 0 {
		at = time.Now().Add(d)
	}
	if !c.ends.IsZero() && (at.IsZero() || c.ends.Before(at)) {
		at = c.ends
	}
	return at
}

// reply answers with a named reply; placeholders are given as key, value.
func (c *conn) reply(name Reply, values ...string) {
	text := c.s.conf.Replies[name]
	if text == "" {
		c.note(errors.New("no text for the reply " + string(name)))
		text = "451 4.3.0 Local error"
	}
	if strings.IndexByte(text, '{') >= 0 {
		values = append(values, "verb", c.verb)
		for i := 0; i+1 < len(values); i += 2 {
			text = strings.ReplaceAll(text, "{"+values[i]+"}", oneLine(values[i+1]))
		}
	}
	n := code(text)
	c.closing = c.closing || n == 421
	c.say(n, text)
}

// oneLine keeps a value from breaking the reply into two.
func oneLine(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, v)
}

// fail is a reply that counts as an error of the peer.
func (c *conn) fail(name Reply) {
	c.delay(c.s.conf.Tarpit, name)
	c.errors++
	c.reply(name)
}

func (c *conn) tooManyErrors() error {
	if m := c.s.conf.MaxLogons; m > 0 && c.logons >= m {
		c.verb = ""
		c.reply(ReplyTooManyLogons)
		c.why = "too many failed log-ons"
		_ = c.flush()
		return errQuit
	}
	if m := c.s.conf.MaxErrors; m > 0 && c.errors >= m {
		c.verb = ""
		c.reply(ReplyTooManyErrors)
		c.why = "too many errors"
		_ = c.flush()
		return errQuit
	}
	return nil
}

// say queues a whole reply, its lines separated by \n.
func (c *conn) say(code int, text string) {
	if c.mistrusted {
		c.delay(c.s.conf.Tarpit, "discredited address")
	}
	begin := len(c.out)
	for line := range strings.SplitSeq(text, "\n") {
		c.out = append(append(c.out, line...), "\r\n"...)
	}
	c.suffer(begin)
	if len(c.out) > begin {
		c.s.conf.Trace.Record(c.session, trace.Session{}, sent{code, c.verb}, c.out[begin:])
	}
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return c.broken
	}
	c.hold()
	_ = c.nc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	if err == nil {
		err = c.broken
	}
	return err
}

// refuse words an error of the back end.
func (c *conn) refuse(err error) {
	var named *Refusal
	var coded *gosmtp.SMTPError
	switch {
	case errors.As(err, &named):
		if named.Cause != nil {
			c.note(named)
		}
		c.s.conf.Trace.Record(c.session, trace.Session{}, refusedEvent{c.remote.String(), c.verb, c.s.conf.Replies[named.Reply]}, nil)
		c.fail(named.Reply)
		c.closing = c.closing || named.Close
	case errors.As(err, &coded):
		c.errors++
		c.say(coded.Code, coded.Error())
	default:
		c.note(err)
		c.reply(ReplyInsufficient)
	}
}
