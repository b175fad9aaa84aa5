package ends

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// speak holds the flow's dialogue on a new connection. What is held by a real
// service is asked for no more than who it is.
func (e *End) speak(t *tap, f *paths.Flow, port uint16, held bool) attempt {
	d := &talk{e: e, t: t, f: f, port: port, held: held, nonce: newNonce()}
	if secure(f) && !d.handshake(alpn(f)) {
		return d.end()
	}
	switch dialogue(f) {
	case "SIP":
		d.sip()
	case "SMTP":
		d.smtp()
	default:
		d.line()
	}
	return d.end()
}

// talk is one dialogue of the sender.
type talk struct {
	e     *End
	t     *tap
	f     *paths.Flow
	port  uint16
	held  bool
	nonce string
	media uint16 // that the answer to INVITE is to name, 0 for any
	to    string // of the dialog

	outer   *tap // of STARTTLS: what was said in clear before it
	r       *bufio.Reader
	outcome outcome
	stage   string
	err     error
}

func (d *talk) end() attempt {
	s := d.t.stream()
	if d.outer != nil {
		inside := s.TLS
		s = d.outer.stream()
		s.TLS = inside
	}
	s.Stage = d.stage
	if d.err != nil {
		s.Error = d.err.Error()
	}
	a := attempt{outcome: d.outcome}
	if d.f.Ports.Len() == 1 {
		a.stream = s
	}
	return a
}

// fails ends the dialogue with what kept it from going on.
func (d *talk) fails(stage string, err error) {
	d.stage, d.err = stage, err
	if d.outcome != served {
		d.outcome = readFailure(err)
	}
}

// handshake begins TLS; false if there is none.
func (d *talk) handshake(alpn []string) bool {
	own := d.e.cert
	c := tls.Client(d.t, &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // both ends write down what they saw, and are compared
		Certificates:       []tls.Certificate{own}, NextProtos: alpn, MinVersion: tls.VersionTLS10,
	})
	if err := c.Handshake(); err != nil {
		d.t.tls = &record.TLS{Error: err.Error()}
		d.fails("TLS handshake", err)
		return false
	}
	_ = c.SetDeadline(time.Now().Add(2*d.e.conf.Limits.Timeout + time.Second))
	d.t, d.r = d.t.inner(c, &own), nil
	if d.held {
		d.outcome, d.stage = served, "TLS handshake"
	}
	return true
}

func (d *talk) write(format string, args ...any) bool {
	if _, err := fmt.Fprintf(d.t, format, args...); err != nil {
		d.fails(d.stage, err)
		return false
	}
	return true
}

func (d *talk) reader() *bufio.Reader {
	if d.r == nil {
		d.r = bufio.NewReaderSize(d.t, 4096)
	}
	return d.r
}

// token is what the far end knows this dialogue by.
func (d *talk) token() string { return d.e.mint.token(wordProbe, d.f, d.port, d.nonce) }

// line sends a token and waits for its answer.
func (d *talk) line() {
	d.stage = "token"
	if d.held {
		d.greeting()
		return
	}
	if !d.write("%s", d.e.mint.line(wordProbe, d.f, d.port, d.nonce, d.e.contact)) {
		return
	}
	b, err := d.reader().ReadSlice('\n')
	switch {
	case err == nil && d.e.answer(d.f, d.port, d.nonce, b) == answered:
		d.outcome = answered
	case len(b) > 0:
		d.outcome = served // it speaks, and is not the other end
	default:
		d.fails(d.stage, err)
	}
}

// greeting takes what a real service says by itself.
func (d *talk) greeting() {
	_ = d.t.SetReadDeadline(time.Now().Add(time.Second))
	_, err := d.reader().Peek(1)
	if err != nil {
		d.fails("waiting for a greeting", err)
		return
	}
	d.outcome = served
}

// sip asks for OPTIONS, and calls whoever proves to be the other end.
func (d *talk) sip() {
	if !d.request("OPTIONS", 1, "", "") {
		return
	}
	m, err := d.response()
	if err != nil {
		d.fails("OPTIONS", err)
		return
	}
	d.stage = "OPTIONS"
	mark := m.header(markHeader)
	if !d.e.mint.good(wordReply, d.f, d.port, mark) || !strings.HasPrefix(mark, d.nonce) {
		d.outcome = served
		return
	}
	d.outcome = silent
	body := string(description(d.f.Source, mediaPort))
	if d.held || !d.request("INVITE", 2, "", body) {
		return
	}
	if m, err = d.final("INVITE"); err != nil {
		d.fails(d.stage, err)
		return
	}
	if m.status != 200 {
		d.err = fmt.Errorf("INVITE was answered %d", m.status)
		d.outcome = mangled
		return
	}
	d.outcome = answered
	if d.request("ACK", 2, m.header("To"), "") && d.request("BYE", 3, m.header("To"), "") {
		if _, d.err = d.response(); d.err == nil {
			d.stage = "call"
		}
	}
}

// final reads the final response.
func (d *talk) final(stage string) (m message, err error) {
	d.stage = stage
	for m.status = 100; m.status < 200 && err == nil; {
		m, err = d.response()
	}
	return m, err
}

