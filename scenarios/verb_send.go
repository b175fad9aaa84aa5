package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/trace"
)

// sendMail sends a message to a receive connector.
type sendMail struct {
	From    string            `yaml:"from,required" doc:"actor that sends, a mail-host"`
	To      string            `yaml:"to,required" doc:"extension of a mailbox, or an address"`
	Sender  string            `yaml:"sender" default:"bob@fabrikam.example" doc:"address of the sender"`
	Subject string            `yaml:"subject" default:"exsim" doc:"of the message"`
	Size    int               `yaml:"size" default:"1000" doc:"octets of its text, at most 50000000"`
	TLS     mailhost.Security `yaml:"tls" default:"opportunistic" enum:"opportunistic,required,none" doc:"when STARTTLS is used: where it is offered, or else nothing is sent, or never"`
	Server  string            `yaml:"server" doc:"name of the server; left out: the one that takes mail from everybody"`
	At      string            `yaml:"at" doc:"its listener, such as client-frontend; left out: the one that takes mail from everybody"`
	User    string            `yaml:"user" doc:"that logs on by LOGIN; left out: nobody does"`
	Pass    string            `yaml:"password" doc:"of the user; see secrets"`
	Retry   time.Duration     `yaml:"retry" default:"500ms" doc:"wait before it is sent again what was refused for now"`
	Outcome string            `yaml:"outcome" default:"taken" enum:"taken,refused" doc:"what shall come of it"`
	Within  time.Duration     `yaml:"within" default:"20s" doc:"time until it is taken or refused for good"`
	Raw     *raw              `yaml:"raw" doc:"what replaces the headers, or all of the message"`
}

func (m *sendMail) actorName() string { return m.From }

func (m *sendMail) check(l *loader) string {
	l.actor(l.at("from"), m.From, roleMail)
	l.raw(l.at("raw"), m.Raw, m.From)
	if !strings.Contains(m.To, "@") {
		m.To = l.address(m.To)
	}
	if m.Server != "" {
		l.server(l.at("server"), m.Server, "")
	}
	if m.At != "" {
		l.listener(l.at("at"), m.At)
	}
	if m.Retry < shortestRetry {
		l.f.Report(l.at("retry"), "10ms or more", "send: retry %s", m.Retry)
	}
	if m.Size < 0 || m.Size > 50_000_000 {
		l.f.Report(l.at("size"), "", "send: size %d", m.Size)
	}
	return fmt.Sprintf("%s sends %q to %s: %s", m.From, m.Subject, m.To, m.Outcome)
}

// shortestRetry keeps a host from trying without a rest.
const shortestRetry = 10 * time.Millisecond

// address is that of the mailbox with an extension.
func (l *loader) address(extension string) string {
	if l.s.Organisation != nil {
		for _, b := range l.s.Organisation.Mailboxes {
			if b.Extension == extension {
				return b.Address
			}
		}
		l.f.Report(l.at("to"), "an extension, or NAME@DOMAIN", "send: no mailbox has the extension %q", extension)
	}
	return extension
}

// message is what is sent.
func (m *sendMail) message() []byte {
	head := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
		m.Sender, m.To, m.Subject, time.Now().Format(time.RFC1123Z))
	return append([]byte(head), filler(m.Size)...)
}

func (m *sendMail) do(ctx context.Context, r *run, _ int) error {
	to, server, err := r.connector(m.Server, m.At)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Within)
	defer cancel()
	err = r.lab.Mail[m.From].Send(ctx, mailhost.Message{From: m.Sender, To: []string{m.To}, Data: m.Raw.apply(m.message())}, mailhost.Delivery{
		To: to, ServerName: server, Security: m.TLS, Retry: m.Retry, User: m.User, Password: m.Pass,
	})
	if m.Outcome == "refused" {
		switch {
		case err == nil:
			return errors.New("the message was taken")
		case mailhost.Refused(err):
			return nil
		}
	}
	return err
}

func (m *sendMail) instruction(*Scenario) string {
	how := map[mailhost.Security]string{mailhost.Required: " with STARTTLS", mailhost.None: " without TLS"}[m.TLS]
	if m.At != "" {
		how += ", to the connector " + m.At
	}
	if m.User != "" {
		how += ", logged on as " + m.User
	}
	return fmt.Sprintf("send a message from %s to %s, subject %s%s", m.Sender, m.To, m.Subject, how)
}

// watch waits until a message of the host is stored, or refused.
func (m *sendMail) watch(ctx context.Context, r *run) error {
	why := ""
	done := r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		switch e.Name {
		case "smtp.refused":
			if r.from(e, m.From) {
				why = e.Text("reply")
			}
			return strings.HasPrefix(why, "5")
		case "mail.delivered":
			return strings.EqualFold(e.Text("mailbox"), m.To) && e.Text("from") == m.Sender
		}
		return false
	})
	switch {
	case done == nil && why != "":
		return errors.New("not taken in time: " + why)
	case done == nil:
		return fmt.Errorf("no such message came within %s", r.patience())
	case (done.Name == "mail.delivered") != (m.Outcome == "taken"):
		return errors.New(map[bool]string{true: "the message was taken", false: why}[done.Name == "mail.delivered"])
	}
	return nil
}

// from reports whether the peer of an event is an actor, by its address.
func (r *run) from(e *trace.Event, actor string) bool {
	peer, err := netip.ParseAddrPort(e.Text("peer"))
	return err == nil && peer.Addr() == r.s.Actors[actor].Address
}
