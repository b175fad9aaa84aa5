package um

import (
	"cmp"
	"slices"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sip"
)

// callAnswering answers in place of the party that the call was for.
func (c *call) callAnswering() (string, error) { return c.takeMessage(c.a.mailbox) }

// takeMessage greets in place of a mailbox's owner and takes a message:
//
//	greeting ──▶ tone ──▶ recording ──end key──▶ options ──▶ message
//	                          └─silence, length, hang-up──▶ message
//
// A caller who hangs up before the recording has missed the owner.
func (c *call) takeMessage(m *org.Mailbox) (string, error) {
	if m.OtherVersion != "" {
		return c.toOtherVersion(m, m.Extension)
	}
	if full, err := c.full(m); err != nil || full {
		if err != nil {
			return "", err
		}
		return "the mailbox is full", c.play(c.prompt("full"), c.prompt("goodbye"))
	}
	c.note("um.greeting", "mailbox", m.Address)
	greeting, why, err := c.greeting(m.Greeting, promptGreeting)
	if why != "" {
		return why, err
	}
	err = c.play(greeting)
	var r recorded
	if err == nil {
		r, err = c.record(m.Address)
	}
	if err != nil {
		if c.ended() == sip.EndBye && !c.w.conf.Org.PolicyOf(m).NoMissedCalls {
			c.note("um.missed_call", "mailbox", m.Address)
			c.submit(func() (Message, error) { return c.missedCall(m) })
		}
		return "", err
	}
	return c.send(m, r)
}

// greeting is the recording of a file, or a named one. Where it cannot be played
// the caller is told of a system error, and why is the end of the call.
func (c *call) greeting(file, name string) (said []byte, why string, err error) {
	if bad := c.w.conf.BadGreeting; bad == nil || !bad() {
		return c.w.conf.Prompts.or(file, name), "", nil
	}
	c.note("um.greeting_failed", "greeting", cmp.Or(file, name))
	return nil, "a greeting cannot be played", c.play(c.prompt("error"))
}

// full reports whether a mailbox takes no message any more.
func (c *call) full(m *org.Mailbox) (bool, error) {
	if m.Quota == 0 {
		return false, nil
	}
	size, err := c.w.conf.Mailboxes.Size(m.Address)
	if err == nil && size >= m.Quota {
		c.note("um.mailbox_full", "mailbox", m.Address)
	}
	return size >= m.Quota, err
}

// send hands a recording on: at once where the caller said nothing more, behind
// the end key by its choice, or when it hangs up.
func (c *call) send(m *org.Mailbox, r recorded) (string, error) {
	marks := marks{}
	why, err := string(r.why), error(nil)
	if r.why == rtp.StoppedHere {
		r, err = c.options(m, r, &marks)
		why = "the message is taken"
	}
	switch {
	case r.Voiced:
		c.submit(func() (Message, error) { return c.voiceMessage(m, r.Recording, marks) })
	case !c.w.conf.Org.PolicyOf(m).NoMissedCalls:
		c.submit(func() (Message, error) { return c.missedCall(m) })
	}
	if err == nil && r.why == rtp.StoppedHere {
		err = c.say(c.prompt("sent"), c.prompt("goodbye"))
	}
	return why, err
}

// marks are what the caller says about a message.
type marks struct{ urgent, private bool }

// options offers what can be done with a recording: sent, recorded anew, marked.
// Without a key in time it is sent as it is.
func (c *call) options(m *org.Mailbox, r recorded, marks *marks) (recorded, error) {
	keys := &c.w.conf.Profile.UM.Keys
	said := [][]byte{c.prompt("options")}
	for range maxHearings {
		c.note("um.menu", "menu", "options")
		key, err := c.choose(said...)
		if err != nil {
			return r, err
		}
		said = [][]byte{c.prompt("options")}
		switch string(key) {
		case keys.Accept, string(noKey):
			return r, nil
		case keys.Again:
			if err := c.play(c.prompt("again")); err != nil {
				return r, err
			}
			again, err := c.record(m.Address)
			if err != nil {
				return r, err
			}
			if !again.Voiced && again.why == rtp.StoppedHangup {
				return r, errOver // the first one counts
			}
			if r = again; r.why != rtp.StoppedHere {
				return r, nil
			}
		case keys.Urgent:
			marks.urgent = !marks.urgent
		case keys.Private:
			marks.private = !marks.private
		default:
			said = slices.Insert(said, 0, c.prompt("invalid"))
		}
	}
	return r, nil
}
