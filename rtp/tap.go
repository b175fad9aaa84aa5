package rtp

import (
	"bytes"
	"net/netip"
	"time"
)

// Tap is told of every datagram, as a capture wants. Its methods are called from
// the loops and must not block.
type Tap interface {
	Opened(local netip.AddrPort)
	Closed(local netip.AddrPort)
	Datagram(d *Datagram)
}

// Datagram is one that was sent or received. Its octets are the loop's.
type Datagram struct {
	At            time.Time
	Local, Remote netip.AddrPort
	Sent          bool
	Wire          []byte // as it was on the wire
	Plain         []byte // what was in it, where it was SRTP or SRTCP and could be opened; else nil
	Control       bool   // RTCP
	Starred       bool   // it tells a digit of a secret
}

// tap tells the tap of a datagram. Plain is the same as wire where nothing is
// sealed; s.mu is held, or the datagram is not the stream's yet.
func (s *Stream) tap(at time.Time, remote netip.AddrPort, sent, control bool, wire, plain []byte) {
	t := s.engine.conf.Tap
	if t == nil {
		return
	}
	local := s.addr
	if control {
		local = netip.AddrPortFrom(local.Addr(), local.Port()+1)
	}
	d := Datagram{At: at, Local: local, Remote: remote, Sent: sent, Control: control, Wire: wire, Starred: s.secret(plain, control)}
	if !bytes.Equal(wire, plain) {
		d.Plain = plain
	}
	t.Datagram(&d)
}

// secret reports whether a packet is a telephone event while digits are not to
// be told.
func (s *Stream) secret(plain []byte, control bool) bool {
	if control || len(plain) < 2 || s.params.EventsPT == 0 {
		return false
	}
	pt := plain[1] & 0x7f
	return (pt == s.params.EventsPT || pt == s.params.ReceiveEventsPT) && s.discreet()
}

// tapPorts tells the tap which ports are ours from now on, or no more.
func (s *Stream) tapPorts(tell func(t Tap, local netip.AddrPort)) {
	if t := s.engine.conf.Tap; t != nil {
		tell(t, s.addr)
		tell(t, netip.AddrPortFrom(s.addr.Addr(), s.addr.Port()+1))
	}
}
