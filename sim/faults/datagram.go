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

// WriteTo sends a datagram, or what becomes of it.
func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	p.mu.Lock()
	if p.first.IsZero() {
		p.first = time.Now()
	}
	age := time.Since(p.first)
	held := p.held
	p.held = nil
	p.mu.Unlock()
	k := p.set.first(func(f *Fault) bool {
		return slices.Contains(ofDatagrams, f.Do) && (f.Do != Stop || age >= f.For)
	})
	err := p.send(k, b, to)
	if k != nil {
		p.note(k)
	}
	if held != nil {
		_, err = p.PacketConn.WriteTo(held.b, held.to)
	}
	return len(b), err
}

func (p *packets) send(k *strike, b []byte, to net.Addr) (err error) {
	kind := Kind("")
	if k != nil {
		kind = k.Do
	}
	switch kind {
	case Lose, Burst, Stop:
		return nil
	case Jitter:
		late := slices.Clone(b)
		time.AfterFunc(p.set.upTo(k.For), func() { _, _ = p.PacketConn.WriteTo(late, to) })
		return nil
	case Reorder:
		p.mu.Lock()
		p.held = &datagram{slices.Clone(b), to}
		p.mu.Unlock()
		return nil
	case Repeat:
		_, _ = p.PacketConn.WriteTo(b, to)
	}
	_, err = p.PacketConn.WriteTo(b, to)
	return err
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
