package transport

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// frontEnd reports whether a connector is of a service that keeps nothing.
func (c *ReceiveConnector) frontEnd() bool {
	return slices.Contains(c.conf.Profile.SMTP.FrontEnds, c.conf.Service)
}

// late reports whether a connector learns what the transport behind it says at
// the end of a message alone: a front end keeps nothing, and opens the session
// behind it when the header section is there
// (https://learn.microsoft.com/en-us/exchange/mail-flow/mail-flow).
func (c *ReceiveConnector) late() bool {
	return c.conf.Profile.SMTP.LateRecipients && c.frontEnd()
}

// behind is what the transport behind a front end says to a whole message.
func (s *session) behind() error {
	b := s.queueing()
	switch {
	case !s.c.frontEnd():
		return nil
	case b.isInactive(hubTransport) || b.isDown():
		return refuse(replyProxyFailed)
	case b.refuses(s.isExchange()):
		return refuse(replyInsufficient)
	case s.strangers: // one of them is enough for the whole message
		return refuse(replyUserUnknown)
	}
	return nil
}

// hubTransport is the service behind front ends.
const hubTransport = "transport"

// stamps are the header fields that transport adds to what it keeps. They go no
// further: the header firewall takes them out.
func (s *session) stamps(head *head) string {
	as := "Anonymous"
	if s.who.owner != nil || s.isExchange() || s.who.group == profile.ExternallySecured {
		as = "Internal"
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	h := hex.EncodeToString(id[:])
	guid := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	var b strings.Builder
	for _, line := range s.c.conf.Profile.SMTP.Stamps {
		if !head.has(name([]byte(line))) { // who may bring them knows better
			b.WriteString(filled(line, "guid", guid, "hostname", s.c.conf.Hostname, "auth-as", as) + "\r\n")
		}
	}
	return b.String()
}

// filled puts values, each behind its key, in place of {key}.
func filled(text string, values ...string) string {
	for i := 0; i+1 < len(values); i += 2 {
		text = strings.ReplaceAll(text, "{"+values[i]+"}", values[i+1])
	}
	return text
}

// Drop ends the connection of a peer on the block list when the content is
// announced, behind all recipients
// (https://learn.microsoft.com/en-us/exchange/antispam-and-antimalware/antispam-protection/connection-filtering).
func (s *session) Drop() bool {
	if !s.filtered() || !s.c.conf.Org.Blocked(s.peer.Remote.Addr()) {
		return false
	}
	s.c.conf.Trace.Record(s.peer.Trace, noCause, blockedEvent{s.peer.Remote.Addr().String()}, nil)
	return true
}

// filtered reports whether anti-spam agents look at the session.
func (s *session) filtered() bool {
	return slices.Contains(s.c.conf.Profile.SMTP.Filters, s.c.conf.Service) && !s.has(profile.RightBypassAntiSpam)
}

// blockedEvent is a connection that a block list ends.
type blockedEvent struct{ peer string }

func (blockedEvent) EventName() string          { return "smtp.blocked" }
func (e blockedEvent) AppendTo(f *trace.Fields) { f.Text("peer", e.peer) }

// TakesBlob is the right to XEXCH50.
func (s *session) TakesBlob() bool { return s.has(profile.RightExch50) }

// awaitDelivery holds the acknowledgement back until next hops have the message,
// where the peer keeps no shadow of it: DelayedAck of 2010
// (https://learn.microsoft.com/powershell/module/exchangepowershell/set-receiveconnector).
func (s *session) awaitDelivery(taken []<-chan bool) {
	most := s.c.fact.MaxAckDelay
	if most <= 0 || len(taken) == 0 || s.isExchange() {
		return
	}
	begin, outcome := time.Now(), "Delivered"
	timer := time.NewTimer(most)
	defer timer.Stop()
	for i := 0; i < len(taken) && outcome != "Expired"; i++ {
		select {
		case has := <-taken[i]:
			if !has {
				outcome = "Failed"
			}
		case <-timer.C:
			outcome = "Expired"
		case <-s.peer.Closing:
			outcome = "Expired"
		}
	}
	s.c.conf.Trace.Record(s.peer.Trace, noCause, delayedAck{time.Since(begin), outcome}, nil)
}

// delayedAck is an acknowledgement that came later.
type delayedAck struct {
	interval time.Duration
	outcome  string
}

func (delayedAck) EventName() string { return "smtp.delayed_ack" }
func (e delayedAck) AppendTo(f *trace.Fields) {
	f.Text("interval", e.interval.Round(time.Millisecond).String())
	f.Text("outcome", e.outcome)
}
