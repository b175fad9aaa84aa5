package um

import (
	"context"
	"sync"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// call is one answered call: its dialog, its media and its life. What is said
// in it is a conversation (talk.go), on a goroutine of its own.
type call struct {
	w       *Worker
	a       *admitted
	session trace.Session
	callID  string
	fromTag string // of a call that we place
	agreed  sdp.Agreed
	local   sdp.Local
	updates bool   // the peer takes UPDATE
	contact string // ours

	keys chan byte     // pressed and not heeded yet
	held []byte        // of these, what was looked at and put back; the conversation's
	over chan struct{} // closed at the end

	fax     chan struct{} // closed when a fax machine is found
	faxOnce sync.Once

	mu        sync.Mutex
	dialog    *sip.Dialog
	stream    *rtp.Stream
	begun     bool        // the conversation has begun
	recording bool        // what is said now is for the mailbox
	timer     *time.Timer // longest call
	offers    bool        // our offer is out, in a 200 or a re-INVITE
	doomed    string      // why it is to be hung up as soon as it is answered
	how       sip.End     // it ended
	plays     VoiceMail   // of Play on Phone
	freed     func()      // is told, once, when nothing of the call is left
	had183    bool        // a 183 with a description came
	ringing   bool        // its media began before the answer
	silent    bool        // and then a 180 with one
	reports   chan int    // of a transfer under way
}

// maxKeys are keys that may wait for a conversation to heed them.
const maxKeys = 64

func (w *Worker) newCall(a *admitted, tx *sip.ServerTx) *call {
	return &call{w: w, a: a, session: tx.Session(), callID: tx.CallID(), keys: make(chan byte, maxKeys), over: make(chan struct{}), fax: make(chan struct{})}
}

// Acknowledged begins the conversation, or what an answer in the ACK has
// changed.
func (c *call) Acknowledged(body []byte) {
	c.mu.Lock()
	err := c.answered(body)
	why := "the ACK has no usable answer to our offer: "
	if err == nil {
		err, why = c.begin(), "the media cannot be sent: "
	}
	c.mu.Unlock()
	if err != nil {
		c.hangUp(why + err.Error())
	}
}

// begin begins the conversation of a call that was just established; c.mu is
// held.
func (c *call) begin() error {
	if c.begun {
		return nil
	}
	c.begun = true
	longest := limit(c.w.conf.Org.Limits.MaxCallDuration, c.w.conf.Profile.UM.MaxCall)
	c.timer = time.AfterFunc(longest, func() { c.hangUp("max-call-duration") })
	if c.stream == nil {
		return nil // signalling only
	}
	c.stream.HideDigits(c.a.kind == subscriberAccess || c.a.kind == pilotNumber) // a PIN may come at once
	if err := c.start(); err != nil {
		return err
	}
	c.w.wg.Go(c.converse)
	return nil
}

func (c *call) note(name, key, value string) {
	c.w.src.Record(c.session, trace.Session{}, plain{name, key, value}, nil)
}

func (c *call) submit(build func() (Message, error)) {
	c.w.wg.Go(func() {
		m, err := build()
		if err == nil {
			c.w.src.Record(c.session, trace.Session{}, submitted{m}, nil)
			err = c.w.handOver(m)
		}
		if err != nil {
			c.note("bench.fault", "what", "the message of the call cannot be handed to transport: "+err.Error())
		}
	})
}

// Request serves what comes in the dialog: a new offer is answered, and what
// refreshes the session keeps it; everything else that is allowed is
// acknowledged.
func (c *call) Request(tx *sip.ServerTx) {
	switch {
	case tx.Method() == "INVITE", tx.Method() == "UPDATE":
		c.refresh(tx)
	case tx.Method() == "NOTIFY":
		c.reported(tx)
	case tx.Method() == "BENOTIFY", tx.Method() == "PRACK":
		tx.Respond(sip.Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
	case tx.Method() == "OPTIONS":
		c.w.conf.options(tx)
	default:
		tx.Respond(sip.Response{Status: 200, Reason: "OK"})
	}
}

// refresh serves a re-INVITE or an UPDATE. An INVITE without an offer gets ours,
// an UPDATE without one leaves the media alone.
func (c *call) refresh(tx *sip.ServerTx) {
	keep, headers, no := tx.SessionTimer(c.w.sessionInterval())
	if no != nil {
		tx.Respond(*no)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := c.reoffer(tx)
	if err != nil {
		no := c.w.conf.Profile.Refusals.NoCodec
		tx.Respond(sip.Response{Status: no.Code, Reason: no.Reason})
		return
	}
	r := c.w.response(tx, nil, body, headers)
	tx.Respond(r)
	c.keepSession(keep)
}

// keepSession starts the session timer anew; c.mu is held.
func (c *call) keepSession(t sip.SessionTimer) {
	if c.dialog != nil {
		c.dialog.KeepSession(t, c.sendRefresh)
	}
}

// sendRefresh refreshes the session: by UPDATE where the peer takes it, else by
// an INVITE with an offer.
func (c *call) sendRefresh(ctx context.Context, headers []string) (sip.Reply, error) {
	c.mu.Lock()
	d, contact, updates := c.dialog, c.contact, c.updates
	var offer []byte
	if !updates {
		c.local.Version++
		offer = c.makeOffer()
	}
	c.mu.Unlock()
	if updates {
		return d.Request(ctx, "UPDATE", append(headers, "Contact: "+contact), nil)
	}
	r, err := d.Reinvite(ctx, contact, headers, offer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && r.Status/100 == 2 && c.answered(r.Body) != nil {
		c.note("um.offer_unanswered", "why", "the answer to our re-INVITE has no usable description: the media stay as they were")
	}
	c.offers = false
	return r, err
}

// hangUp ends the call from our side, one that is not answered yet as soon as
// it is.
func (c *call) hangUp(why string) {
	c.mu.Lock()
	d := c.dialog
	over := c.how != ""
	if d == nil {
		c.doomed = why
	}
	c.mu.Unlock()
	if over || d == nil {
		return
	}
	c.note("um.hang_up", "why", why)
	d.Bye()
}

// Ended is the end of the dialog, from whichever side.
func (c *call) Ended(how sip.End) {
	c.mu.Lock()
	c.how = how
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	close(c.over)
	c.w.src.Record(c.session, trace.Session{}, endedEvent{how}, nil)
	c.release()
}

// ended is how the call ended, "" while it goes on.
func (c *call) ended() sip.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.how
}

// release frees what the call holds. A recording that is running ends here.
func (c *call) release() {
	if c.stream != nil {
		c.stream.Close()
	}
	c.w.remove(c)
	c.mu.Lock()
	freed := c.freed
	c.freed = nil
	c.mu.Unlock()
	if freed != nil {
		freed()
	}
}
