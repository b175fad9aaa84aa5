// Package mailhost is a simulated mail host beside the organisation: it sends
// messages to a receive connector as an ordinary client does (go-smtp), tries
// again what is refused for now, and gives back what is refused for good. With
// a planted fault it does one of these things wrong.
package mailhost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/trace"
)

// Fault is something that a mail host does wrong.
type Fault string

// The faults that can be planted.
const (
	// GivesUp takes a refusal for now (4xx) for one for good.
	GivesUp Fault = "gives-up"
	// NoSTARTTLS never begins TLS.
	NoSTARTTLS Fault = "no-starttls"
	// OldTLS offers nothing newer than TLS 1.1.
	OldTLS Fault = "old-tls"
	// BadHello greets with a name that is no domain.
	BadHello Fault = "bad-hello"
	// OtherDomain sends to the recipient's name in another domain.
	OtherDomain Fault = "other-domain"
	// UnknownRecipient sends to a name that nobody has.
	UnknownRecipient Fault = "unknown-recipient"
	// WrongPassword logs on with another password.
	WrongPassword Fault = "wrong-password"
	// Oversize declares a message of 1 GB.
	Oversize Fault = "oversize"
	// Impatient waits two seconds for an answer, and gives the message up.
	Impatient Fault = "impatient"
	// ConnectsElsewhere connects to port 9 in place of the connector's.
	ConnectsElsewhere Fault = "connects-elsewhere"
)

// Config describes a mail host.
type Config struct {
	Name    string
	Address netip.Addr // that it sends from
	Hello   string     // its name in EHLO
	Faults  func(f Fault) bool
	Trace   *trace.Log
	Dial    func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	// TLS verifies the connector; its ServerName is filled in.
	TLS *tls.Config
}

// Host is a mail host.
type Host struct {
	conf     Config
	src      *trace.Source
	receiver *receiver // nil where it takes no mail
}

// New makes a host. It opens nothing.
func New(conf Config) *Host {
	return &Host{conf: conf, src: conf.Trace.Source(conf.Name, Role)}
}

// Role is the listener of a mail host in events.
const Role = "mail-host"

// Security says when a host uses TLS.
type Security string

// The securities.
const (
	Opportunistic Security = "opportunistic" // where it is offered
	Required      Security = "required"      // else nothing is sent
	None          Security = "none"
)

// Message is one to send.
type Message struct {
	From string
	To   []string
	Data []byte // with CRLF line ends
}

// Delivery is where and how.
type Delivery struct {
	To         netip.AddrPort
	ServerName string // in its certificate
	Security   Security
	// Retry is the wait before it is tried again what was refused for now.
	Retry time.Duration
	// User and Password log on by LOGIN, "" for nobody.
	User, Password string
}

// errNoTLS keeps a message that must not leave in clear.
var errNoTLS = errors.New("STARTTLS is not offered, and nothing is sent without")

// Send sends a message until it is taken or refused for good, or until ctx is
// done: then the last refusal is the error.
func (h *Host) Send(ctx context.Context, m Message, d Delivery) error {
	for try := 1; ; try++ {
		err := h.try(ctx, m, d)
		if err == nil {
			h.src.Record(trace.Session{}, trace.Session{}, taken{d.To.String(), try}, nil)
			return nil
		}
		final := h.final(err)
		h.src.Record(trace.Session{}, trace.Session{}, refused{d.To.String(), err.Error(), final, try}, nil)
		if final {
			return err
		}
		wait := time.NewTimer(d.Retry)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("not taken in time, tried %d times: %w", try, err)
		}
	}
}

// Refused reports whether an error of Send is a reply that refuses for good.
func Refused(err error) bool {
	var reply *gosmtp.SMTPError
	return errors.As(err, &reply) && reply.Code >= 500
}

// final reports whether there is no use in trying again.
func (h *Host) final(err error) bool {
	return Refused(err) || h.has(GivesUp) || h.has(Impatient)
}

func (h *Host) has(f Fault) bool { return h.conf.Faults(f) }

// impatience is how long an impatient host waits; RFC 5321 §4.5.3.2 asks for
// minutes.
const impatience = 2 * time.Second

// discard is a port where nobody listens (RFC 863).
const discard = 9

// try is one SMTP session.
func (h *Host) try(ctx context.Context, m Message, d Delivery) error {
	to := d.To
	if h.has(ConnectsElsewhere) {
		to = netip.AddrPortFrom(to.Addr(), discard)
	}
	nc, err := h.conf.Dial(ctx, h.conf.Address, to)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	c, err := h.greet(nc, d)
	if err != nil {
		_ = nc.Close()
		return err
	}
	defer func() { _ = c.Close() }()
	if h.has(Impatient) {
		c.CommandTimeout, c.SubmissionTimeout = impatience, impatience
	}
	if d.User != "" {
		if err := c.Auth(sasl.NewLoginClient(d.User, h.password(d.Password))); err != nil {
			return err
		}
	}
	return h.transact(c, m)
}

// Ping connects to a connector and waits for its banner.
func (h *Host) Ping(ctx context.Context, to netip.AddrPort) error {
	nc, err := h.conf.Dial(ctx, h.conf.Address, to)
	if err != nil {
		return err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	banner, err := line(nc)
	if err != nil {
		return fmt.Errorf("it was connected, and gave no banner: %w", err)
	}
	if !strings.HasPrefix(banner, "220") {
		return fmt.Errorf("its banner is %q", banner)
	}
	_, _ = nc.Write([]byte("QUIT\r\n"))
	return nil
}

// greet says EHLO and begins TLS where it shall be.
func (h *Host) greet(nc net.Conn, d Delivery) (*gosmtp.Client, error) {
	c := gosmtp.NewClient(nc)
	hello := h.conf.Hello
	if h.has(BadHello) {
		hello = "mail_host!"
	}
	if err := c.Hello(hello); err != nil {
		return nil, err
	}
	offered, _ := c.Extension("STARTTLS")
	switch {
	case d.Security == None || h.has(NoSTARTTLS):
		return c, nil
	case !offered && d.Security == Required:
		_ = c.Quit()
		return nil, errNoTLS
	case !offered:
		return c, nil
	}
	return h.secure(nc, hello, d)
}

// secure begins again on the same connection, with TLS.
func (h *Host) secure(nc net.Conn, hello string, d Delivery) (*gosmtp.Client, error) {
	conf := h.conf.TLS.Clone()
	conf.ServerName = d.ServerName
	if h.has(OldTLS) {
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}
	return startTLS(nc, hello, conf)
}

// transact sends the message. A recipient that is refused is an error, though
// others may be taken.
func (h *Host) transact(c *gosmtp.Client, m Message) error {
	size := int64(len(m.Data))
	if h.has(Oversize) {
		size = 1 << 30
	}
	if err := c.Mail(m.From, &gosmtp.MailOptions{Size: size}); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(h.recipient(to), nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.Data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the message is taken, whatever is said at parting
	return nil
}

func (h *Host) recipient(to string) string {
	name, domain, _ := strings.Cut(to, "@")
	switch {
	case h.has(OtherDomain):
		domain = "fabrikam.example"
	case h.has(UnknownRecipient):
		name = "nobody"
	}
	return name + "@" + domain
}

// Faults are those of a list, as Config wants them.
func Faults(list ...Fault) func(Fault) bool {
	return func(f Fault) bool { return slices.Contains(list, f) }
}

// password is what the host logs on with.
func (h *Host) password(of string) string {
	if h.has(WrongPassword) {
		return of + "?"
	}
	return of
}
