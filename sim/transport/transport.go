// Package transport is the mail side of a simulated server: its receive
// connectors with their permissions, the store behind them, and the pickup
// from which Unified Messaging's messages are submitted.
package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
)

// Config describes the transport of one server.
type Config struct {
	Org     *org.Organisation
	Profile *profile.Profile
	Server  *org.Server // that listens
	// Hostname is the server that queues the message: the Mailbox server
	// behind a front end.
	Hostname string
	Store    *store.Store
	Changed  func(mailbox string) // is told of what was stored; it must not wait
	Cert     tls.Certificate
	Sessions *smtp.Sessions
	Causes   *Causes
	Trace    *trace.Source
	Trouble  func(stage string) *smtp.Trouble // what it does wrong, nil for nothing
}

// ReceiveConnector is one default receive connector of a server.
type ReceiveConnector struct {
	conf Config
	fact profile.Connector
	next atomic.Int64 // InternalId
}

// NewReceiveConnector makes the server of a connector by its key in the
// profile, such as "default-frontend".
func NewReceiveConnector(key string, conf Config) (*smtp.Server, error) {
	fact, ok := conf.Profile.Connectors[key]
	if !ok {
		return nil, fmt.Errorf("transport: the profile has no connector %q", key)
	}
	c := &ReceiveConnector{conf: conf, fact: fact}
	p := &conf.Profile.SMTP
	return smtp.New(smtp.Config{
		Backend: c,
		Banner: func(now time.Time) string {
			return c.fill(p.Banner, "date", now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
		},
		Hello:          func(remote netip.Addr) string { return c.fill(p.Hello, "ip", remote.String()) },
		Keywords:       c.keywords,
		Replies:        Replies(conf.Profile),
		TLS:            &tls.Config{Certificates: []tls.Certificate{conf.Cert}, MinVersion: tls.VersionTLS12},
		MaxMessageSize: fact.MaxMessageSize,
		MaxRecipients:  fact.MaxRecipients,
		MaxConnections: p.MaxConnections,
		MaxErrors:      p.MaxErrors,
		Inactivity:     p.Inactivity,
		Session:        p.Session,
		Sessions:       conf.Sessions,
		Cause:          conf.Causes.Of,
		Trace:          conf.Trace,
		Trouble:        conf.Trouble,
	})
}

func (c *ReceiveConnector) fill(text, key, value string) string {
	return strings.NewReplacer("{fqdn}", c.conf.Server.FQDN, "{"+key+"}", value).Replace(text)
}

// keywords computes the lines of EHLO from the connector's settings.
func (c *ReceiveConnector) keywords(tls bool) []string { return Keywords(c.conf.Profile, c.fact, tls) }

// Replies of the back end.
const (
	replyNotAuthenticated smtp.Reply = "not-authenticated"
	replyUnableToRelay    smtp.Reply = "unable-to-relay"
	replyUserUnknown      smtp.Reply = "user-unknown"
)

// Session begins a session. A server of the organisation has the rights of
// ExchangeServers by its address; everybody else is anonymous.
func (c *ReceiveConnector) Session(p smtp.Peer) (gosmtp.Session, error) {
	s := &session{c: c, peer: p}
	for i := range c.conf.Org.Servers {
		if c.conf.Org.Servers[i].Address == p.Remote.Addr() {
			s.exchangeServer = true
		}
	}
	return s, nil
}

// session is one peer's dealings with the connector.
type session struct {
	c              *ReceiveConnector
	peer           smtp.Peer
	exchangeServer bool

	from       string
	recipients []*org.Mailbox
	queued     map[string]string
}

var (
	_ gosmtp.Session = (*session)(nil)
	_ smtp.Queued    = (*session)(nil)
)

// Mail needs the right to submit.
func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	if !s.exchangeServer && !s.c.fact.Anonymous {
		return &smtp.Refusal{Reply: replyNotAuthenticated}
	}
	s.from, s.recipients, s.queued = from, nil, nil
	return nil
}

