package um

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// call is one answered call. Its phases follow one another; a hang-up ends
// each of them:
//
//	answered ─ACK─▶ greeting ─▶ tone ─▶ recording ─#, silence, length─▶ recorded
//	                   └─ without diversion: the pilot's greeting ─▶ BYE
type call struct {
	w       *Worker
	a       *admitted
	session trace.Session
	callID  string
	agreed  sdp.Agreed
	local   sdp.Local
	updates bool   // the peer takes UPDATE
	contact string // ours

	mu     sync.Mutex
	dialog *sip.Dialog
	stream *rtp.Stream
	phase  phase
	timer  *time.Timer // longest call, or the wait for the hang-up
	offers bool        // our offer is out, in a 200 or a re-INVITE
	doomed string      // why it is to be hung up as soon as it is answered
}

type phase int

const (
	phaseAnswered phase = iota
	phaseGreeting
	phaseTone
	phaseRecording
	phaseRecorded
	phaseOver
)

// negotiate opens the stream and answers the offer, or makes one where the
// INVITE has none.
func (c *call) negotiate(offer *sdp.Session) ([]byte, error) {
	conf, p := &c.w.conf, &c.w.conf.Profile.SDP
	c.local = sdp.Local{
		Addr: conf.Server.Public(), Codecs: c.w.codecs, Events: p.Events, ID: conf.Rand() % 1000, Name: p.SessionName, Bandwidth: p.Bandwidth,
		Attrs: []sdp.Attr{{Key: "label", Value: p.Label}}, Ptime: p.Ptime,
	}
	if c.a.plan.VoIPSecurity == org.Secured {
		c.local.Crypto = sdp.NewKeys(slices.Concat(p.Suites, p.MoreSuites)...)
	}
	// The offer is judged before a port is taken.
	var answer *sdp.Session
	var agreed sdp.Agreed
	var err error
	if offer != nil {
		if answer, agreed, err = sdp.Answer(offer, c.local); err != nil {
			return nil, &offerFault{err}
		}
	}
	if conf.NoPorts != nil && conf.NoPorts() {
		return nil, rtp.ErrNoPorts
	}
	stream := conf.Shared
	if stream == nil {
		if stream, err = conf.Media.Open(conf.Server.Address, c.session, c.w.src); err != nil {
			return nil, err
		}
		c.stream = stream
	}
	c.local.Port = stream.Addr().Port()
	if offer == nil {
		return c.makeOffer(), nil
	}
	c.agreed = agreed
	answer.Media[agreed.Section].Port = c.local.Port
	return answer.AppendTo(nil), nil
}

// eventsPT is the payload type of telephone events that we offer.
const eventsPT = 101

// makeOffer is our description for a peer that sent none; its answer is awaited.
func (c *call) makeOffer() []byte {
	c.offers = true
	c.local.EventsPT = eventsPT
	return sdp.Offer(c.local).AppendTo(nil)
}

// offerFault is an error of the offer, not of the bench.
type offerFault struct{ error }

func (f *offerFault) Unwrap() error { return f.error }

// agree answers an offer on the stream that there is.
func (c *call) agree(offer *sdp.Session) ([]byte, error) {
	c.local.Version++
	answer, agreed, err := sdp.Answer(offer, c.local)
	if err != nil {
		return nil, err
	}
	c.agreed = agreed
	return answer.AppendTo(nil), nil
}

func (c *call) params() rtp.Params {
	p := rtp.Params{
		Remote: c.agreed.Remote, Codec: rtp.Codec(c.agreed.Codec.PT), PT: c.agreed.PT, EventsPT: c.agreed.EventsPT,
		Send: c.agreed.Send, Receive: c.agreed.Receive, Continuous: c.w.conf.Profile.UM.RTPSilence, OnDigit: c.digit,
	}
	if k := c.agreed.Keys; k != nil {
		p.Crypto = &rtp.Crypto{Suite: k.Suite, Send: k.Local, Receive: k.Remote, ReceiveMKI: k.RemoteMKI}
	}
	return p
}

// start begins or changes what the stream sends.
func (c *call) start() error {
	err := c.stream.Start(c.params())
	if err != nil {
		c.note("bench.fault", "what", err.Error())
	}
	return err
}

// Acknowledged begins the greeting, or what an answer in the ACK has changed.
func (c *call) Acknowledged(body []byte) {
	c.mu.Lock()
	err := c.answered(body)
	why := "the ACK has no usable answer to our offer: "
	if err == nil {
		err, why = c.greet(), "the media cannot be sent: "
	}
	c.mu.Unlock()
	if err != nil {
		c.hangUp(why + err.Error())
	}
}

// answered takes the answer to our offer, if one is out; c.mu is held.
func (c *call) answered(body []byte) error {
	if !c.offers {
		return nil
	}
	c.offers = false
	answer, err := sdp.Parse(body)
	if err != nil {
		return err
	}
	if c.agreed, err = sdp.Accepted(answer, c.local); err != nil {
		return err
	}
	if c.phase > phaseAnswered && c.stream != nil {
		return c.start()
	}
	return nil
}

