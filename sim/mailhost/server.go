package mailhost

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/handed"
	"github.com/exsim/exsim/sim/trace"
)

// The faults of a host that mail is sent to.
const (
	// Greylists refuses the first try of each recipient for now.
	Greylists Fault = "greylists"
	// RefusesRecipients refuses every recipient for good.
	RefusesRecipients Fault = "refuses-recipients"
	// OffersNoTLS leaves STARTTLS out.
	OffersNoTLS Fault = "offers-no-tls"
	// ASCIIOnly leaves SMTPUTF8 out.
	ASCIIOnly Fault = "ascii-only"
	// Full has no room for messages: 452 at their end.
	Full Fault = "full"
	// DropsAtEnd closes the connection in place of the last answer.
	DropsAtEnd Fault = "drops-at-end"
	// WrongName shows a certificate with another name.
	WrongName Fault = "wrong-name"
)

// ServerConfig is what a host needs to take mail.
type ServerConfig struct {
	Listener net.Listener
	// Certificate is the host's own, Wrong one with another name.
	Certificate, Wrong tls.Certificate
}

// receiver takes mail, as go-smtp's server.
type receiver struct {
	h  *Host
	ln net.Listener
	wg sync.WaitGroup

	secure, clear, ascii *choice

	mu    sync.Mutex
	tried map[string]bool // recipients that were refused for now
}

// Listen takes mail until Close.
func (h *Host) Listen(conf ServerConfig) {
	r := &receiver{h: h, ln: conf.Listener, tried: map[string]bool{}}
	make := func(t *tls.Config, utf8 bool) *choice {
		s := gosmtp.NewServer(r)
		s.Domain, s.TLSConfig = h.conf.Hello, t
		s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
		s.MaxMessageBytes, s.MaxRecipients = 64<<20, 1000
		s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = utf8, true, true
		s.ErrorLog = quiet{}
		c := &choice{s: s, conns: handed.New(conf.Listener.Addr())}
		r.wg.Go(func() { _ = s.Serve(c.conns) })
		return c
	}
	secured := &tls.Config{MinVersion: tls.VersionTLS10, ClientAuth: tls.RequestClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.has(WrongName) {
			return &conf.Wrong, nil
		}
		return &conf.Certificate, nil
	}}
	r.secure, r.clear, r.ascii = make(secured, true), make(nil, true), make(secured, false)
	h.receiver = r
	r.wg.Go(r.accept)
}

func (r *receiver) accept() {
	for {
		nc, err := r.ln.Accept()
		if err != nil {
			return
		}
		to := r.secure
		switch {
		case r.h.has(OffersNoTLS):
			to = r.clear
		case r.h.has(ASCIIOnly):
			to = r.ascii
		}
		to.conns.Give(nc)
	}
}

// Close ends what takes mail.
func (h *Host) Close() error {
	r := h.receiver
	if r == nil {
		return nil
	}
	err := errors.Join(r.ln.Close(), r.secure.s.Close(), r.clear.s.Close(), r.ascii.s.Close())
	r.wg.Wait()
	return err
}

// choice is a server that some connections are given to.
type choice struct {
	s     *gosmtp.Server
	conns *handed.Listener
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// NewSession is part of go-smtp's Backend.
func (r *receiver) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	peer, _ := netip.ParseAddrPort(c.Conn().RemoteAddr().String())
	return &receiving{r: r, c: c, peer: peer}, nil
}

// receiving is one session.
type receiving struct {
	r    *receiver
	c    *gosmtp.Conn
	peer netip.AddrPort
	from string
	to   []string
}

func (s *receiving) Reset()        { s.from, s.to = "", nil }
func (s *receiving) Logout() error { return nil }

func (s *receiving) Mail(from string, _ *gosmtp.MailOptions) error {
	s.from = from
	return nil
}

func reply(code int, a, b, c int, text string) error {
	return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.EnhancedCode{a, b, c}, Message: text}
}

func (s *receiving) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	h := s.r.h
	if h.has(RefusesRecipients) {
		return reply(550, 5, 1, 1, "No such user here")
	}
	s.r.mu.Lock()
	first := !s.r.tried[to]
	s.r.tried[to] = true
	s.r.mu.Unlock()
	if first && h.has(Greylists) {
		return reply(451, 4, 7, 1, "Greylisted, please try again later")
	}
	s.to = append(s.to, to)
	return nil
}

// Data takes a message; of what it holds, its header section is kept in the
// event.
func (s *receiving) Data(r io.Reader) error {
	var head header
	n, err := io.Copy(&head, r)
	if err != nil {
		return err
	}
	h := s.r.h
	switch {
	case h.has(Full):
		return reply(452, 4, 3, 1, "Insufficient system storage")
	case h.has(DropsAtEnd):
		_ = s.c.Conn().Close()
		return errors.New("dropped")
	}
	_, encrypted := s.c.TLSConnectionState()
	h.src.Record(trace.Session{}, trace.Session{}, receivedEvent{s.peer.String(), s.from, strings.Join(s.to, ", "), head.field("Subject"), n, encrypted}, slices.Clone(head.b))
	return nil
}

// header keeps the header section of what is written.
type header struct {
	b    []byte
	done bool
}

const maxHeader = 64 << 10

func (h *header) Write(p []byte) (int, error) {
	if !h.done {
		h.b = append(h.b, p[:min(len(p), maxHeader-len(h.b))]...)
		if i := strings.Index(string(h.b), "\r\n\r\n"); i >= 0 {
			h.b, h.done = h.b[:i+2], true
		}
		h.done = h.done || len(h.b) == maxHeader
	}
	return len(p), nil
}

func (h *header) field(name string) string {
	for line := range strings.SplitSeq(string(h.b), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// receivedEvent is a message that the host has taken.
type receivedEvent struct {
	peer, from, to, subject string
	octets                  int64
	tls                     bool
}

func (receivedEvent) EventName() string { return "mailhost.received" }
func (e receivedEvent) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("from", e.from)
	f.Text("to", e.to)
	f.Text("subject", e.subject)
	f.Int("octets", e.octets)
	f.Bool("tls", e.tls)
}