// Rcpt takes mailboxes of the accepted domain; nothing is relayed.
func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	_, domain, _ := strings.Cut(to, "@")
	if domain != "" && !strings.EqualFold(domain, s.c.conf.Org.Domain) {
		return &smtp.Refusal{Reply: replyUnableToRelay}
	}
	m := s.c.conf.Org.MailboxAt(to)
	if m == nil {
		return &smtp.Refusal{Reply: replyUserUnknown}
	}
	if !slices.Contains(s.recipients, m) { // named twice, it gets one copy
		s.recipients = append(s.recipients, m)
	}
	return nil
}

// Data stores the message; it is on disk when Data returns.
func (s *session) Data(r io.Reader) error {
	d, err := s.c.conf.Store.Create()
	if err != nil {
		return err
	}
	var head headTaker
	id := s.c.next.Add(1)
	if _, err := io.WriteString(d, s.received()); err == nil {
		_, err = io.Copy(io.MultiWriter(d, &head), r)
		if err != nil {
			d.Abort()
			return err
		}
	} else {
		d.Abort()
		return err
	}
	items, err := d.Commit(s.folders()...)
	if err != nil {
		return err
	}
	messageID := head.messageID()
	if messageID == "" {
		messageID = fmt.Sprintf("<%s@%s>", items[0].ID, s.c.conf.Hostname)
	}
	s.queued = map[string]string{"message-id": messageID, "id": strconv.FormatInt(id, 10), "hostname": s.c.conf.Hostname}
	for i, item := range items {
		s.c.conf.Trace.Record(s.peer.Trace, s.c.conf.Causes.Of(s.peer.Remote), delivered(item, s.recipients[i], s.from), head.bytes())
		if s.c.conf.Changed != nil {
			s.c.conf.Changed(item.Folder)
		}
	}
	return nil
}

func (s *session) folders() []string {
	names := make([]string, len(s.recipients))
	for i, m := range s.recipients {
		names[i] = m.Address
	}
	return names
}

// received is the trace header of RFC 5321 §4.4.
func (s *session) received() string {
	tls := ""
	if s.peer.TLS != nil {
		tls = " (TLS)"
	}
	return "Received: " + strings.NewReplacer(
		"{helo}", s.peer.Hello, "{ip}", s.peer.Remote.Addr().String(), "{fqdn}", s.c.conf.Server.FQDN,
		"{local}", s.peer.Local.Addr().String(), "{tls}", tls, "{date}", time.Now().Format(time.RFC1123Z),
	).Replace(s.c.conf.Profile.SMTP.Received) + "\r\n"
}

// SizeExempt is the right Bypass-Message-Size-Limit of ExchangeServers.
func (s *session) SizeExempt() bool { return s.exchangeServer }

// Queued tells the values of the reply to the end of data.
func (s *session) Queued() map[string]string { return s.queued }

// Reset forgets the transaction.
func (s *session) Reset() { s.recipients = nil }

// Logout ends the session.
func (s *session) Logout() error { return nil }

// headTaker keeps the header section of what passes.
type headTaker struct {
	b    []byte
	done bool
}

// maxHead bounds what an event shows of a message.
const maxHead = 64 << 10

func (h *headTaker) Write(p []byte) (int, error) {
	if !h.done {
		h.b = append(h.b, p[:min(len(p), maxHead-len(h.b))]...)
		if i := strings.Index(string(h.b), "\r\n\r\n"); i >= 0 {
			h.b, h.done = h.b[:i+2], true
		}
		h.done = h.done || len(h.b) == maxHead
	}
	return len(p), nil
}

func (h *headTaker) bytes() []byte { return h.b }

func (h *headTaker) messageID() string {
	m, err := mail.ReadMessage(strings.NewReader(string(h.b) + "\r\n"))
	if err != nil {
		return ""
	}
	id := m.Header.Get("Message-Id")
	if !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, ">") || strings.ContainsAny(id, " \t") {
		return ""
	}
	return id
}

// errNoConnector is a configuration without a way in.
var errNoConnector = errors.New("transport: no receive connector to submit to")
