package smtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	gosasl "github.com/emersion/go-sasl"

	"github.com/exsim/exsim/sim/trace"
)

// Answer is a reply that a server gave.
type Answer struct {
	Code  int
	Lines []string // whole, with their codes
}

// String is the answer on one line.
func (a *Answer) String() string { return strings.Join(a.Lines, " ") }

// Refused is the error of a command that was answered otherwise than it wants.
type Refused struct {
	Verb   string
	Answer Answer
}

// Error is the answer.
func (r *Refused) Error() string { return r.Answer.String() }

// Temporary reports whether it may be tried again (RFC 5321 §4.2.1).
func (r *Refused) Temporary() bool { return r.Answer.Code >= 400 && r.Answer.Code < 500 }

// ClientConfig describes a Client.
type ClientConfig struct {
	Hello string // its name in EHLO
	// ForceHELO says HELO without having tried EHLO.
	ForceHELO bool
	// Reply bounds the wait for one reply, and for the peer to read.
	Reply   time.Duration
	Session trace.Session
	Trace   *trace.Source
}

// Client is the sending side of a session.
type Client struct {
	conf ClientConfig
	nc   net.Conn
	r    *bufio.Reader
	w    *bufio.Writer

	offers map[string][]string // of EHLO, by keyword
	waits  []string            // verbs whose replies are still to come
}

// NewClient speaks over a connection.
func NewClient(nc net.Conn, conf ClientConfig) *Client {
	c := &Client{conf: conf}
	c.over(nc)
	return c
}

func (c *Client) over(nc net.Conn) {
	c.nc, c.r, c.w = nc, bufio.NewReader(nc), bufio.NewWriterSize(nc, bigBuffer)
}

// Greet reads the banner and says EHLO, or HELO where EHLO is not known.
func (c *Client) Greet() error {
	if err := c.wants("", 220); err != nil {
		return err
	}
	return c.Hello()
}

// Hello says EHLO, or HELO where EHLO is not known; behind TLS it is said again.
func (c *Client) Hello() error {
	c.offers = map[string][]string{}
	if !c.conf.ForceHELO {
		a, err := c.ask("EHLO", c.conf.Hello)
		if err != nil {
			return err
		}
		if a.Code == 250 {
			for _, l := range a.Lines[1:] {
				if f := strings.Fields(strings.ToUpper(l[min(4, len(l)):])); len(f) > 0 {
					c.offers[f[0]] = f[1:]
				}
			}
			return nil
		}
		if a.Code != 500 && a.Code != 502 {
			return &Refused{"EHLO", a}
		}
	}
	return c.command(250, "HELO", c.conf.Hello)
}

// Offers reports whether EHLO's answer has a keyword, and its parameters.
func (c *Client) Offers(keyword string) (params []string, ok bool) {
	params, ok = c.offers[keyword]
	return params, ok
}

// StartTLS says a verb that begins TLS, shakes hands and greets again.
func (c *Client) StartTLS(verb string, conf *tls.Config) error {
	if err := c.command(220, verb, ""); err != nil {
		return err
	}
	t := tls.Client(c.nc, conf)
	_ = t.SetDeadline(time.Now().Add(c.conf.Reply))
	if err := t.Handshake(); err != nil {
		c.conf.Trace.Record(c.conf.Session, trace.Session{}, tlsEvent{err: err.Error()}, nil)
		return fmt.Errorf("TLS: %w", err)
	}
	_ = t.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.conf.Trace.Record(c.conf.Session, trace.Session{}, tlsEvent{state: &state, verb: verb}, nil)
	c.over(t)
	return c.Hello()
}

// Auth logs on by a verb of AUTH's form.
func (c *Client) Auth(verb string, mechanism gosasl.Client) error {
	name, response, err := mechanism.Start()
	if err != nil {
		return err
	}
	args := name
	if response != nil {
		args += " " + base64.StdEncoding.EncodeToString(response)
	}
	c.conf.Trace.Record(c.conf.Session, trace.Session{}, asked{verb}, []byte(verb+" "+name+"\r\n"))
	if _, err := c.w.WriteString(verb + " " + args + "\r\n"); err != nil {
		return err
	}
	for {
		a, err := c.read(verb)
		switch {
		case err != nil:
			return err
		case a.Code == 235:
			return nil
		case a.Code != 334:
			return &Refused{verb, a}
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a.Lines[0][min(4, len(a.Lines[0])):]))
		if err != nil {
			challenge = nil // words in place of a challenge
		}
		if response, err = mechanism.Next(challenge); err != nil {
			return err
		}
		c.conf.Trace.Record(c.conf.Session, trace.Session{}, asked{verb}, []byte(hidden))
		if _, err := c.w.WriteString(base64.StdEncoding.EncodeToString(response) + "\r\n"); err != nil {
			return err
		}
	}
}

// Outgoing is a message that is sent.
type Outgoing struct {
	From string
	To   []string
	Size int64
	Data func() io.Reader // from its beginning
	// Binary says that it has lines of any length and octets, Eight that it has
	// octets beyond US-ASCII, UTF8 that an address has.
	Binary, Eight, UTF8 bool
}

