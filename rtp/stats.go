package rtp

import (
	"net/netip"
	"time"

	pion "github.com/pion/rtp"
)

// Stats sum up one direction of a stream.
type Stats struct {
	Packets    uint64
	Octets     uint64 // of payload
	Lost       uint64 // by sequence numbers (RFC 3550 A.3)
	Reordered  uint64
	Duplicates uint64
	Jitter     time.Duration // interarrival jitter (RFC 3550 §6.4.1)
	MaxJitter  time.Duration
	First      time.Duration // arrival of the first packet, since the log began
	Last       time.Duration
	Gaps       int // pauses between packets of more than 200 ms
	LongestGap time.Duration
	DSCP       uint8 // of the last packet, on Linux (RFC 2474)
}

// gapTime is the pause that counts as a gap: ten frames.
const gapTime = 200 * time.Millisecond

func (s *Stats) sent(octets int, at time.Duration) {
	s.arrival(at)
	s.Packets++
	s.Octets += uint64(octets)
}

func (s *Stats) arrival(at time.Duration) {
	if s.Packets == 0 {
		s.First = at
	} else if gap := at - s.Last; gap > gapTime {
		s.Gaps++
		s.LongestGap = max(s.LongestGap, gap)
	}
	s.Last = at
}

// maxSources bounds the synchronisation sources followed on one stream.
const maxSources = 8

// reception is what is known of the received direction.
type reception struct {
	Stats
	from      netip.AddrPort // where the media come from
	sources   map[uint32]*source
	current   *source // of the last audio packet, for reports
	course    course
	noted     map[string]bool
	last      time.Duration // arrival of the last datagram, usable or not, since the log began
	noise     bool          // the last packet was comfort noise
	hadEvent  bool
	eventSSRC uint32
	eventTS   uint32
}

// source follows the sequence numbers of one SSRC (RFC 3550 A.1).
type source struct {
	ssrc     uint32
	base     uint32 // first extended sequence number
	highest  uint32 // highest extended sequence number
	window   uint64 // which of the 64 numbers up to the highest have come
	received uint64 // without duplicates
	transit  int64  // of the last packet, in samples
	jitter   float64
	timed    bool

	lastSR   uint32 // middle of the NTP time of the last report
	lastSRAt time.Time
	// at the last report of ours, for the fraction lost
	priorExpected, priorReceived uint64
}

// follows reports whether a packet is one of the media that are received: from
// the address agreed on, or, where a device sends from another one, from the
// first that came. What an earlier call sends late to the same port is none.
// Keys are taken from anywhere: some devices send them from a port of their own.
func (r *reception) follows(from, agreed netip.AddrPort) bool {
	if !r.from.IsValid() || from == agreed {
		r.from = from
	}
	return from == r.from
}

// packets counts a packet; first tells whether it is the stream's first.
func (r *reception) packets(p *pion.Packet, now time.Time, at time.Duration, event bool) (first bool) {
	first = r.Packets == 0
	r.arrival(at)
	r.Packets++
	r.Octets += uint64(len(p.Payload))
	src := r.sources[p.SSRC]
	if src == nil {
		if len(r.sources) == maxSources {
			return first
		}
		if r.sources == nil {
			r.sources = map[uint32]*source{}
		}
		src = &source{ssrc: p.SSRC, base: uint32(p.SequenceNumber) + 1<<16, highest: uint32(p.SequenceNumber) + 1<<16 - 1}
		r.sources[p.SSRC] = src
	}
	if !event {
		r.current = src
		src.timing(p.Timestamp, now)
		r.MaxJitter = max(r.MaxJitter, src.jitterTime())
	}
	switch src.sequence(p.SequenceNumber) {
	case duplicate:
		r.Duplicates++
	case reordered:
		r.Reordered++
	}
	return first
}

// plot puts a packet into the course.
func (r *reception) plot(p *pion.Packet, at time.Duration, codec Codec, audio bool) {
	var lost uint64
	var jitter time.Duration
	if src := r.sources[p.SSRC]; src != nil {
		lost, jitter = src.lost(), src.jitterTime()
	}
	payload := p.Payload
	if !audio {
		payload = nil
	}
	r.course.packet(at, lost, jitter, codec, payload)
}

type order int

const (
	inOrder order = iota
	reordered
	duplicate
)

// sequence places a sequence number.
func (s *source) sequence(seq uint16) order {
	delta := int32(int16(seq - uint16(s.highest)))
	switch {
	case delta > 0:
		s.highest += uint32(delta)
		s.window = s.window<<min(delta, 64) | 1
		s.received++
		return inOrder
	case delta > -64:
		bit := uint64(1) << -delta
		if s.window&bit != 0 {
			return duplicate
		}
		s.window |= bit
	}
	s.received++
	return reordered
}

// timing updates the interarrival jitter.
func (s *source) timing(ts uint32, now time.Time) {
	arrival := now.UnixMicro() * perMs / 1000
	transit := arrival - int64(ts)
	if s.timed {
		d := int64(int32(uint32(transit - s.transit)))
		if d < 0 {
			d = -d
		}
		s.jitter += (float64(d) - s.jitter) / 16
	}
	s.timed, s.transit = true, transit
}

func (s *source) jitterTime() time.Duration {
	return time.Duration(s.jitter / 8 * float64(time.Millisecond))
}

func (s *source) expected() uint64 { return uint64(s.highest-s.base) + 1 }

func (s *source) lost() uint64 {
	if e := s.expected(); e > s.received {
		return e - s.received
	}
	return 0
}

// total sums up all sources.
func (r *reception) total() Stats {
	t := r.Stats
	for _, s := range r.sources {
		t.Lost += s.lost()
	}
	if r.current != nil {
		t.Jitter = r.current.jitterTime()
	}
	return t
}
