package capture

import (
	"bytes"
	"regexp"
)

// protocol is what a connection speaks, as far as its first octets tell.
type protocol struct {
	is       string // "sip", "smtp", "tls" from the first octet on, or "" for what is not known
	secured  bool   // TLS has begun
	answered bool   // by the server, too
	seen     bool
	hello    []byte // begin of the client's first record of TLS, as far as it has come
	random   []byte // of the ClientHello, by which a key log names its session
}

// helloLength is that of a record with a ClientHello, up to the end of its random
// (RFC 8446 §4.1.2).
const helloLength = 43

// see looks at what one side says; client is who opened the connection.
func (p *protocol) see(client bool, b []byte) {
	hello := client && p.random == nil && (len(p.hello) > 0 || len(b) > 0 && b[0] == 22)
	if hello {
		p.hello = append(p.hello, b[:min(len(b), helloLength-len(p.hello))]...)
		switch h := p.hello; {
		case len(h) > 1 && h[1] != 3 || len(h) > 5 && h[5] != 1:
			p.hello = nil // no TLS after all
		case len(h) == helloLength:
			p.random = h[11:helloLength]
		}
	}
	p.answered = p.answered || !client && len(p.hello) > 0 && len(b) > 0 && b[0] == 22
	p.secured = p.answered || len(p.hello) > 0
	if p.seen {
		return
	}
	p.seen = true
	switch {
	case hello:
		p.is = "tls"
	case !client && bytes.HasPrefix(b, []byte("220")):
		p.is = "smtp"
	case bytes.Contains(b[:min(len(b), 2048)], []byte("SIP/2.0\r\n")):
		p.is = "sip"
	}
}

// starring puts stars in the place of what logs on in a session of SMTP in
// clear (RFC 4954): what follows the mechanism, and the answers to 334.
type starring struct {
	line   []byte // of the client, as far as it has come
	logsOn bool   // until the server says anything but 334
	reply  []byte // line of the server, as far as it has come
}

// command begins a log-on.
var command = regexp.MustCompile(`(?i)^[ \t]*(AUTH|X-EXPS)[ \t]+[^ \t\r\n]+[ \t]*`)

// maxLine is more than a command that logs on has before its secret.
const maxLine = 64

// pass stars b in place.
func (s *starring) pass(client bool, b []byte) []byte {
	for i := range b {
		if client {
			b[i] = s.client(b[i])
		} else {
			s.server(b[i])
		}
	}
	return b
}

func (s *starring) client(c byte) byte {
	if c == '\n' {
		s.logsOn = s.logsOn || command.Match(s.line)
		s.line = s.line[:0]
		return c
	}
	if s.logsOn && c != '\r' {
		return '*'
	}
	blank := c == ' ' || c == '\t'
	if m := command.Find(s.line); c != '\r' && m != nil && m[len(m)-1] == ' ' && !blank {
		return '*' // behind the mechanism
	}
	switch {
	case blank && (len(s.line) == 0 || s.line[len(s.line)-1] == ' '): // one stands for many
	case blank:
		s.line = append(s.line, ' ')
	case len(s.line) < maxLine:
		s.line = append(s.line, c)
	}
	return c
}

func (s *starring) server(c byte) {
	if c != '\n' {
		if len(s.reply) < 3 {
			s.reply = append(s.reply, c)
		}
		return
	}
	s.logsOn = string(s.reply) == "334"
	s.reply = s.reply[:0]
}
