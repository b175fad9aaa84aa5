package ends

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths"
)

// sharedFrom is the number of ports from which one socket sends to all: what
// ICMP says is asked of the lost ports alone.
const sharedFrom = 256

// shared probes many UDP ports from one socket, the unanswered ones again.
func (e *End) shared(ctx context.Context, f *paths.Flow, ports paths.PortSet, slower time.Duration, c *collector) {
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Source, 0)))
	if err != nil {
		for p := range ports.All() {
			c.put(p, attempt{outcome: failed, why: reason(err)})
		}
		return
	}
	from, _ := netip.ParseAddrPort(pc.LocalAddr().String())
	if isMedia(f) {
		mark(pc, f.Target.Is6())
	}
	w := &window{e: e, f: f, nonce: newNonce(), start: time.Now(), slower: slower, total: ports.Len(), size: min(receiveBuffer(pc, wantBuffer)/datagramCost, windowMost)}
	if w.socket, err = quiet(pc); err != nil {
		for p := range ports.All() {
			c.put(p, attempt{outcome: failed, why: reason(err)})
		}
		return
	}
	defer func() { _ = w.socket.Close() }()
	left := ports
	for range e.conf.Limits.Tries {
		w.send(ctx, left)
		if left = w.wait(ctx, left); left.Len() == 0 || ctx.Err() != nil {
			break
		}
	}
	for p := range ports.Minus(left).All() {
		c.put(p, attempt{outcome: w.done[p].outcome, from: from})
		from = netip.AddrPort{}
	}
	c.tries, c.patience = 1, w.patience()
	e.reasons(ctx, f, left, c)
}

// mostReasons bounds the lost ports that are asked for what ICMP says.
const mostReasons = 256

// reasons asks lost ports once more, each from a socket of its own: one that is
// refused is told from one that is dropped.
func (e *End) reasons(ctx context.Context, f *paths.Flow, left paths.PortSet, c *collector) {
	var wg sync.WaitGroup
	n := 0
	for p := range left.All() {
		if n++; n > mostReasons || e.pace.begin(ctx, 0) != nil {
			break
		}
		wg.Go(func() {
			defer e.pace.end()
			c.put(p, e.datagram(ctx, f, p, c.tries, c.patience))
		})
	}
	wg.Wait()
}

// window is one socket's probes: so many are under way at once that neither this
// machine's buffers nor the far one's overflow. What arrives is looked for now
// and then: to be woken for each answer costs more than all else.
type window struct {
	e      *End
	f      *paths.Flow
	socket *quietSocket
	nonce  string
	slower time.Duration
	size   int
	total  int // ports
	start  time.Time

	done     [65536]state
	answered int
	waiting  int
	// How long an answer takes, smoothed, and its variation (RFC 6298 §2).
	smoothed, variation time.Duration
}

// state is that of a port.
type state struct {
	heard   bool
	outcome outcome
	begun   time.Duration // since the window's start
	codes   codes
}

const (
	wantBuffer   = 8 << 20
	datagramCost = 2560 // of a buffer as the kernel counts it, with room to spare
	windowMost   = 1024
	lookEvery    = 32 // datagrams sent
	nap          = 100 * time.Microsecond
	enough       = 16 // answers that tell how long one takes
)

// send sends to each port once, as far as there is room.
func (w *window) send(ctx context.Context, ports paths.PortSet) {
	slow := w.slower > 0 || w.e.pace.every > 0
	n := 0
	for p := range ports.All() {
		if w.room(ctx) != nil || w.e.pace.wait(ctx, w.slower) != nil {
			return
		}
		s := &w.done[p]
		s.begun, s.codes = time.Since(w.start)+1, w.e.mint.codes(w.f, p, w.nonce)
		w.waiting++
		w.socket.send(s.codes.appendPacket(w.socket.room(), wordProbe, w.f, p, w.nonce, w.e.contact), w.e.bound(w.f.Target, p))
		if n++; slow || n%lookEvery == 0 {
			w.look()
		}
	}
}

// room waits until there is room for one more; what is unanswered for long is
// given up.
func (w *window) room(ctx context.Context) error {
	full := min(w.size, w.e.conf.Limits.Open)
	for since := time.Now(); w.waiting >= full && ctx.Err() == nil; {
		switch {
		case w.look() > 0:
			since = time.Now()
		case time.Since(since) > w.patience()/4:
			w.waiting = 0
		default:
			pause(nap)
		}
	}
	return ctx.Err()
}

// wait takes answers until all are there, or for as long as one may take, and
// returns the ports without.
func (w *window) wait(ctx context.Context, ports paths.PortSet) (left paths.PortSet) {
	for until := time.Now().Add(w.patience()); w.answered < w.total && time.Now().Before(until) && ctx.Err() == nil; {
		if w.look() == 0 {
			pause(nap)
		}
	}
	w.waiting = 0
	for p := range ports.All() {
		if !w.done[p].heard {
			left.Add(p)
		}
	}
	return left
}

// look takes what has arrived, without waiting.
func (w *window) look() int {
	w.socket.flush()
	return w.socket.drain(func(b []byte, from netip.AddrPort) {
		port := from.Port() - w.e.conf.Offset
		s := &w.done[port]
		if s.heard || s.begun == 0 || from.Addr() != w.f.Target {
			return // nobody was asked there
		}
		s.heard, s.outcome = true, heard(w.f, port, w.nonce, s.codes, b)
		w.answered++
		w.waiting = max(w.waiting-1, 0)
		w.took(time.Since(w.start) - s.begun)
	})
}

// took learns how long an answer took.
func (w *window) took(d time.Duration) {
	if w.smoothed == 0 {
		w.smoothed, w.variation = d, d/2
		return
	}
	w.variation += ((w.smoothed - d).Abs() - w.variation) / 4
	w.smoothed += (d - w.smoothed) / 8
}

// patience is how long an answer is waited for: as RFC 6298 §2.3 has it, with a
// floor, or as the limits say while too few are known.
func (w *window) patience() time.Duration {
	long := w.e.conf.Limits.Timeout / time.Duration(w.e.conf.Limits.Tries)
	if w.answered < enough {
		return long
	}
	return min(long, w.smoothed+4*w.variation+100*time.Millisecond)
}
