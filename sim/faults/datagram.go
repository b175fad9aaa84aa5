package faults

import (
	"net"
	"slices"
	"sync"
	"time"
)

// packets is a UDP socket whose datagrams the faults befall.
type packets struct {
	net.PacketConn
	set *Set

	mu    sync.Mutex
	first time.Time
	held  *datagram
	noted map[Kind]bool
}

type datagram struct {
	b  []byte
	to net.Addr
}

// Packets puts a set's faults on a UDP socket.
func (s *Set) Packets(pc net.PacketConn) net.PacketConn {
	return &packets{PacketConn: pc, set: s, noted: map[Kind]bool{}}
}

var ofDatagrams = []Kind{Lose, Burst, Jitter, Reorder, Repeat, Stop}

// WriteTo sends a datagram, or what becomes of it: one that is lost is lost
// whatever else befalls it.
func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	age, held := p.begin()
	var lost, back bool
	var late time.Duration
	times := 1
	for _, k := range p.set.strikes(func(f *Fault) bool {
		return slices.Contains(ofDatagrams, f.Do) && (f.Do != Stop || age >= f.For) && (f.Do != Reorder || held == nil)
	}) {
		p.note(&k)
		switch k.Do {
		case Lose, Burst, Stop:
			lost = true
		case Repeat:
			times++
		case Jitter:
			late += p.set.upTo(k.For)
		case Reorder:
			back = true
		}
	}
	var err error
	switch {
	case lost:
	case back:
		p.hold(b, to)
	default:
		err = p.send(b, to, times, late)
	}
	if held != nil {
		_, err = p.PacketConn.WriteTo(held.b, held.to)
	}
	return len(b), err
}

// begin is how long ago the first datagram left, and the one that waits for
// another to go before it.
func (p *packets) begin() (age time.Duration, held *datagram) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first.IsZero() {
		p.first = time.Now()
	}
	held, p.held = p.held, nil
	return time.Since(p.first), held
}

func (p *packets) hold(b []byte, to net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = &datagram{slices.Clone(b), to}
}

// send sends a datagram so many times, now or later.
func (p *packets) send(b []byte, to net.Addr, times int, late time.Duration) (err error) {
	if late > 0 {
		kept := slices.Clone(b)
		time.AfterFunc(late, func() { _ = p.send(kept, to, times, 0) })
		return nil
	}
	for range times {
		_, err = p.PacketConn.WriteTo(b, to)
	}
	return err
}

// Close sends the datagram that waits for one behind it.
func (p *packets) Close() error {
	if _, held := p.begin(); held != nil {
		_, _ = p.PacketConn.WriteTo(held.b, held.to)
	}
	return p.PacketConn.Close()
}

// upTo is a time by chance.
func (s *Set) upTo(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(s.rand() % uint64(limit))
}

// note records a fault of datagrams once.
func (p *packets) note(k *strike) {
	p.mu.Lock()
	seen := p.noted[k.Do]
	p.noted[k.Do] = true
	p.mu.Unlock()
	if !seen {
		p.set.note(k, nil)
	}
}

// ReadFrom hears a datagram, unless the party is deaf to it.
func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		k := p.set.first(func(f *Fault) bool { return f.Do == Deaf })
		if k == nil {
			return n, from, nil
		}
		p.note(k)
	}
}
