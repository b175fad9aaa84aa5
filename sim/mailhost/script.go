package mailhost

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Action is one thing that a session says, waits for or does. The first field
// that is set is what it is.
type Action struct {
	Read   *regexp.Regexp // a whole reply, its lines joined by a line feed, is like this
	Line   *string        // is sent with CRLF
	Octets []byte         // are sent as they are
	Piece  int            // of Octets or Line in one segment; 0 sends them whole
	TLS    *Handshake     // begins
	Login  *Login         // logs on
	Wait   time.Duration  // says nothing for a while
	Closed bool           // waits until the peer has closed the connection
	Close  bool           // closes it
	Reset  bool           // resets it (RST)
}

// Handshake is how TLS begins: the verb was said, and answered 220, before.
type Handshake struct {
	Only   uint16           // version; 0 for what both have
	Verify bool             // the peer's certificate
	Shows  *tls.Certificate // nil for none
}

// Login is a log-on by AUTH, or another verb of its form.
type Login struct {
	Verb, Mechanism, User, Password string
}

// Play runs a session of raw octets against a connector, and returns how many
// actions were done. What is not as the next one says it is the error.
func (h *Host) Play(ctx context.Context, to netip.AddrPort, server string, actions []Action) (done int, err error) {
	if h.has(ConnectsElsewhere) {
		to = netip.AddrPortFrom(to.Addr(), discard)
	}
	nc, err := h.conf.Dial(ctx, h.conf.Address, to)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	p := &play{h: h, ctx: ctx, raw: nc, server: server}
	p.over(nc)
	defer func() { _ = p.nc.Close() }()
	for i, a := range actions {
		if err := p.do(&a); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("nothing came: %w", ctx.Err())
			}
			h.src.Record(trace.Session{}, trace.Session{}, played{to.String(), i, strings.Join(p.said, " "), err.Error(), p.heard, nc.LocalAddr().String()}, nil)
			return i, err
		}
	}
	h.src.Record(trace.Session{}, trace.Session{}, played{to.String(), len(actions), strings.Join(p.said, " "), "", p.heard, nc.LocalAddr().String()}, nil)
	return len(actions), nil
}

type play struct {
	h      *Host
	ctx    context.Context
	raw    net.Conn
	nc     net.Conn
	r      *bufio.Reader
	server string
	said   []string // verbs
	heard  string   // the last reply
}

func (p *play) over(nc net.Conn) { p.nc, p.r = nc, bufio.NewReader(nc) }

func (p *play) do(a *Action) error {
	switch {
	case a.Read != nil:
		reply, err := p.reply()
		if err == nil && !a.Read.MatchString(reply) {
			err = fmt.Errorf("wanted %q, got %q", a.Read, reply)
		}
		return err
	case a.Line != nil:
		return p.send([]byte(*a.Line+"\r\n"), a.Piece)
	case a.Octets != nil:
		return p.send(a.Octets, a.Piece)
	case a.TLS != nil:
		return p.handshake(a.TLS)
	case a.Login != nil:
		return p.login(a.Login)
	case a.Wait > 0:
		return pause(p.ctx, a.Wait)
	case a.Closed:
		return p.closed()
	case a.Close:
		return p.nc.Close()
	case a.Reset:
		if t, ok := p.raw.(tuned); ok {
			_ = t.SetLinger(0)
		}
		return p.raw.Close()
	}
	return nil
}

// verbs are the commands that a session is known by afterwards.
var verbs = []string{"EHLO", "HELO", "STARTTLS", "X-ANONYMOUSTLS", "AUTH", "X-EXPS", "MAIL", "RCPT", "DATA", "BDAT", "XEXCH50", "RSET", "NOOP", "VRFY", "QUIT"}

// note remembers the verbs that were said, each once.
func (p *play) note(b []byte) {
	for line := range bytes.Lines(b[:min(len(b), 64<<10)]) {
		verb, _, _ := strings.Cut(strings.TrimRight(string(line[:min(len(line), 20)]), "\r\n"), " ")
		if slices.Contains(verbs, verb) && !slices.Contains(p.said, verb) {
			p.said = append(p.said, verb)
		}
	}
}