// greet begins the greeting of a call that was just established; c.mu is held.
func (c *call) greet() error {
	if c.phase != phaseAnswered {
		return nil
	}
	c.phase = phaseGreeting
	longest := limit(c.w.conf.Org.Limits.MaxCallDuration, c.w.conf.Profile.UM.MaxCall)
	c.timer = time.AfterFunc(longest, func() { c.hangUp("max-call-duration") })
	if c.stream == nil {
		return nil // signalling only
	}
	if err := c.start(); err != nil {
		return err
	}
	if c.a.mailbox == nil {
		c.note("um.pilot_greeting", "why", "the INVITE has no Diversion: no mailbox is named")
		c.stream.Play(rtp.PCMU, c.w.conf.Prompts.Pilot, func() { c.hangUp("pilot greeting over") })
		return nil
	}
	c.note("um.greeting", "mailbox", c.a.mailbox.Address)
	c.stream.Play(rtp.PCMU, c.w.conf.Prompts.Greeting, c.tone)
	return nil
}

func (c *call) note(name, key, value string) {
	c.w.src.Record(c.session, trace.Session{}, plain{name, key, value}, nil)
}

// enter moves from one phase to the next; false if the call went on otherwise.
func (c *call) enter(from, to phase) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != from {
		return false
	}
	c.phase = to
	return true
}

func (c *call) tone() {
	if !c.enter(phaseGreeting, phaseTone) {
		return
	}
	um := &c.w.conf.Profile.UM
	c.note("um.tone", "length", um.ToneLength.String())
	c.stream.Play(rtp.PCMU, rtp.Tone(rtp.PCMU, um.ToneHz, um.ToneLength), c.record)
}

func (c *call) record() {
	if !c.enter(phaseTone, phaseRecording) {
		return
	}
	um, own := &c.w.conf.Profile.UM, &c.w.conf.Org.Limits
	c.stream.Record(rtp.Limits{
		Max:  limit(own.MaxRecordingDuration, um.MaxRecording),
		Idle: limit(own.RecordingIdleTimeout, um.RecordingIdle),
	}, c.recorded)
	c.note("um.recording", "mailbox", c.a.mailbox.Address) // who waits for it may speak at once
}

// digit ends a recording by the end key.
func (c *call) digit(d byte) {
	c.mu.Lock()
	recording := c.phase == phaseRecording && string(d) == c.w.conf.Profile.UM.EndKey
	c.mu.Unlock()
	if recording {
		c.stream.StopRecording()
	}
}

// recorded hands the message on, on a goroutine of its own: the disk may be
// slow. Behind the end key the caller may hang up by itself; behind silence or
// the full length the call is over.
func (c *call) recorded(r rtp.Recording, why rtp.Stopped) {
	c.enter(phaseRecording, phaseRecorded) // or the caller hung up just now: the message counts
	by := string(why)
	if why == rtp.StoppedHere {
		by = "key"
	}
	c.w.src.Record(c.session, trace.Session{}, recordedEvent{r, by}, nil)
	c.submit(func() (Message, error) {
		if !r.Voiced {
			return c.missedCall()
		}
		return c.voiceMessage(r)
	})
	switch why {
	case rtp.StoppedHere:
		c.mu.Lock()
		if c.timer != nil && c.phase == phaseRecorded {
			c.timer.Reset(limit(c.w.conf.Org.Limits.RecordingIdleTimeout, c.w.conf.Profile.UM.RecordingIdle))
		}
		c.mu.Unlock()
	case rtp.StoppedSilence, rtp.StoppedLength:
		c.hangUp(string(why))
	}
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
	case tx.Method() == "NOTIFY", tx.Method() == "BENOTIFY", tx.Method() == "PRACK":
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

// reoffer is what a re-INVITE or UPDATE is answered with; c.mu is held.
func (c *call) reoffer(tx *sip.ServerTx) ([]byte, error) {
	if len(tx.Body()) == 0 {
		if tx.Method() == "UPDATE" {
			return nil, nil
		}
		c.local.Version++
		return c.makeOffer(), nil
	}
	offer, err := sdp.Parse(tx.Body())
	if err != nil {
		return nil, err
	}
	body, err := c.agree(offer)
	if err == nil && c.stream != nil {
		err = c.start()
	}
	return body, err
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
	over := c.phase == phaseOver
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

// Ended is the end of the dialog, from whichever side. A caller who did not
// reach the tone has missed the mailbox.
func (c *call) Ended(how sip.End) {
	c.mu.Lock()
	was := c.phase
	c.phase = phaseOver
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.w.src.Record(c.session, trace.Session{}, endedEvent{how}, nil)
	if c.a.mailbox != nil && c.stream != nil && was < phaseRecording && how == sip.EndBye {
		c.note("um.missed_call", "mailbox", c.a.mailbox.Address)
		c.submit(c.missedCall)
	}
	c.release()
}

// release frees what the call holds. A recording that is running ends here.
func (c *call) release() {
	if c.stream != nil {
		c.stream.Close()
	}
	c.w.remove(c)
}
