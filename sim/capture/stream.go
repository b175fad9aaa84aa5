package capture

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// packet is one that goes to the file.
type packet struct {
	at     time.Time
	number int // in order of time
	face   int // interface
	octets []byte
	notes  []string

	out         bool // sent by our end
	peer, local netip.AddrPort
	payload     bool // has some
}

// maxSegment is how much of a read or write one TCP segment holds: a message
// stays in one packet for those who read.
const maxSegment = 32 << 10

// stream is a connection of which packets are made: what the system did with
// segments is not known, so that they are whole, in order and not lost.
type stream struct {
	local, remote netip.AddrPort
	dialled       bool
	next          [2]uint32 // sequence numbers, ours and the peer's
	ended         [2]bool
	star          starring
	proto         protocol
}

const (
	ours  = 0
	peers = 1
)

func side(out bool) int {
	if out {
		return ours
	}
	return peers
}

// segment makes a TCP packet and moves the sequence number on.
func (s *stream) segment(at time.Time, out bool, flags string, payload []byte) *packet {
	from, to, me, other := s.local, s.remote, side(out), 1-side(out)
	if !out {
		from, to = to, from
	}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: s.next[me], Window: 65535}
	s.next[me] += uint32(len(payload))
	for _, f := range flags {
		switch f {
		case 'S':
			tcp.SYN = true
			s.next[me]++
		case 'A':
			tcp.ACK, tcp.Ack = true, s.next[other]
		case 'P':
			tcp.PSH = true
		case 'F':
			tcp.FIN = true
			s.next[me]++
		case 'R':
			tcp.RST = true
		}
	}
	return &packet{
		at: at, face: faceWire, octets: ip(from, to, layers.IPProtocolTCP, tcp, payload), out: out, peer: s.remote, local: s.local, payload: len(payload) > 0,
	}
}

// open makes the handshake.
func (s *stream) open(r *record) []*packet {
	s.local, s.remote, s.dialled = r.local, r.remote, r.out()
	s.next = [2]uint32{r.conn << 8, r.conn<<8 + 1<<31}
	return []*packet{s.segment(r.at, s.dialled, "S", nil), s.segment(r.at, !s.dialled, "SA", nil), s.segment(r.at, s.dialled, "A", nil)}
}

// data makes what was read or written.
func (s *stream) data(r *record) []*packet {
	b := r.data
	s.proto.see(r.out() == s.dialled, b)
	if !s.proto.secured {
		b = s.star.pass(r.out() == s.dialled, bytes.Clone(b))
	}
	var list []*packet
	for len(b) > 0 && !s.ended[side(r.out())] {
		n := min(len(b), maxSegment)
		list = append(list, s.segment(r.at, r.out(), "PA", b[:n]))
		b = b[n:]
	}
	return list
}

// end makes the end of one direction, or of both.
func (s *stream) end(r *record) []*packet {
	me := side(r.out())
	if s.ended[me] {
		return nil
	}
	s.ended[me] = true
	if r.kind == broken {
		s.ended[1-me] = true
		return []*packet{s.segment(r.at, r.out(), "RA", nil)}
	}
	list := []*packet{s.segment(r.at, r.out(), "FA", nil)}
	if s.ended[1-me] {
		list = append(list, s.segment(r.at, !r.out(), "A", nil))
	}
	return list
}

// transport is a layer above IP.
type transport interface {
	gopacket.SerializableLayer
	SetNetworkLayerForChecksum(l gopacket.NetworkLayer) error
}

// ip makes a packet with right lengths and checksums.
func ip(from, to netip.AddrPort, proto layers.IPProtocol, above transport, payload []byte) []byte {
	var network interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	if from.Addr().Is4() && to.Addr().Is4() {
		network = &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	} else {
		a, b := from.Addr().As16(), to.Addr().As16()
		network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: a[:], DstIP: b[:]}
	}
	_ = above.SetNetworkLayerForChecksum(network) // of IP it always can
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, network, above, gopacket.Payload(payload)); err != nil {
		return nil
	}
	return buf.Bytes()
}