func (p *play) send(b []byte, piece int) error {
	p.note(b)
	if piece <= 0 {
		piece = len(b)
	}
	if t, ok := p.raw.(tuned); ok {
		_ = t.SetNoDelay(true)
	}
	for len(b) > 0 {
		n, err := p.nc.Write(b[:min(piece, len(b))])
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			return nil // the other side has ended it: what is read next tells
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// maxReply bounds a reply; longer ones are an error.
const maxReply = 64 << 10

// reply reads a whole reply (RFC 5321 §4.2.1).
func (p *play) reply() (string, error) {
	var lines []string
	size := 0
	for {
		text, err := p.r.ReadString('\n')
		size += len(text)
		if err != nil {
			return "", fmt.Errorf("wanted a reply: %w", err)
		}
		if size > maxReply {
			return "", errors.New("the reply has no end")
		}
		text = strings.TrimRight(text, "\r\n")
		lines = append(lines, text)
		if len(text) < 4 || text[3] != '-' {
			p.heard = strings.Join(lines, "\n")
			return p.heard, nil
		}
	}
}

func (p *play) handshake(t *Handshake) error {
	conf := p.h.conf.TLS.Clone()
	conf.ServerName = p.server
	conf.InsecureSkipVerify = !t.Verify
	if t.Shows != nil {
		conf.Certificates = []tls.Certificate{*t.Shows}
	}
	if t.Only != 0 {
		conf.MinVersion, conf.MaxVersion = t.Only, t.Only
	}
	c := tls.Client(p.raw, conf)
	if err := c.HandshakeContext(p.ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	p.over(c)
	return nil
}

// login logs on; that it succeeds is part of it.
func (p *play) login(l *Login) error {
	verb := l.Verb
	if verb == "" {
		verb = "AUTH"
	}
	first, next, err := p.h.client(l)
	if err != nil {
		return err
	}
	line := verb + " " + l.Mechanism
	if first != nil {
		line += " " + base64.StdEncoding.EncodeToString(first)
	}
	if err := p.send([]byte(line+"\r\n"), 0); err != nil {
		return err
	}
	for {
		reply, err := p.reply()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(reply, "235"):
			return nil
		case !strings.HasPrefix(reply, "334"):
			return fmt.Errorf("the log-on was answered %q", reply)
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(reply[min(4, len(reply)):]))
		if err != nil {
			return fmt.Errorf("a challenge that is no base64: %q", reply)
		}
		response, err := next(challenge)
		if err != nil {
			return err
		}
		if err := p.send([]byte(base64.StdEncoding.EncodeToString(response)+"\r\n"), 0); err != nil {
			return err
		}
	}
}

// client is the asking side of a mechanism: its initial response, and what it
// answers to challenges.
func (h *Host) client(l *Login) (first []byte, next func(challenge []byte) ([]byte, error), err error) {
	switch strings.ToUpper(l.Mechanism) {
	case "LOGIN":
		return nil, func(challenge []byte) ([]byte, error) {
			if bytes.HasPrefix(bytes.ToLower(challenge), []byte("user")) {
				return []byte(l.User), nil
			}
			return []byte(h.password(l.Password)), nil
		}, nil
	case "PLAIN":
		return []byte("\x00" + l.User + "\x00" + h.password(l.Password)), func([]byte) ([]byte, error) { return nil, nil }, nil
	}
	return nil, nil, fmt.Errorf("a mail host logs on by LOGIN or PLAIN, not by %s", l.Mechanism)
}

// closed waits for the peer's end of the connection; what it says before is
// passed over.
func (p *play) closed() error {
	_, err := io.Copy(io.Discard, p.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || p.ctx.Err() != nil {
		return errors.New("the connection was not closed")
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// played is a session of raw octets.
type played struct {
	server  string
	actions int
	said    string
	why     string
	heard   string
	local   string
}

func (played) EventName() string { return "mailhost.played" }
func (e played) AppendTo(f *trace.Fields) {
	f.Text("server", e.server)
	f.Int("actions", int64(e.actions))
	f.Text("said", e.said)
	f.Text("heard", e.heard)
	f.Text("local", e.local)
	f.Text("why", e.why)
}

// tuned is a TCP connection, whatever stands before it.
type tuned interface {
	SetLinger(sec int) error
	SetNoDelay(on bool) error
}