// Way is how a message is sent, where the server offers it.
type Way struct{ Pipelining, Chunking, Size bool }

// ErrBody is a body that the next hop does not take.
var ErrBody = errors.New("554 5.6.1 Body type not supported by Remote Host")

// ErrUTF8 is an address that the next hop does not take.
var ErrUTF8 = errors.New("550 5.6.7 The next hop does not support SMTPUTF8")

// Send sends a message to those who take it. The error of each recipient is in
// refused; err is that of the message, and then no recipient has it.
func (c *Client) Send(m *Outgoing, way Way) (queued Answer, refused map[string]error, err error) {
	mail, chunked, err := c.mail(m, way)
	if err != nil {
		return queued, nil, err
	}
	lines := []string{mail}
	for _, to := range m.To {
		lines = append(lines, "RCPT TO:<"+to+">")
	}
	_, pipelined := c.offers["PIPELINING"]
	answers, err := c.batch(lines, way.Pipelining && pipelined)
	if err != nil {
		return queued, nil, err
	}
	if answers[0].Code != 250 {
		return queued, nil, &Refused{"MAIL", answers[0]}
	}
	refused = map[string]error{}
	taken := 0
	for i, to := range m.To {
		if a := answers[i+1]; a.Code != 250 && a.Code != 251 {
			refused[to] = &Refused{"RCPT", a}
		} else {
			taken++
		}
	}
	if taken == 0 {
		return queued, refused, c.command(250, "RSET", "")
	}
	queued, err = c.content(m, chunked)
	if err == nil && queued.Code != 250 {
		err = &Refused{"DATA", queued}
	}
	return queued, refused, err
}

// mail is the command MAIL, and whether the message goes in chunks.
func (c *Client) mail(m *Outgoing, way Way) (line string, chunked bool, err error) {
	_, chunking := c.offers["CHUNKING"]
	_, binary := c.offers["BINARYMIME"]
	_, eight := c.offers["8BITMIME"]
	_, utf8 := c.offers["SMTPUTF8"]
	chunked = way.Chunking && chunking
	line = "MAIL FROM:<" + m.From + ">"
	if _, ok := c.offers["SIZE"]; ok && way.Size {
		line += " SIZE=" + strconv.FormatInt(m.Size, 10)
	}
	switch {
	case m.Binary && (!binary || !chunked), m.Eight && !eight && !binary:
		return "", false, ErrBody
	case m.Binary:
		line += " BODY=BINARYMIME"
	case m.Eight:
		line += " BODY=8BITMIME"
	}
	if m.UTF8 {
		if !utf8 {
			return "", false, ErrUTF8
		}
		line += " SMTPUTF8"
	}
	return line, chunked, nil
}

// batch says commands, and returns their answers: all at once where that is
// agreed on (RFC 2920).
func (c *Client) batch(lines []string, together bool) (answers []Answer, err error) {
	for i, l := range lines {
		if err := c.say(l); err != nil {
			return nil, err
		}
		if together && i < len(lines)-1 {
			continue
		}
		for len(c.waits) > 0 {
			a, err := c.await()
			if err != nil {
				return nil, err
			}
			answers = append(answers, a)
		}
		if !together && i == 0 && answers[0].Code != 250 {
			for range lines[1:] {
				answers = append(answers, answers[0])
			}
			return answers, nil
		}
	}
	return answers, nil
}

// content sends the message: in one chunk, or line by line behind DATA.
func (c *Client) content(m *Outgoing, chunked bool) (Answer, error) {
	if chunked {
		if err := c.say("BDAT " + strconv.FormatInt(m.Size, 10) + " LAST"); err != nil {
			return Answer{}, err
		}
		if err := c.pour(&plain{c.w}, m); err != nil {
			return Answer{}, err
		}
		return c.await()
	}
	if err := c.command(354, "DATA", ""); err != nil {
		return Answer{}, err
	}
	d := &dotWriter{w: c.w, lineStart: true}
	if err := c.pour(d, m); err != nil {
		return Answer{}, err
	}
	if err := d.end(); err != nil {
		return Answer{}, err
	}
	c.waits = append(c.waits, "DATA")
	return c.await()
}

func (c *Client) pour(w io.Writer, m *Outgoing) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.conf.Reply))
	n, err := io.Copy(w, m.Data())
	if err == nil {
		c.conf.Trace.Record(c.conf.Session, trace.Session{}, poured{n}, nil)
	}
	return err
}

// plain hides the buffer's ReadFrom, which would not count.
type plain struct{ w io.Writer }

func (p *plain) Write(b []byte) (int, error) { return p.w.Write(b) }

// dotWriter makes text of DATA: a line that begins with a full stop has another
// before it, and a line end of any form is CRLF, so that nothing within a
// message can end it for a server that takes other ends (RFC 5321 §4.5.2).
type dotWriter struct {
	w         *bufio.Writer
	lineStart bool
	cr        bool
}

