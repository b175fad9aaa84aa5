package transport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/smtp"
)

// message is one that comes in.
type message struct {
	head     *head
	draft    *store.Draft
	received string // our trace header
	text     []byte // the header section as it is stored
	id       int64
	name     string // Message-ID, or the one that it is given
}

// Data stores the message; it is on disk when Data returns.
func (s *session) Data(r io.Reader) error {
	head, err := readHead(r, s.c.fact.MaxHeaderSize)
	if err == nil {
		err = s.judge(head)
	}
	if err != nil {
		return err
	}
	m := &message{head: head, id: s.queueing().ids.Add(1)}
	if s.c.conf.Discard {
		n, err := io.Copy(io.Discard, r)
		if err == nil {
			s.acknowledge(m, fmt.Sprint(time.Now().UnixNano()), nil, n)
		}
		return err
	}
	if err := s.write(m, r); err != nil {
		return err
	}
	taken, err := s.leave(m)
	if err != nil {
		m.draft.Abort()
		return err
	}
	if err := s.deliver(m); err != nil {
		return err
	}
	s.awaitDelivery(taken)
	return nil
}

// queueing is the state of the server that takes the message.
func (s *session) queueing() *State {
	if s.c.conf.Behind != nil {
		return s.c.conf.Behind
	}
	return s.c.conf.State
}

// judge is what can be said against a message by its header section, and by what
// befalls the server.
func (s *session) judge(head *head) error {
	switch {
	case head.tooBig:
		return &smtp.Refusal{Reply: replyHeaderTooBig, Close: true}
	case s.c.fact.MaxHopCount > 0 && head.hops() > s.c.fact.MaxHopCount:
		return refuse(replyHopCount)
	}
	if err := s.behind(); err != nil {
		return err
	}
	if s.pressed(true) {
		return refuse(replyInsufficient)
	}
	return nil
}

// write drafts the message with our fields before what came.
func (s *session) write(m *message, r io.Reader) error {
	d, err := s.c.conf.Store.Create()
	if err != nil {
		return err
	}
	m.draft, m.received = d, s.received()
	m.head.pass(s.has)
	came := m.head.text()
	m.text = []byte(m.received + s.stamps(m.head) + string(came))
	most := int64(math.MaxInt64)
	if limit := s.limit(); limit > 0 {
		most = max(0, limit-int64(len(came)+len(m.head.rest)))
	}
	var n int64
	for _, part := range []io.Reader{bytes.NewReader(m.text), bytes.NewReader(m.head.rest), io.LimitReader(r, most)} {
		if n, err = io.Copy(d, part); err != nil {
			break
		}
	}
	if err == nil && n == most { // is there more?
		var more [1]byte
		switch k, rerr := io.ReadFull(r, more[:]); {
		case k > 0 || int64(len(came)+len(m.head.rest)) > s.limit():
			err = refuse(smtp.ReplyTooBig)
		case !errors.Is(rerr, io.EOF):
			err = rerr
		}
	}
	if err != nil {
		d.Abort()
	}
	return err
}

// limit is what the organisation takes of a message, whatever the connector
// offers; 0 is no limit.
func (s *session) limit() int64 {
	if s.SizeExempt() {
		return 0
	}
	return cmp.Or(s.c.conf.Org.Limits.MaxReceiveSize, s.c.conf.Profile.SMTP.MaxReceiveSize)
}

// leave hands the message to the send connectors, without what stays in the
// organisation; it is on their disk then. Each channel says whether the next hop has
// it, when that is settled.
func (s *session) leave(m *message) (taken []<-chan bool, err error) {
	if len(s.relays) == 0 {
		return nil, nil
	}
	m.head.leave()
	outside := append([]byte(m.received), m.head.text()...)
	envelope := relayed{From: s.from, Binary: s.binary, UTF8: s.utf8, Cause: s.peer.Trace.String(), MessageID: s.messageID(m, m.draft.ID()), ID: m.id, Subject: m.head.field("subject")}
	for _, r := range s.relays {
		data, err := m.draft.Reader()
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, data, int64(len(m.text))); err != nil {
			return nil, err
		}
		envelope.To, envelope.Secure = r.to, r.secure
		done, err := r.by.relay(envelope, io.MultiReader(bytes.NewReader(outside), data))
		_ = data.Close()
		if err != nil {
			return nil, err
		}
		taken = append(taken, done)
		for _, to := range r.to {
			s.c.conf.Trace.Record(s.peer.Trace, noCause, relayQueued{r.by.conf.Connector.Name, to}, nil)
		}
	}
	return taken, nil
}

// deliver puts the message into mailboxes, and makes the reply.
func (s *session) deliver(m *message) error {
	items, err := m.draft.Commit(s.folders()...)
	if err != nil {
		return err
	}
	to := s.folders()
	for _, r := range s.relays {
		to = append(to, r.to...)
	}
	s.acknowledge(m, m.draft.ID(), to, m.draft.Size())
	for i, item := range items {
		e := delivered(item, s.recipients[i], s.from, m.head)
		e.messageID, e.internalID = m.name, m.id
		s.c.conf.Trace.Record(s.peer.Trace, s.c.conf.Causes.Of(s.peer.Remote), e, m.text[:min(len(m.text), maxShown)])
		if s.c.conf.Changed != nil {
			s.c.conf.Changed(item.Folder)
		}
	}
	return nil
}

// acknowledge makes the values of the reply, and records for whom the message is.
func (s *session) acknowledge(m *message, unique string, to []string, size int64) {
	m.name = s.messageID(m, unique)
	s.queued = map[string]string{"message-id": m.name, "id": strconv.FormatInt(m.id, 10), "hostname": s.c.conf.Hostname}
	s.c.conf.Trace.Record(s.peer.Trace, noCause, receivedEvent{s.from, strings.Join(to, ";"), m.name, m.head.field("subject"), len(to), m.id, size}, nil)
}

// messageID is a message's own, or one that is made of what is unique.
func (s *session) messageID(m *message, unique string) string {
	return cmp.Or(m.head.messageID(), "<"+unique+"@"+s.c.conf.Hostname+">")
}

// maxShown bounds what an event shows of a header section.
const maxShown = 64 << 10

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
	return "Received: " + filled(s.c.conf.Profile.SMTP.Received,
		"ip", s.peer.Remote.Addr().String(), "fqdn", s.c.conf.Server.FQDN, "local", s.peer.Local.Addr().String(),
		"tls", tls, "date", time.Now().Format(time.RFC1123Z), "helo", s.peer.Hello) + "\r\n"
}
