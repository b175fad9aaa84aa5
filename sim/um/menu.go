package um

import (
	"cmp"
	"strings"
	"time"
)

// A menu is said, waits for a key, and is said again where none comes or one
// that means nothing, until the tries are used up.

// noKey is what a menu hears where no key is pressed in time.
const noKey byte = 0

// say plays recordings until a key is pressed; the key stays to be heeded.
func (c *call) say(recordings ...[]byte) error {
	for _, octets := range recordings {
		if len(c.held) > 0 {
			return c.alive()
		}
		done := make(chan struct{})
		c.stream.Play(promptCodec, octets, func() { close(done) })
		select {
		case <-done:
		case d := <-c.keys:
			c.stream.StopPlaying()
			c.pushBack(d)
			return c.alive()
		case <-c.fax:
		case <-c.over:
		}
		if err := c.alive(); err != nil {
			return err
		}
	}
	return nil
}

// pushBack puts a key in front of those that wait.
func (c *call) pushBack(d byte) { c.held = append(c.held, d) }

// collect says recordings and takes digits until there are so many, the end
// key, or no further one in time. The end key itself is not among them; a * that
// is pressed first comes back alone.
func (c *call) collect(most int, recordings ...[]byte) (string, error) {
	if err := c.say(recordings...); err != nil {
		return "", err
	}
	var b strings.Builder
	for b.Len() < most {
		wait := c.inputTimeout()
		if b.Len() > 0 {
			wait = c.w.conf.Profile.UM.DigitTimeout
		}
		d, err := c.key(wait)
		switch {
		case err != nil:
			return "", err
		case d == noKey:
			return b.String(), nil
		case string(d) == c.w.conf.Profile.UM.EndKey:
			return b.String(), nil
		case d == '*' && b.Len() == 0:
			return "*", nil
		}
		b.WriteByte(d)
	}
	return b.String(), c.endKey()
}

// endKey takes the end key away that many press behind digits that were enough.
func (c *call) endKey() error {
	d, err := c.key(endKeyWait)
	if err == nil && d != noKey && string(d) != c.w.conf.Profile.UM.EndKey {
		c.held = append([]byte{d}, c.held...)
	}
	return err
}

// endKeyWait is how long the end key may come behind the last digit: a digit and
// its pause take a quarter of a second.
const endKeyWait = 600 * time.Millisecond

// choose says recordings and waits for one key.
func (c *call) choose(recordings ...[]byte) (byte, error) {
	if err := c.say(recordings...); err != nil {
		return 0, err
	}
	return c.key(c.inputTimeout())
}

func (c *call) inputTimeout() time.Duration { return c.w.conf.Profile.UM.InputTimeout }

// tries is how often a menu of the call's dial plan is said.
func (c *call) tries() int { return cmp.Or(c.a.plan.InputFailures, c.w.conf.Profile.UM.InputFailures) }

// prompt is a recording by its name.
func (c *call) prompt(name string) []byte { return c.w.conf.Prompts.named(name) }

// number is a number said digit by digit.
func (c *call) number(n string) [][]byte {
	var list [][]byte
	for _, d := range n {
		list = append(list, c.prompt("number-"+string(d)))
	}
	return list
}
