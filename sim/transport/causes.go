package transport

import (
	"net/netip"
	"sync"

	"github.com/exsim/exsim/sim/trace"
)

// Causes remembers which call brought a submission's connection about, so that
// the receiving side's session can name it. The dialling side announces a
// connection before it opens it; the accepting side waits for the name.
type Causes struct {
	mu      sync.Mutex
	changed sync.Cond
	coming  map[netip.Addr]int // connections being dialled
	known   map[netip.AddrPort]trace.Session
}

// NewCauses is empty.
func NewCauses() *Causes {
	c := &Causes{coming: map[netip.Addr]int{}, known: map[netip.AddrPort]trace.Session{}}
	c.changed.L = &c.mu
	return c
}

func (c *Causes) announce(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming[from]++
}

// settle names the connection that was announced; an invalid one did not come
// about.
func (c *Causes) settle(from netip.Addr, conn netip.AddrPort, cause trace.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.coming[from]--; c.coming[from] == 0 {
		delete(c.coming, from)
	}
	if conn.IsValid() {
		c.known[conn] = cause
	}
	c.changed.Broadcast()
}

func (c *Causes) forget(conn netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, conn)
}

// Of is the session that brought a connection about, the zero Session if it
// came from outside.
func (c *Causes) Of(conn netip.AddrPort) trace.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		s, ok := c.known[conn]
		if ok || c.coming[conn.Addr()] == 0 {
			return s
		}
		c.changed.Wait()
	}
}
