package um

import (
	"slices"
	"sync"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// call is one answered call. Its states follow one another; a hang-up ends
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

	mu     sync.Mutex
	dialog *sip.Dialog
	stream *rtp.Stream
	state  state
	timer  *time.Timer // longest call, or the wait for the hang-up
}

type state int

const (
	stateAnswered state = iota
	stateGreeting
	stateTone
	stateRecording
	stateRecorded
	stateOver
)

// negotiate opens the stream and answers the offer.
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
	answer, agreed, err := sdp.Answer(offer, c.local)
	if err != nil {
		return nil, &offerFault{err}
	}
	stream := conf.Shared
	if stream == nil {
		if stream, err = conf.Media.Open(conf.Server.Address, c.session, c.w.src); err != nil {
			return nil, err
		}
		c.stream = stream
	}
	c.agreed = agreed
	c.local.Port = stream.Addr().Port()
	answer.Media[agreed.Section].Port = c.local.Port
	return answer.AppendTo(nil), nil
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
func (c *call) start() {
	if err := c.stream.Start(c.params()); err != nil {
		c.note("bench.fault", "what", err.Error())
	}
}

// Established begins the greeting.
func (c *call) Established() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateAnswered {
		return
	}
	c.state = stateGreeting
	longest := limit(c.w.conf.Org.Limits.MaxCallDuration, c.w.conf.Profile.UM.MaxCall)
	c.timer = time.AfterFunc(longest, func() { c.hangUp("max-call-duration") })
	if c.stream == nil {
		return // signalling only
	}
	c.start()
	if c.a.mailbox == nil {
		c.note("um.pilot_greeting", "why", "the INVITE has no Diversion: no mailbox is named")
		c.stream.Play(rtp.PCMU, c.w.conf.Prompts.Pilot, func() { c.hangUp("pilot greeting over") })
		return
	}
	c.note("um.greeting", "mailbox", c.a.mailbox.Address)
	c.stream.Play(rtp.PCMU, c.w.conf.Prompts.Greeting, c.tone)
}

func (c *call) note(name, key, value string) {
	c.w.src.Record(c.session, trace.Session{}, plain{name, key, value}, nil)
}

// enter moves from one state to the next; false if the call went on otherwise.
func (c *call) enter(from, to state) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != from {
		return false
	}
	c.state = to
	return true
}

func (c *call) tone() {
	if !c.enter(stateGreeting, stateTone) {
		return
	}
	um := &c.w.conf.Profile.UM
	c.note("um.tone", "length", um.ToneLength.String())
	c.stream.Play(rtp.PCMU, rtp.Tone(rtp.PCMU, um.ToneHz, um.ToneLength), c.record)
}

func (c *call) record() {
	if !c.enter(stateTone, stateRecording) {
		return
	}
	um, own := &c.w.conf.Profile.UM, &c.w.conf.Org.Limits
	c.note("um.recording", "mailbox", c.a.mailbox.Address)
	c.stream.Record(rtp.Limits{
		Max:  limit(own.MaxRecordingDuration, um.MaxRecording),
		Idle: limit(own.RecordingIdleTimeout, um.RecordingIdle),
	}, c.recorded)
}

// digit ends a recording by the end key.
func (c *call) digit(d byte) {
	c.mu.Lock()
	recording := c.state == stateRecording && string(d) == c.w.conf.Profile.UM.EndKey
	c.mu.Unlock()
	if recording {
		c.stream.StopRecording()
	}
}

// recorded hands the message on, on a goroutine of its own: the disk may be
// slow. Behind the end key the caller may hang up by itself; behind silence or
// the full length the call is over.
func (c *call) recorded(r rtp.Recording, why rtp.Stopped) {
	c.enter(stateRecording, stateRecorded) // or the caller hung up just now: the message counts
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
		if c.timer != nil && c.state == stateRecorded {
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

// Request serves what comes in the dialog: a new offer is answered, everything
// else that is allowed is acknowledged.
func (c *call) Request(tx *sip.ServerTx) {
	body := tx.Body()
	offers := len(body) > 0 && (tx.Method() == "INVITE" || tx.Method() == "UPDATE")
	switch {
	case offers:
		c.reoffer(tx, body)
	case tx.Method() == "INVITE":
		tx.Respond(sip.Response{Status: 488, Reason: "Not Acceptable Here"})
	case tx.Method() == "NOTIFY", tx.Method() == "BENOTIFY", tx.Method() == "PRACK":
		tx.Respond(sip.Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
	case tx.Method() == "OPTIONS":
		c.w.conf.options(tx)
	default:
		tx.Respond(sip.Response{Status: 200, Reason: "OK"})
	}
}

func (c *call) reoffer(tx *sip.ServerTx, body []byte) {
	offer, err := sdp.Parse(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	var answer []byte
	if err == nil {
		answer, err = c.agree(offer)
	}
	if err != nil {
		no := c.w.conf.Profile.Refusals.NoCodec
		tx.Respond(sip.Response{Status: no.Code, Reason: no.Reason})
		return
	}
	if c.stream != nil {
		c.start()
	}
	tx.Respond(c.w.response(tx, nil, answer))
}

// hangUp ends the call from our side.
func (c *call) hangUp(why string) {
	c.mu.Lock()
	d := c.dialog
	over := c.state == stateOver
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
	was := c.state
	c.state = stateOver
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.w.src.Record(c.session, trace.Session{}, endedEvent{how}, nil)
	if c.a.mailbox != nil && c.stream != nil && was < stateRecording && how == sip.EndBye {
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