func (d *dotWriter) Write(b []byte) (int, error) {
	for i := 0; i < len(b); {
		n := bytes.IndexAny(b[i:], "\r\n")
		stretch := b[i:]
		if n >= 0 {
			stretch = b[i : i+n]
		}
		if len(stretch) > 0 {
			if err := d.text(stretch); err != nil {
				return 0, err
			}
			i += len(stretch)
			continue
		}
		if err := d.lineEnd(b[i]); err != nil {
			return 0, err
		}
		i++
	}
	return len(b), nil
}

func (d *dotWriter) text(b []byte) error {
	if d.cr { // a carriage return alone
		if _, err := d.w.WriteString("\r\n"); err != nil {
			return err
		}
		d.lineStart, d.cr = true, false
	}
	if d.lineStart && b[0] == '.' {
		if err := d.w.WriteByte('.'); err != nil {
			return err
		}
	}
	d.lineStart = false
	_, err := d.w.Write(b)
	return err
}

func (d *dotWriter) lineEnd(b byte) error {
	if b == '\r' && !d.cr {
		d.cr = true
		return nil
	}
	d.cr = b == '\r'
	d.lineStart = true
	_, err := d.w.WriteString("\r\n")
	return err
}

func (d *dotWriter) end() error {
	if d.cr || !d.lineStart {
		if _, err := d.w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}

// Quit says goodbye and closes the connection; it waits so long for an answer.
func (c *Client) Quit(within time.Duration) error {
	c.conf.Reply = min(c.conf.Reply, within)
	err := c.command(221, "QUIT", "")
	return errors.Join(err, c.nc.Close())
}

// Close closes the connection.
func (c *Client) Close() error { return c.nc.Close() }

func (c *Client) command(code int, verb, args string) error {
	a, err := c.ask(verb, args)
	if err == nil && a.Code != code {
		err = &Refused{verb, a}
	}
	return err
}

func (c *Client) ask(verb, args string) (Answer, error) {
	if err := c.say(strings.TrimSpace(verb + " " + args)); err != nil {
		return Answer{}, err
	}
	return c.await()
}

// say queues a command, which leaves with the next wait for an answer.
func (c *Client) say(line string) error {
	if strings.ContainsAny(line, "\r\n") {
		return &LineEndError{line}
	}
	verb, _, _ := strings.Cut(line, " ")
	c.conf.Trace.Record(c.conf.Session, trace.Session{}, asked{verb}, []byte(line+"\r\n"))
	c.waits = append(c.waits, verb)
	_, err := c.w.WriteString(line + "\r\n")
	return err
}

// LineEndError is a command that would be two.
type LineEndError struct{ Line string }

// Error tells the line.
func (e *LineEndError) Error() string { return fmt.Sprintf("smtp: a line end in %q", e.Line) }

func (c *Client) await() (Answer, error) {
	verb := c.waits[0]
	c.waits = c.waits[1:]
	return c.read(verb)
}

func (c *Client) wants(verb string, code int) error {
	a, err := c.read(verb)
	if err == nil && a.Code != code {
		err = &Refused{verb, a}
	}
	return err
}

// maxAnswer bounds an answer in octets.
const maxAnswer = 64 << 10

// read lets what is queued leave, and reads one answer.
func (c *Client) read(verb string) (a Answer, err error) {
	_ = c.nc.SetDeadline(time.Now().Add(c.conf.Reply))
	if err := c.w.Flush(); err != nil {
		return a, err
	}
	size := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		if size += len(line); size > maxAnswer {
			return a, errors.New("smtp: an answer without end")
		}
		text := strings.TrimRight(string(line), "\r\n")
		a.Lines = append(a.Lines, text)
		if a.Code = code(text + "  "); a.Code == 0 {
			return a, fmt.Errorf("smtp: %q is no answer", text)
		}
		if len(text) < 4 || text[3] != '-' {
			break
		}
	}
	c.conf.Trace.Record(c.conf.Session, trace.Session{}, answered{a.Code, verb}, []byte(strings.Join(a.Lines, "\r\n")+"\r\n"))
	return a, nil
}

// HasMechanism reports whether AUTH, or a verb of its form, offers a mechanism.
func (c *Client) HasMechanism(verb, mechanism string) bool {
	params, _ := c.Offers(verb)
	return slices.Contains(params, mechanism)
}

// asked is a command that went out.
type asked struct{ verb string }

func (asked) EventName() string          { return "smtp.asked" }
func (e asked) AppendTo(f *trace.Fields) { f.Text("verb", e.verb) }

// answered is what came back.
type answered struct {
	code int
	verb string
}

func (answered) EventName() string { return "smtp.answered" }
func (e answered) AppendTo(f *trace.Fields) {
	f.Int("code", int64(e.code))
	f.Text("verb", e.verb)
}

// poured is a message that went out.
type poured struct{ octets int64 }

func (poured) EventName() string          { return "smtp.poured" }
func (e poured) AppendTo(f *trace.Fields) { f.Int("octets", e.octets) }
