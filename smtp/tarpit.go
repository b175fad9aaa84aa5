package smtp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// delay holds back the answers to a peer that has not logged on: those that
// were written since the last command was read leave together, so much later.
func (c *conn) delay(interval time.Duration, why Reply) {
	if interval <= 0 || c.authenticated || c.held >= interval {
		return
	}
	c.held, c.slow = interval, true
	c.s.conf.Trace.Record(c.session, trace.Session{}, tarpitted{interval, string(why)}, nil)
}

// delayed asks the back end whether the answer to what it took comes later.
func (c *conn) delayed() {
	d, ok := c.back.(Delayed)
	if !ok {
		return
	}
	if interval, why := d.Delay(); interval > 0 {
		c.held = max(c.held, interval)
		c.s.conf.Trace.Record(c.session, trace.Session{}, tarpitted{interval, why}, nil)
	}
}

// discredited are addresses that went away while they were delayed.
type discredited struct {
	mu    sync.Mutex
	until map[netip.Addr]time.Time
}

const (
	discreditTime = time.Hour
	maxDiscredits = 10000
)

func (d *discredited) add(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if len(d.until) >= maxDiscredits {
		for k, at := range d.until {
			if at.Before(now) {
				delete(d.until, k)
			}
		}
	}
	if d.until == nil {
		d.until = map[netip.Addr]time.Time{}
	}
	if len(d.until) < maxDiscredits {
		d.until[a] = now.Add(discreditTime)
	}
}

func (d *discredited) has(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until[a].After(time.Now())
}

// watch holds the answers back and looks meanwhile whether the peer stays.
func (c *conn) watch() {
	ends := time.Now().Add(c.held)
	c.held, c.slow = 0, false
	for len(c.in) < bufferSize && time.Now().Before(ends) {
		n := copy(c.buf, c.in)
		if n == len(c.buf) {
			c.grow(2 * len(c.buf))
		}
		_ = c.nc.SetReadDeadline(ends)
		m, err := c.nc.Read(c.buf[n:])
		c.in = c.buf[:n+m]
		var timeout net.Error
		if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
			c.s.discredited.add(c.remote.Addr())
			return
		}
	}
	c.pause(time.Until(ends))
}
