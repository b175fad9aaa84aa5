package transport

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// SenderConfig describes a Sender.
type SenderConfig struct {
	Connector org.SendConnector
	Profile   *profile.Profile
	Server    *org.Server
	// Dir is the folder in which messages wait.
	Dir      string
	Certs    []tls.Certificate // of the server
	Keys     io.Writer         // takes the key log of TLS, nil for none
	Roots    *x509.CertPool    // whose certificates are good
	LogOn    *sasl.Initiator   // that gets Kerberos tickets, nil without a realm
	Sessions *smtp.Sessions
	Dial     func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	Trace    *trace.Source
}

// Sender is a send connector at work: it brings messages to one next hop in the
// dialect of its version, and keeps them while it cannot.
type Sender struct {
	conf SenderConfig
	q    *queue
}

// NewSender uses a folder and sends what an earlier run left there.
func NewSender(conf SenderConfig) (*Sender, error) {
	st, err := store.Open(conf.Dir)
	if err != nil {
		return nil, err
	}
	s := &Sender{conf: conf}
	s.q = &queue{store: st, folder: "queue", retry: cmp.Or(conf.Connector.Retry, conf.Profile.SMTP.SendRetry), expiry: conf.Profile.SMTP.SendExpiry, try: s.try, final: notAgain, expired: func(err error) error { return s.says(replyExpired, err) }, failed: s.failed}
	return s, s.q.begin()
}

// Close lets what is on its way arrive, for a while; what waits then is sent by
// the next run.
func (s *Sender) Close() error { return s.q.close() }

// relayed is the first line of a waiting file.
type relayed struct {
	From         string
	To           []string
	Binary, UTF8 bool
	Cause        string
	Secure       string // the domain that domain security is for
	MessageID    string
	ID           int64 // InternalId
	Subject      string
}

// relay takes a message over: it is on disk when relay returns. The channel says
// whether the next hop has it, when that is settled.
func (s *Sender) relay(r relayed, data io.Reader) (taken <-chan bool, err error) {
	return s.q.submit(r, data)
}

// errNoRoute keeps what no connector is for.
var errNoRoute = errors.New("no send connector has this address space")

// permanent is an error for which there is no use in trying again.
type permanent struct{ error }

func notAgain(err error) bool {
	var final permanent
	var broken *smtp.LineEndError
	var refused *smtp.Refused
	return errors.As(err, &final) || errors.As(err, &broken) || errors.Is(err, smtp.ErrBody) || errors.Is(err, smtp.ErrUTF8) ||
		errors.As(err, &refused) && refused.Answer.Code >= 500 && slices.Contains([]string{"MAIL", "RCPT", "DATA"}, refused.Verb)
}

// try is one session with the next hop.
func (s *Sender) try(j *job) error {
	r, m, closer, err := outgoing(j.item)
	if err != nil {
		return err
	}
	defer closer.Close()
	if j.only != nil {
		r.To, m.To = j.only, j.only
	}
	c := s.conf.Connector
	if !c.SmartHost.IsValid() {
		return errNoRoute
	}
	cause, _ := trace.ParseSession(r.Cause)
	ctx, cancel := context.WithTimeout(s.q.ctx, 30*time.Second)
	defer cancel()
	nc, err := s.conf.Dial(ctx, s.conf.Server.Address, c.SmartHost)
	if err != nil {
		return s.wrapped(s.says(replyUnableToConnect, nil), err)
	}
	defer s.q.lastWord(nc)()
	session := s.conf.Sessions.Next()
	s.conf.Trace.Record(session, cause, connecting{c.Name, c.SmartHost.String(), nc.LocalAddr().String()}, nil)
	over := func(end func() error) {
		_ = end()
		s.conf.Trace.Record(session, trace.Session{}, disconnected{c.Name}, nil)
	}
	k := smtp.NewClient(nc, smtp.ClientConfig{
		Hello: cmp.Or(c.FQDN, s.conf.Server.FQDN), ForceHELO: c.ForceHELO, Reply: cmp.Or(c.InactiveTimeout, 10*time.Minute), Session: session, Trace: s.conf.Trace,
	})
	if err := s.prepare(k, r.Secure); err != nil {
		over(k.Close)
		return s.wrapped(nil, err)
	}
	queued, refused, err := k.Send(m, smtp.Way{Pipelining: true, Chunking: true, Size: true})
	if err != nil {
		over(k.Close)
		return s.wrapped(nil, err)
	}
	// The message is taken: its file goes before anybody waits for a goodbye.
	s.q.wg.Go(func() { over(func() error { return k.Quit(goodbye) }) })
	return s.outcome(j, session, r, m, queued, refused)
}

// goodbye is how long the answer to QUIT may take.
const goodbye = 5 * time.Second

