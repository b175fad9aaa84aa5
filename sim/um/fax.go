package um

import (
	"errors"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip/sdp"
)

// errFax means that a fax machine was found at the other end: the conversation
// is over, the call is not.
var errFax = errors.New("um: a fax machine calls")

// partner is where faxes for the party that was called go, "" if nowhere: such
// a call is a call as any other.
func (c *call) partner() string {
	if c.a.kind != callAnswering || !c.w.conf.Profile.Fax.Refers {
		return ""
	}
	return c.w.conf.Org.PolicyOf(c.a.mailbox).FaxServer
}

// toneHeard takes a fax machine's calling tone. It runs on the receiving loop.
func (c *call) toneHeard(rtp.Heard) { c.faxFound("CNG") }

// faxFound ends the conversation of a call that a fax machine has placed.
func (c *call) faxFound(by string) {
	c.faxOnce.Do(func() {
		c.w.src.Record(c.session, trace.Session{}, faxEvent{"um.fax", by, c.partner()}, nil)
		close(c.fax)
	})
}

// refax answers an offer for a fax: with a partner the peer is put on hold, and
// then referred there; without one nobody here takes it.
func (c *call) refax(offer *sdp.Session, kind string) ([]byte, error) {
	if c.partner() == "" {
		c.w.src.Record(c.session, trace.Session{}, faxEvent{"um.fax_refused", kind, c.w.conf.Profile.Fax.Note}, nil)
		return nil, errNoFax
	}
	c.local.Version++
	c.faxFound("re-INVITE (" + kind + ")")
	c.agreed.Send, c.agreed.Receive = false, false
	if c.stream != nil {
		if err := c.start(); err != nil {
			return nil, err
		}
	}
	return sdp.AnswerHeld(offer, c.local).AppendTo(nil), nil
}

var errNoFax = errors.New("no fax is taken here")

// sendFax refers the caller to the fax partner.
func (c *call) sendFax() (string, error) {
	target := c.faxTarget(c.a.mailbox)
	c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transferring", c.a.mailbox.Extension, target, 0, ""}, nil)
	_, err := c.handOver(c.a.mailbox.Extension, target)
	return "referred to the fax partner", err
}

// faxTarget names the partner, and the mailbox that the fax is for.
func (c *call) faxTarget(m *org.Mailbox) string {
	uri := c.partner()[len("sip:"):]
	if _, host, ok := strings.Cut(uri, "@"); ok {
		uri = host
	}
	return strings.NewReplacer("{extension}", m.Extension, "{partner}", uri).Replace(c.w.conf.Profile.Fax.ReferTo)
}
