package smtp

import (
	"errors"
	"time"
)

// Stages of a session beside its commands, which are stages by their verbs.
const (
	StageConnect = "connect" // the banner
	StageMessage = "message" // the end of a message, by DATA or BDAT
)

// Trouble is what goes wrong at a stage.
type Trouble struct {
	// Reply is answered, code and text, and nothing is done. Without it the
	// stage is served, and what follows befalls its answer.
	Reply string
	After time.Duration // it comes so much later
	// Ends closes the connection in place of the answer, of which Octets leave.
	Ends   bool
	Octets int
}

// errTrouble ends a session whose answer was lost on purpose.
var errTrouble = errors.New("the connection was ended on purpose")

// ask asks what goes wrong at a stage, nil if nothing does.
func (c *conn) ask(stage string) *Trouble {
	if c.s.conf.Trouble == nil {
		return nil
	}
	return c.s.conf.Trouble(stage)
}

// answers answers a stage with what goes wrong there, if that is a reply; else
// the next answer may suffer.
func (c *conn) answers(t *Trouble) bool {
	if t != nil && t.Reply != "" {
		c.say(code(t.Reply), t.Reply)
		return true
	}
	c.suffers = t
	return false
}

// suffer does to an answer, which is the end of what is to leave, what its
// stage suffers.
func (c *conn) suffer(begin int) {
	t := c.suffers
	c.suffers = nil
	switch {
	case t == nil:
	case t.Ends:
		c.out = c.out[:min(begin+t.Octets, len(c.out))]
		c.broken = errTrouble
	default:
		c.held = t.After
	}
}

// hold waits as long as an answer suffers, at most until the server is closed.
func (c *conn) hold() {
	if c.held == 0 {
		return
	}
	if c.slow && c.s.conf.Discredit {
		c.watch()
		return
	}
	held := c.held
	c.held, c.slow = 0, false
	c.pause(held)
}

func (c *conn) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.s.closing:
	}
}
