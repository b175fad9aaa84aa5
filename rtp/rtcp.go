package rtp

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/pion/rtcp"
)

// reportInterval is the RTCP interval of a two-party call (RFC 3550 §6.2).
const reportInterval = 5 * time.Second

// ntp is a wall-clock time in NTP format (RFC 3550 §4).
func ntp(t time.Time) uint64 {
	const epoch = 2208988800 // 1970 in seconds since 1900
	return uint64(t.Unix()+epoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// sendReport sends SR or RR with SDES, and BYE at the end; s.mu is held.
func (s *Stream) sendReport(now time.Time, bye bool) {
	if !s.params.Remote.IsValid() || s.params.Remote.Port() == 0 {
		return
	}
	var blocks []rtcp.ReceptionReport
	if src := s.in.current; src != nil {
		blocks = append(blocks, src.report(now))
	}
	var packets []rtcp.Packet
	if s.out.Packets > 0 {
		packets = append(packets, &rtcp.SenderReport{
			SSRC: s.ssrc, NTPTime: ntp(now), RTPTime: s.timestamp(now),
			PacketCount: uint32(s.out.Packets), OctetCount: uint32(s.out.Octets), Reports: blocks,
		})
	} else {
		packets = append(packets, &rtcp.ReceiverReport{SSRC: s.ssrc, Reports: blocks})
	}
	packets = append(packets, rtcp.NewCNAMESourceDescription(s.ssrc, strconv.FormatUint(uint64(s.ssrc), 36)+"@"+s.addr.Addr().String()))
	if bye {
		packets = append(packets, &rtcp.Goodbye{Sources: []uint32{s.ssrc}})
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	if wire, err := s.seal(b, true); err == nil {
		to := netip.AddrPortFrom(s.params.Remote.Addr(), s.params.Remote.Port()+1)
		s.tap(now, to, true, true, wire, b)
		_ = s.rtcp.send(wire, to)
	}
}

// report is our block about a source (RFC 3550 §6.4.1).
func (s *source) report(now time.Time) rtcp.ReceptionReport {
	expected, received := s.expected(), s.received
	r := rtcp.ReceptionReport{SSRC: s.ssrc, TotalLost: uint32(s.lost()), LastSequenceNumber: s.highest - 1<<16, Jitter: uint32(s.jitter), LastSenderReport: s.lastSR}
	if e, got := expected-s.priorExpected, received-s.priorReceived; e > got {
		r.FractionLost = uint8((e - got) << 8 / e)
	}
	s.priorExpected, s.priorReceived = expected, received
	if !s.lastSRAt.IsZero() {
		r.Delay = uint32(now.Sub(s.lastSRAt).Seconds() * 65536)
	}
	return r
}

// receiveRTCP takes one compound packet, on the receiving loop.
func (s *Stream) receiveRTCP(b []byte, from netip.AddrPort, a arrival) {
	b, why := s.open(b, from, a, true)
	if b == nil {
		if why != "" {
			s.note(from, why)
		}
		return
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		s.note(from, "not RTCP")
		return
	}
	var event *reported
	s.mu.Lock()
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if src := s.in.sources[p.SSRC]; src != nil {
				src.lastSR, src.lastSRAt = uint32(p.NTPTime>>16), time.Now()
			}
			event = s.peerReport(p.Reports, event)
		case *rtcp.ReceiverReport:
			event = s.peerReport(p.Reports, event)
		}
	}
	s.mu.Unlock()
	if event != nil {
		s.src.Record(s.session, noCause, *event, nil)
	}
}

// peerReport reads what the peer says of our packets.
func (s *Stream) peerReport(blocks []rtcp.ReceptionReport, event *reported) *reported {
	for _, r := range blocks {
		if r.SSRC == s.ssrc {
			return &reported{lost: int64(r.TotalLost), jitter: time.Duration(r.Jitter) * time.Millisecond / perMs}
		}
	}
	return event
}
