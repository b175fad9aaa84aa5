package smtp

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
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

// Mutual is a mechanism in which the server proves itself, too.
type Mutual interface {
	// Proven is nil once it has: a server that takes everybody is not believed.
	Proven() error
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
			if m, ok := mechanism.(Mutual); ok {
				return m.Proven()
			}
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