// outcome records who has the message. Recipients that are refused for now are
// tried again by themselves.
func (s *Sender) outcome(j *job, session trace.Session, r *relayed, m *smtp.Outgoing, queued smtp.Answer, refused map[string]error) error {
	var again, lost []string
	for _, to := range r.To {
		switch err := refused[to]; {
		case err == nil:
			s.conf.Trace.Record(session, trace.Session{}, relayedEvent{s.conf.Connector.Name, to, queued.String(), r}, nil)
		case notAgain(err):
			lost = append(lost, to)
		default:
			again = append(again, to)
		}
	}
	for _, all := range [][]string{again, lost} {
		if len(all) == len(r.To) {
			return s.wrapped(nil, refused[all[0]]) // it waits, or is given up, as it is
		}
	}
	for _, to := range again {
		s.conf.Trace.Record(session, trace.Session{}, relayFailed{s.conf.Connector.Name, to, refused[to].Error(), false, "", r}, nil)
	}
	if len(again) > 0 {
		left := *r
		left.To = again
		if err := s.q.replace(j, left, m.Data()); err != nil {
			return partly{again, err} // the others have it
		}
	}
	return s.giveUp(session, r, m, lost, refused)
}

// giveUp keeps the message of recipients that are refused for good.
func (s *Sender) giveUp(session trace.Session, r *relayed, m *smtp.Outgoing, lost []string, refused map[string]error) error {
	if len(lost) == 0 {
		return nil
	}
	kept := *r
	kept.To = lost
	path, err := s.q.aside(kept, m.Data())
	if err != nil {
		path = err.Error()
	}
	for _, to := range lost {
		s.conf.Trace.Record(session, trace.Session{}, relayFailed{s.conf.Connector.Name, to, refused[to].Error(), true, path, r}, nil)
	}
	return nil
}

// partly is an error of a message that some recipients have.
type partly struct {
	left []string // to be tried again
	error
}

// outgoing opens a waiting file.
func outgoing(item store.Item) (r *relayed, m *smtp.Outgoing, closer io.Closer, err error) {
	f, err := os.Open(item.Path)
	if err != nil {
		return nil, nil, nil, err
	}
	head, err := bufio.NewReader(f).ReadBytes('\n')
	r = &relayed{}
	if err == nil {
		err = json.Unmarshal(head, r)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, nil, permanent{fmt.Errorf("%s: %w", item.Path, err)}
	}
	begin, size := int64(len(head)), item.Size-int64(len(head))
	m = &smtp.Outgoing{From: r.From, To: r.To, Size: size, Binary: r.Binary, UTF8: r.UTF8, Data: func() io.Reader { return io.NewSectionReader(f, begin, size) }}
	if !m.Binary {
		if m.Eight, err = eightBit(m.Data()); err != nil {
			_ = f.Close()
			return nil, nil, nil, err
		}
	}
	return r, m, f, nil
}

// eightBit reports whether a text has octets beyond US-ASCII.
func eightBit(r io.Reader) (bool, error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b > 0x7f {
				return true, nil
			}
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// failed records a try that did not succeed.
func (s *Sender) failed(item store.Item, err error, final bool) {
	r, _, closer, oerr := outgoing(item)
	if oerr != nil {
		r = &relayed{}
	} else {
		_ = closer.Close()
	}
	s.conf.Trace.Record(trace.Session{}, trace.Session{}, relayFailed{s.conf.Connector.Name, strings.Join(r.To, ", "), err.Error(), final, item.Path, r}, nil)
}

// connecting is a session of a send connector.
type connecting struct{ connector, to, local string }

func (connecting) EventName() string { return "send.connected" }
func (e connecting) AppendTo(f *trace.Fields) {
	f.Text("connector", e.connector)
	f.Text("to", e.to)
	f.Text("local", e.local)
}

// disconnected is the end of one.
type disconnected struct{ connector string }

func (disconnected) EventName() string          { return "send.disconnected" }
func (e disconnected) AppendTo(f *trace.Fields) { f.Text("connector", e.connector) }

// relayedEvent is a message that the next hop has taken for a recipient.
type relayedEvent struct {
	connector, recipient, answer string
	r                            *relayed
}

func (relayedEvent) EventName() string { return "send.taken" }
func (e relayedEvent) AppendTo(f *trace.Fields) {
	f.Text("connector", e.connector)
	f.Text("recipient", e.recipient)
	f.Text("answer", e.answer)
	e.r.appendTo(f)
}

// appendTo tells which message it is.
func (r *relayed) appendTo(f *trace.Fields) {
	f.Text("from", r.From)
	f.Text("subject", r.Subject)
	f.Text("message_id", r.MessageID)
	f.Int("internal_id", r.ID)
}

type relayFailed struct {
	connector, recipient, why string
	final                     bool
	path                      string
	r                         *relayed
}

func (relayFailed) EventName() string { return "send.failed" }
func (e relayFailed) AppendTo(f *trace.Fields) {
	f.Text("connector", e.connector)
	f.Text("recipient", e.recipient)
	f.Text("why", e.why)
	f.Bool("final", e.final)
	f.Text("path", e.path)
	e.r.appendTo(f)
}

// relayQueued is a message that waits for its send connector.
type relayQueued struct{ connector, recipient string }

func (relayQueued) EventName() string { return "send.queued" }
func (e relayQueued) AppendTo(f *trace.Fields) {
	f.Text("connector", e.connector)
	f.Text("recipient", e.recipient)
}
