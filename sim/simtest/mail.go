package simtest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/voicemail"
)

// Mail is a message in a mailbox.
type Mail struct {
	t     testing.TB
	Event trace.Event // mail.delivered
}

// WantMail waits for a message in the mailbox of an extension or address that
// no earlier WantMail has had.
func (x *Exchange) WantMail(to string) *Mail {
	x.t.Helper()
	e := x.WantEvent("mail.delivered", func(e *trace.Event) bool {
		return (e.Text("extension") == to || strings.EqualFold(e.Text("mailbox"), to)) && !x.had[e.Seq]
	})
	if x.had == nil {
		x.had = map[uint64]bool{}
	}
	x.had[e.Seq] = true
	return &Mail{x.t, e}
}

// Content is the message as it was stored.
func (m *Mail) Content() []byte {
	m.t.Helper()
	b, err := os.ReadFile(m.Event.Text("path"))
	if err != nil {
		m.t.Fatalf("mail: %v", err)
	}
	return b
}

// WantClass fails the test unless the message has a class, such as voice-ca or
// missedcall.
func (m *Mail) WantClass(class string) *Mail {
	m.t.Helper()
	if got := m.Event.Text("content_class"); got != class {
		m.t.Fatalf("the message has the class %q, not %q", got, class)
	}
	return m
}

// WantRecording fails the test unless the message's recording holds, octet for
// octet, all that was said in the call.
func (m *Mail) WantRecording(c *Call) *Mail {
	m.t.Helper()
	wav, err := voicemail.Recording(m.Event.Text("path"))
	if err != nil {
		m.t.Fatalf("mail: %v", err)
	}
	octets, same, err := c.call.Within(wav)
	if err != nil {
		m.t.Fatalf("mail: %v", err)
	}
	if !same {
		m.t.Fatalf("the recording does not hold the %d octets that were said", octets)
	}
	return m
}

// MailClient is an ordinary mail client at a receive connector.
type MailClient struct {
	t      testing.TB
	client *smtp.Client
}

// Mail connects to a receive connector by its row of the port table, such as
// default-frontend; secure begins TLS by STARTTLS and verifies its certificate.
func (x *Exchange) Mail(connector string, secure bool) *MailClient {
	x.t.Helper()
	for _, l := range x.Listeners() {
		if l.Row.ID == connector && l.Row.Protocol == "smtp" {
			return x.mailClient(l, secure)
		}
	}
	x.t.Fatalf("simtest: no receive connector %q", connector)
	return nil
}

func (x *Exchange) mailClient(l *sim.Listener, secure bool) *MailClient {
	x.t.Helper()
	var client *smtp.Client
	var err error
	if secure {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(x.LabCA())
		client, err = smtp.DialStartTLS(l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: l.Server.FQDN, MinVersion: tls.VersionTLS12})
	} else {
		client, err = smtp.Dial(l.Addr().String())
	}
	if err != nil {
		x.t.Fatalf("mail client: %v", err)
	}
	client.CommandTimeout, client.SubmissionTimeout = Within, Within
	x.t.Cleanup(func() { _ = client.Close() })
	return &MailClient{x.t, client}
}

// Send sends a message and returns the reply that refused it, nil if it was
// taken. A broken connection fails the test.
func (c *MailClient) Send(from, to, subject, text string) *smtp.SMTPError {
	c.t.Helper()
	message := "From: <" + from + ">\r\nTo: <" + to + ">\r\nSubject: " + subject + "\r\nDate: " + time.Now().Format(time.RFC1123Z) + "\r\n\r\n" + text + "\r\n"
	err := c.client.SendMail(from, []string{to}, strings.NewReader(message))
	var refused *smtp.SMTPError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		_ = c.client.Reset()
		return refused
	}
	c.t.Fatalf("mail client: %v", err)
	return nil
}

// WantTaken sends a message that must be taken.
func (c *MailClient) WantTaken(from, to, subject, text string) {
	c.t.Helper()
	if refused := c.Send(from, to, subject, text); refused != nil {
		c.t.Fatalf("the message to %s was refused: %v", to, refused)
	}
}

// WantRefused sends a message that must be refused with this code, such as 550.
func (c *MailClient) WantRefused(code int, from, to, subject, text string) {
	c.t.Helper()
	switch refused := c.Send(from, to, subject, text); {
	case refused == nil:
		c.t.Fatalf("the message to %s was taken, and not refused with %d", to, code)
	case refused.Code != code:
		c.t.Fatalf("the message to %s was refused with %v, and not with %d", to, refused, code)
	}
}
