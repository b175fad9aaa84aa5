package um

import (
	"errors"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
)

// promptCodec is what recordings to play are kept in.
const promptCodec = rtp.PCMU

// errOver means that the call ended while something was going on in it.
var errOver = errors.New("um: the call is over")

// converse holds the conversation that the call is for. What comes back to here
// is hung up on.
func (c *call) converse() {
	talk := map[kind]func() (string, error){
		callAnswering:    c.callAnswering,
		subscriberAccess: c.subscriberAccess,
		autoAttendant:    c.autoAttendant,
		pilotNumber:      c.pilotGreeting,
		playOnPhone:      c.playsMessage,
		consultation:     c.consulted,
	}[c.a.kind]
	why, err := talk()
	switch {
	case errors.Is(err, errFax):
		if why, err = c.sendFax(); err == nil {
			c.hangUp(why)
		}
	case err == nil:
		c.hangUp(why)
	case !errors.Is(err, errOver):
		c.note("bench.fault", "what", "the conversation broke off: "+err.Error())
		c.hangUp("a fault of the bench")
	}
}

// play plays recordings, one behind the other, to their end.
func (c *call) play(recordings ...[]byte) error {
	for _, octets := range recordings {
		done := make(chan struct{})
		c.stream.Play(promptCodec, octets, func() { close(done) })
		select {
		case <-done:
		case <-c.fax:
		case <-c.over:
		}
		if err := c.alive(); err != nil { // what waited to be played is done then, too
			return err
		}
	}
	return nil
}

// gone reports the end of the call.
func (c *call) gone() error {
	select {
	case <-c.over:
		return errOver
	default:
		return nil
	}
}

// alive reports the end of the conversation: of the call, or that it is for a
// fax.
func (c *call) alive() error {
	if err := c.gone(); err != nil {
		return err
	}
	select {
	case <-c.fax:
		c.stream.StopPlaying()
		return errFax
	default:
		return nil
	}
}

// digit takes a key: the end key of a recording ends it, others wait for the
// conversation. It runs on the receiving loop.
func (c *call) digit(d byte) {
	c.mu.Lock()
	ends := c.recording && string(d) == c.w.conf.Profile.UM.EndKey
	c.mu.Unlock()
	if ends {
		c.stream.StopRecording()
		return
	}
	select {
	case c.keys <- d:
	default: // nobody heeds so many
	}
}

// forget drops the keys that nobody heeded.
func (c *call) forget() {
	c.held = nil
	for {
		select {
		case <-c.keys:
		default:
			return
		}
	}
}

// key waits for a key; 0 is none in time.
func (c *call) key(wait time.Duration) (byte, error) {
	if len(c.held) > 0 {
		d := c.held[0]
		c.held = c.held[1:]
		return d, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case d := <-c.keys:
		return d, nil
	case <-timer.C:
		return 0, nil
	case <-c.fax:
	case <-c.over:
	}
	return 0, c.alive()
}

// recorded is a recording and what ended it.
type recorded struct {
	rtp.Recording
	why rtp.Stopped
}

// record plays the tone and records until the end key, silence, the greatest
// length, or the end of the call.
func (c *call) record(mailbox string) (recorded, error) {
	um, own := &c.w.conf.Profile.UM, &c.w.conf.Org.Limits
	c.note("um.tone", "length", um.ToneLength.String())
	if err := c.play(rtp.Tone(promptCodec, um.ToneHz, um.ToneLength)); err != nil {
		return recorded{}, err
	}
	c.forget()
	result := make(chan recorded, 1)
	c.setRecording(true)
	c.stream.Record(rtp.Limits{
		Max:  limit(own.MaxRecordingDuration, um.MaxRecording),
		Idle: limit(own.RecordingIdleTimeout, um.RecordingIdle),
	}, func(r rtp.Recording, why rtp.Stopped) { result <- recorded{r, why} })
	c.note("um.recording", "mailbox", mailbox) // who waits for it may speak at once
	var r recorded
	select {
	case r = <-result: // also at the end of the call
	case <-c.fax:
		c.stream.StopRecording()
		<-result
		return recorded{}, errFax
	}
	c.setRecording(false)
	by := string(r.why)
	if r.why == rtp.StoppedHere {
		by = "key"
	}
	c.w.src.Record(c.session, trace.Session{}, recordedEvent{r.Recording, by}, nil)
	return r, nil
}

func (c *call) setRecording(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recording = on
}
