package um

import (
	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sip"
)

// callAnswering greets in place of the mailbox's owner and takes a message:
//
//	greeting ──▶ tone ──▶ recording ──end key──▶ options ──▶ message
//	                          └─silence, length, hang-up──▶ message
//
// A caller who hangs up before the recording has missed the owner.
func (c *call) callAnswering() (string, error) {
	m := c.a.mailbox
	c.note("um.greeting", "mailbox", m.Address)
	err := c.play(c.w.conf.Prompts.named(promptGreeting))
	var r recorded
	if err == nil {
		r, err = c.record(m.Address)
	}
	if err != nil {
		if c.ended() == sip.EndBye {
			c.note("um.missed_call", "mailbox", m.Address)
			c.submit(c.missedCall)
		}
		return "", err
	}
	c.submit(func() (Message, error) {
		if !r.Voiced {
			return c.missedCall()
		}
		return c.voiceMessage(r.Recording)
	})
	if r.why != rtp.StoppedHere {
		return string(r.why), nil
	}
	// The caller may hang up by itself.
	_, err = c.key(limit(c.w.conf.Org.Limits.RecordingIdleTimeout, c.w.conf.Profile.UM.RecordingIdle))
	return "the message is taken", err
}

// pilotGreeting is for a caller that is nobody's, and named no mailbox.
func (c *call) pilotGreeting() (string, error) {
	c.note("um.pilot_greeting", "why", "the INVITE has no Diversion: no mailbox is named")
	return "pilot greeting over", c.play(c.w.conf.Prompts.named(promptPilot))
}
