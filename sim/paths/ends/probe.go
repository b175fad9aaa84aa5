package ends

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// outcome is what became of one port, as the sender saw it.
type outcome int

const (
	lost outcome = iota // nothing came back
	answered
	served
	refused
	barred
	reset
	cut
	silent
	mangled
	failed // by this machine
)

// attempt is one probe of one port.
type attempt struct {
	outcome outcome
	why     string // of failed
	from    netip.AddrPort
	stream  *record.Stream
}

// Probe sends to some ports of a flow and records what became of it. held are
// those on which another program of the far machine listens: they are asked
// gently.
func (e *End) probe(ctx context.Context, f *paths.Flow, ports, held paths.PortSet) error {
	begin := time.Now()
	if f.Transport == "udp" {
		if ports = ports.Minus(held); ports.Len() == 0 { // nothing that they could answer would prove anything
			return nil
		}
	}
	s := &record.Sent{Flow: f.ID, At: begin, Tried: ports}
	if isMedia(f) && e.conf.ListenPacket == nil {
		s.DSCP = marking
	}
	c := &collector{sent: s, tries: e.conf.Limits.Tries, patience: e.conf.Limits.Timeout / time.Duration(e.conf.Limits.Tries)}
	e.pass(ctx, f, ports, held, 0, c)
	if again := c.lost().Minus(held); f.Expect == paths.Open && again.Len() > 0 && ctx.Err() == nil {
		e.again(ctx, f, again, c)
	}
	if ctx.Err() != nil {
		return ctx.Err() // a part of a flow says nothing: it is tried again whole
	}
	s.Took = time.Since(begin)
	e.add(record.Line{Sent: s})
	return nil
}

// pass probes ports once, at the common pace or a slower one.
func (e *End) pass(ctx context.Context, f *paths.Flow, ports, held paths.PortSet, slower time.Duration, c *collector) {
	if len(f.Calls) > 0 {
		e.inCalls(ctx, f, ports, slower, c)
		return
	}
	if f.Transport == "udp" && ports.Len() >= sharedFrom && e.conf.ListenPacket == nil {
		e.shared(ctx, f, ports, slower, c)
		return
	}
	var wg sync.WaitGroup
	for p := range ports.All() {
		if e.pace.begin(ctx, slower) != nil {
			break
		}
		wg.Go(func() {
			defer e.pace.end()
			var a attempt
			if f.Transport == "udp" {
				a = e.datagram(ctx, f, p, c.tries, c.patience)
			} else {
				a = e.connect(ctx, f, p, held.Has(p))
			}
			c.put(p, a)
		})
	}
	wg.Wait()
}

// A second pass asks a few of the lost again, slowly: a filter that limits new
// flows lets them pass then.
const (
	againMost = 16
	againPace = 20 // a second
)

func (e *End) again(ctx context.Context, f *paths.Flow, again paths.PortSet, c *collector) {
	if c.sent.Answered.Len() == 0 {
		return // a limit lets some pass
	}
	var some paths.PortSet
	step := max(again.Len()/againMost, 1)
	n := 0
	for p := range again.All() {
		if n%step == 0 && some.Len() < againMost {
			some.Add(p)
		}
		n++
	}
	e.pass(ctx, f, some, paths.PortSet{}, time.Second/againPace, c)
	c.sent.Slowly = some.And(c.sent.Answered)
}

// collector gathers attempts into a record.
type collector struct {
	mu   sync.Mutex
	sent *record.Sent
	// How datagrams are asked: as the limits say, until it is known how long an
	// answer takes.
	tries    int
	patience time.Duration
}

func (c *collector) put(port uint16, a attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sent
	switch set := setOf(s, a.outcome); {
	case set != nil:
		set.Add(port)
	case a.outcome == failed:
		if s.Failed == nil {
			s.Failed = map[string]paths.PortSet{}
		}
		set := s.Failed[a.why]
		set.Add(port)
		s.Failed[a.why] = set
	}
	if a.from.IsValid() && len(s.From) < maxSources {
		s.From = append(s.From, a.from)
	}
	if a.stream != nil {
		s.Stream = a.stream
	}
}

// setOf is where a record has the ports of an outcome, nil for those that it tells
// otherwise.
func setOf(s *record.Sent, o outcome) *paths.PortSet {
	return [...]*paths.PortSet{
		answered: &s.Answered, served: &s.Served, refused: &s.Refused, barred: &s.Barred, reset: &s.Reset, cut: &s.Cut, silent: &s.Silent, mangled: &s.Mangled, failed: nil,
	}[o]
}

// lost are the ports that nothing came back from.
func (c *collector) lost() paths.PortSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.Lost()
}

// connect probes a TCP port.
func (e *End) connect(ctx context.Context, f *paths.Flow, port uint16, held bool) attempt {
	dial, cancel := context.WithTimeout(ctx, e.conf.Limits.Timeout)
	defer cancel()
	nc, err := e.dial(dial, f, e.bound(f.Target, port))
	if err != nil {
		return dialFailure(err).unlessRouted(f)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2*e.conf.Limits.Timeout + time.Second))
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	a := e.speak(newTap(nc, nil), f, port, held)
	a.from, _ = netip.ParseAddrPort(nc.LocalAddr().String())
	return a
}

