package ends

import (
	"context"
	"errors"
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
	if isMedia(f) {
		mark(pc, f.Target.Is6())
	}
	w := &window{e: e, f: f, nonce: newNonce(), start: time.Now(), size: windowSmall, total: ports.Len(), done: map[uint16]outcome{}, tick: make(chan struct{}, 1)}
	if forceBuffer(pc, 4<<20) {
		w.size = windowSize
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.read(pc) })
	left := ports
	for range e.conf.Limits.Tries {
		for p := range left.All() {
			if e.pace.wait(ctx, slower) != nil || w.room(ctx, e.conf.Limits) != nil {
				break
			}
			w.sent(p)
			_, _ = pc.WriteToUDPAddrPort(packet(f, p, w.nonce, e.mint.line(wordProbe, f, p, w.nonce, e.contact)), e.bound(f.Target, p))
		}
		if left = w.wait(ctx, left, w.patience(e.conf.Limits)); left.Len() == 0 || ctx.Err() != nil {
			break
		}
	}
	_ = pc.Close()
	wg.Wait()
	from, _ := netip.ParseAddrPort(pc.LocalAddr().String())
	for p := range ports.Minus(left).All() {
		c.put(p, attempt{outcome: w.done[p], from: from})
		from = netip.AddrPort{}
	}
	c.tries, c.patience = 1, w.patience(e.conf.Limits)
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

// window counts what is under way, so that neither this machine's buffers nor
// the far one's overflow.
type window struct {
	e     *End
	f     *paths.Flow
	nonce string
	tick  chan struct{}

	mu      sync.Mutex
	size    int // of the window
	total   int // ports in all
	done    map[uint16]outcome
	waiting int
	begun   [65536]time.Duration // when a port was sent to, since start
	start   time.Time
	// How long an answer takes, smoothed, and its variation (RFC 6298 §2).
	smoothed, variation time.Duration
}

// How many datagrams may be unanswered at once: what the buffers hold where they
// can be enlarged, and where not.
const (
	windowSize  = 512
	windowSmall = 96
)

func (w *window) sent(port uint16) {
	w.mu.Lock()
	w.waiting++
	w.begun[port] = time.Since(w.start)
	w.mu.Unlock()
}

// enough answers are known to tell how long one takes.
const enough = 16

// took learns how long an answer took; the lock is held.
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
func (w *window) patience(l Limits) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	long := l.Timeout / time.Duration(l.Tries)
	if len(w.done) < enough {
		return long
	}
	return min(long, w.smoothed+4*w.variation+100*time.Millisecond)
}

// room waits until there is room for one more; what is unanswered for long is
// given up.
func (w *window) room(ctx context.Context, l Limits) error {
	for {
		w.mu.Lock()
		full := w.waiting >= min(w.size, l.Open)
		w.mu.Unlock()
		if !full {
			return ctx.Err()
		}
		t := time.NewTimer(w.patience(l) / 4)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-w.tick:
			t.Stop()
		case <-t.C:
			w.mu.Lock()
			w.waiting = 0
			w.mu.Unlock()
		}
	}
}

// wait returns what is still unanswered, at the latest so long after the last
// was sent.
func (w *window) wait(ctx context.Context, ports paths.PortSet, long time.Duration) paths.PortSet {
	t := time.NewTimer(long)
	defer t.Stop()
	for {
		w.mu.Lock()
		all := len(w.done) == w.total
		w.waiting = 0
		w.mu.Unlock()
		if all {
			return paths.PortSet{}
		}
		select {
		case <-ctx.Done():
			return w.left(ports)
		case <-t.C:
			return w.left(ports)
		case <-w.tick:
		}
	}
}

func (w *window) left(ports paths.PortSet) paths.PortSet {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left paths.PortSet
	for p := range ports.All() {
		if _, ok := w.done[p]; !ok {
			left.Add(p)
		}
	}
	return left
}

func (w *window) read(pc *net.UDPConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		port := from.Port() - w.e.conf.Offset
		o := w.e.heard(w.f, port, w.nonce, b[:n])
		w.mu.Lock()
		if _, ok := w.done[port]; !ok {
			w.done[port] = o
			w.took(time.Since(w.start) - w.begun[port])
			w.waiting = max(w.waiting-1, 0)
		}
		w.mu.Unlock()
		select {
		case w.tick <- struct{}{}:
		default:
		}
	}
}
