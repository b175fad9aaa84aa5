package transport

import (
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
)

// session is one peer's dealings with the connector.
type session struct {
	c    *ReceiveConnector
	peer smtp.Peer
	who  identity

	delay     time.Duration // of the next answer
	delayedBy string

	from       string
	utf8       bool
	binary     bool
	recipients []*org.Mailbox
	strangers  bool    // a recipient is nobody: a front end learns it later
	relays     []relay // what leaves again
	queued     map[string]string
}

var (
	_ gosmtp.Session     = (*session)(nil)
	_ smtp.Queued        = (*session)(nil)
	_ smtp.Authenticator = (*session)(nil)
	_ smtp.SizeExempt    = (*session)(nil)
	_ smtp.Delayed       = (*session)(nil)
	_ smtp.Dropper       = (*session)(nil)
	_ smtp.BlobTaker     = (*session)(nil)
)

var noCause trace.Session

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func refuse(name smtp.Reply) error { return &smtp.Refusal{Reply: name} }

// Mail needs the right to submit, and to be this sender.
func (s *session) Mail(from string, o *gosmtp.MailOptions) error {
	if s.c.fact.RequireTLS && s.peer.TLS == nil {
		return refuse(replyStartTLSRequired)
	}
	if s.who.group == profile.Partners { // of an earlier sender
		s.become(s.c.arrival(s.peer))
	}
	if err := s.domainSecurity(from); err != nil {
		return err
	}
	switch {
	case !s.has(profile.RightSubmit):
		return refuse(replyNotAuthenticated)
	case !s.maySendAs(from):
		return refuse(replyNotThisSender)
	case s.c.conf.State.isInactive(s.c.conf.Service):
		return refuse(replyNotActive)
	case s.filtered() && s.c.conf.Org.SenderFiltered(from):
		return &smtp.Refusal{Reply: replySenderDenied, Close: true}
	case s.pressed(false):
		return refuse(replyInsufficient)
	case !s.c.rates.take(s.peer.Remote.Addr(), s.who.user, time.Now()):
		return refuse(replyRateExceeded)
	}
	s.from, s.recipients, s.relays, s.strangers, s.queued = from, nil, nil, false, nil
	s.utf8, s.binary = o != nil && o.UTF8, o != nil && o.Body == gosmtp.BodyBinaryMIME
	return nil
}

// relay is what leaves by one send connector: for a domain of domain security by
// itself.
type relay struct {
	by     *Sender
	secure string
	to     []string
}

// maySendAs holds a sender against the rights of the session: a user without
// Accept-Any-Sender is itself, and who lacks
// Accept-Authoritative-Domain-Sender is nobody of the organisation.
func (s *session) maySendAs(from string) bool {
	domain := domainOf(from)
	switch {
	case from == "":
		return true
	case s.who.owner != nil && !s.has(profile.RightAnySender):
		return strings.EqualFold(from, s.who.owner.Address)
	case strings.EqualFold(domain, s.c.conf.Org.Domain):
		return s.has(profile.RightAuthoritativeSender) || s.who.owner != nil
	}
	return true
}

// Rcpt takes mailboxes of the accepted domain. To others it relays for who has
// the right to it.
func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	domain := domainOf(to)
	if name := s.reserved(domain); name != "" {
		return refuse(name)
	}
	if domain != "" && !strings.EqualFold(domain, s.c.conf.Org.Domain) {
		return s.relayTo(to, domain)
	}
	m := s.c.conf.Org.MailboxAt(to)
	if m == nil {
		if s.strangers = s.c.late(); s.strangers {
			return nil
		}
		return refuse(replyUserUnknown)
	}
	if !slices.Contains(s.recipients, m) { // named twice, it gets one copy
		s.recipients = append(s.recipients, m)
	}
	return nil
}

// reserved is the refusal of a domain that no mail goes to, where the connector has
// one (RFC 2606 §2 and §3).
func (s *session) reserved(domain string) smtp.Reply {
	f := &s.c.fact
	labels := strings.Split(strings.ToLower(domain), ".")
	top, second := labels[len(labels)-1], ""
	if len(labels) > 1 {
		second = labels[len(labels)-2]
	}
	switch {
	case f.RejectSingleLabel && domain != "" && second == "":
		return replySingleLabel
	case f.RejectReservedTop && slices.Contains([]string{"test", "example", "invalid", "localhost"}, top):
		return replyReservedTop
	case f.RejectReservedSecond && second == "example" && slices.Contains([]string{"com", "net", "org"}, top):
		return replyReservedSecond
	}
	return ""
}

func (s *session) relayTo(to, domain string) error {
	if !s.has(profile.RightAnyRecipient) {
		return refuse(replyUnableToRelay)
	}
	if s.c.conf.Relay == nil {
		return nil
	}
	by, secure := s.c.conf.Relay(domain), ""
	if by.conf.Connector.DomainSecure && s.c.conf.Org.DomainSecurity.Sends(domain) {
		secure = strings.ToLower(domain)
	}
	i := slices.IndexFunc(s.relays, func(r relay) bool { return r.by == by && r.secure == secure })
	if i < 0 {
		i = len(s.relays)
		s.relays = append(s.relays, relay{by: by, secure: secure})
	}
	if !slices.Contains(s.relays[i].to, to) { // named twice, it gets one copy
		s.relays[i].to = append(s.relays[i].to, to)
	}
	return nil
}

// domainOf is what stands behind the last @: a quoted local part may hold others.
func domainOf(address string) string {
	return address[strings.LastIndexByte(address, '@')+1:]
}

// SizeExempt is the right Bypass-Message-Size-Limit.
func (s *session) SizeExempt() bool { return s.has(profile.RightBypassSize) }

// Queued tells the values of the reply to the end of data.
func (s *session) Queued() map[string]string { return s.queued }

// Reset forgets the transaction.
func (s *session) Reset() { s.recipients, s.relays, s.strangers = nil, nil, false }

// Logout ends the session.
func (s *session) Logout() error { return nil }