func (e *End) dial(ctx context.Context, f *paths.Flow, to netip.AddrPort) (net.Conn, error) {
	if e.conf.Dial != nil {
		return e.conf.Dial(ctx, f, to)
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.Source, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// dialUDP makes a socket that hears one peer alone.
func (e *End) dialUDP(f *paths.Flow, to netip.AddrPort) (net.Conn, error) {
	if e.conf.ListenPacket == nil {
		nc, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Source, 0)), net.UDPAddrFromAddrPort(to))
		if err == nil && isMedia(f) {
			mark(nc, f.Target.Is6())
		}
		return nc, err
	}
	pc, err := e.conf.ListenPacket(netip.AddrPortFrom(f.Source, 0))
	if err != nil {
		return nil, err
	}
	return &ofOne{pc, net.UDPAddrFromAddrPort(to)}, nil
}

// ofOne is a packet socket that talks to one peer.
type ofOne struct {
	net.PacketConn
	peer *net.UDPAddr
}

func (o *ofOne) RemoteAddr() net.Addr        { return o.peer }
func (o *ofOne) Write(b []byte) (int, error) { return o.WriteTo(b, o.peer) }
func (o *ofOne) Read(b []byte) (n int, err error) {
	for {
		n, from, err := o.ReadFrom(b)
		if err != nil || from.String() == o.peer.String() {
			return n, err
		}
	}
}

// unlessRouted tells what the network says from what this machine does: without
// a route nothing was sent.
func (a attempt) unlessRouted(f *paths.Flow) attempt {
	if a.outcome != barred {
		return a
	}
	nc, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Source, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Target, 9)))
	if err == nil { // that only looks up the route
		_ = nc.Close()
		return a
	}
	return attempt{outcome: failed, why: "no route to " + f.Target.String()}
}

// unsent is why this machine would not send.
func unsent(err error) string {
	if errors.Is(err, syscall.EPERM) {
		return "a filter of this very machine forbids it"
	}
	return reason(err)
}

// dialFailure says what kept a connection from being made.
func dialFailure(err error) attempt {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return attempt{outcome: refused}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOPROTOOPT):
		return attempt{outcome: barred, why: reason(err)}
	case errors.Is(err, syscall.ECONNRESET):
		return attempt{outcome: reset}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.ETIMEDOUT):
		return attempt{outcome: lost}
	}
	return attempt{outcome: failed, why: unsent(err)}
}

// readFailure says how a connection ended that had been made.
func readFailure(err error) outcome {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.As(err, &timeout) && timeout.Timeout():
		return silent
	}
	return cut
}

// datagram probes a UDP port with a socket of its own, which learns of ICMP
// errors.
func (e *End) datagram(ctx context.Context, f *paths.Flow, port uint16, tries int, patience time.Duration) attempt {
	nc, err := e.dialUDP(f, e.bound(f.Target, port))
	if err != nil {
		return dialFailure(err).unlessRouted(f)
	}
	defer func() { _ = nc.Close() }()
	return e.exchange(ctx, nc, f, port, tries, patience)
}

// exchange sends a port's token, and again while it is not answered.
func (e *End) exchange(ctx context.Context, nc net.Conn, f *paths.Flow, port uint16, tries int, patience time.Duration) attempt {
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	a := attempt{}
	a.from, _ = netip.ParseAddrPort(nc.LocalAddr().String())
	b := make([]byte, 1500)
	for range tries {
		nonce := newNonce()
		if _, err := nc.Write(e.mint.packet(wordProbe, f, port, nonce, e.contact)); err != nil {
			a.outcome = datagramFailure(err)
			if a.outcome == failed {
				a.why = unsent(err)
			}
			return a
		}
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		n, err := nc.Read(b)
		if err == nil {
			a.outcome = heard(f, port, nonce, e.mint.codes(f, port, nonce), b[:n])
			return a
		}
		if o := datagramFailure(err); o != lost {
			a.outcome = o
			return a
		}
	}
	return a
}

// answer judges what came back: only the answer to this very probe counts.
func (e *End) answer(f *paths.Flow, port uint16, nonce string, b []byte) outcome {
	if got, ok := e.mint.find(wordReply, f, port, b); !ok || got != nonce || !isLine(b, wordReply) {
		return mangled
	}
	return answered
}

// heard judges a datagram that came back.
func heard(f *paths.Flow, port uint16, nonce string, c codes, b []byte) outcome {
	if p, ok := parse(f, port, wordReply, b); !ok || p.nonce != nonce || !c.is(wordReply, p.code) {
		return mangled
	}
	return answered
}

func datagramFailure(err error) outcome {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOPROTOOPT):
		return barred
	case errors.As(err, &timeout) && timeout.Timeout():
		return lost
	}
	return failed
}