// request sends a request of the dialogue: its headers are those that something
// in between may want to change.
func (d *talk) request(method string, seq int, to, body string) bool {
	from, at := d.t.LocalAddr(), d.e.bound(d.f.Target, d.port)
	transport := "TCP"
	if secure(d.f) {
		transport = "TLS"
	}
	if to == "" {
		to = fmt.Sprintf("<sip:probe@%s>", at)
	}
	if method == "ACK" || method == "BYE" {
		d.stage = method
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s sip:probe@%s;transport=%s SIP/2.0\r\n", method, at, strings.ToLower(transport))
	fmt.Fprintf(&b, "Via: SIP/2.0/%s %s;branch=z9hG4bK-%s-%d\r\nMax-Forwards: 70\r\n", transport, from, d.nonce[:12], seq)
	fmt.Fprintf(&b, "From: <sip:exsim@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s%s@%s\r\nCSeq: %d %s\r\n", from, d.nonce[:8], to, d.token(), wantMedia(d.media), d.f.Source, seq, method)
	if method == "INVITE" {
		fmt.Fprintf(&b, "Diversion: <sip:1001@%s>;reason=no-answer\r\nSupported: replaces, 100rel\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n", from)
	}
	if method == "INVITE" || method == "OPTIONS" {
		fmt.Fprintf(&b, "Contact: <sip:exsim@%s;transport=%s>\r\nUser-Agent: exsim path probe; %s\r\n%s: %s\r\n", from, strings.ToLower(transport), d.e.contact, markHeader, d.token())
	}
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return d.write("%s", b.String())
}

// message is a response as far as the dialogue needs it.
type message struct {
	status int
	head   []string
	body   []byte
}

func (m message) header(name string) string {
	for _, l := range m.head {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// most of a message that is read.
const (
	mostLines = 200
	mostBody  = 16 << 10
)

// response reads one response.
func (d *talk) response() (message, error) {
	var m message
	for len(m.head) < mostLines {
		line, err := d.reader().ReadString('\n')
		if err != nil {
			return m, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			if len(m.head) == 0 {
				continue
			}
			break
		}
		m.head = append(m.head, line)
	}
	parts := strings.SplitN(m.head[0], " ", 3)
	if len(parts) < 2 || parts[0] != "SIP/2.0" {
		return m, fmt.Errorf("no SIP response: %.60q", m.head[0])
	}
	m.status, _ = strconv.Atoi(parts[1])
	n, _ := strconv.Atoi(m.header("Content-Length"))
	if n < 0 || n > mostBody {
		return m, fmt.Errorf("a body of %d octets", n)
	}
	m.body = make([]byte, n)
	_, err := io.ReadFull(d.reader(), m.body)
	return m, err
}

// smtp greets, begins TLS where it is offered, and sends a message to nowhere,
// whose acknowledgement proves the other end.
func (d *talk) smtp() {
	if _, ok := d.reply("banner", 220); !ok {
		return
	}
	features, ok := d.hello()
	if !ok {
		return
	}
	if d.held {
		d.outcome = served
		d.quit()
		return
	}
	if strings.Contains(features, "STARTTLS") {
		if !d.command("STARTTLS", 220, "STARTTLS") {
			return
		}
		d.outer = d.t
		if !d.handshake(nil) {
			return
		}
		if _, ok := d.hello(); !ok {
			return
		}
	}
	if d.command("MAIL", 250, "MAIL FROM:<probe@%s>", probeDomain) && d.command("RCPT", 250, "RCPT TO:<%s@%s>", d.nonce, probeDomain) && d.command("DATA", 354, "DATA") &&
		d.write("Subject: exsim path probe\r\nX-Exsim-Probe: %s\r\n\r\n%s\r\n.\r\n", d.token(), d.e.contact) {
		said, ok := d.reply("end of data", 250)
		if nonce, proven := d.e.mint.find(wordReply, d.f, d.port, []byte(said)); ok && proven && nonce == d.nonce {
			d.outcome = answered
		} else if ok {
			d.outcome = served
			d.err = fmt.Errorf("the message was taken by something else: %q", strings.TrimSpace(said))
		}
		d.quit()
	}
}

func (d *talk) hello() (features string, ok bool) {
	if !d.write("EHLO %s.%s\r\n", d.token(), probeDomain) {
		return "", false
	}
	return d.reply("EHLO", 250)
}

func (d *talk) quit() {
	if d.write("QUIT\r\n") {
		_, _ = d.reader().ReadString('\n')
	}
}

// command sends a line and wants a reply.
func (d *talk) command(stage string, want int, format string, args ...any) bool {
	d.stage = stage
	if !d.write(format+"\r\n", args...) {
		return false
	}
	_, ok := d.reply(stage, want)
	return ok
}

// reply reads a reply of one line or more.
func (d *talk) reply(stage string, want int) (text string, ok bool) {
	d.stage = stage
	var b strings.Builder
	for range mostLines {
		line, err := d.reader().ReadString('\n')
		if err != nil {
			d.fails(stage, err)
			return "", false
		}
		b.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			if code, err := strconv.Atoi(line[:min(3, len(line))]); err != nil || code != want {
				d.outcome = served
				d.err = fmt.Errorf("%s was answered %q", stage, strings.TrimSpace(line))
				return b.String(), false
			}
			return b.String(), true
		}
	}
	d.fails(stage, errors.New("a reply without end"))
	return "", false
}
