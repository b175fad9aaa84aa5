package rtp

import (
	"cmp"
	"net/netip"
	"time"

	pion "github.com/pion/rtp"
)

// comfortNoise is the static payload type of RFC 3389: the peer says that it is
// silent. It is counted, and is no audio: a recording has silence there.
const comfortNoise = 13

// receiveRTP takes one datagram, on the receiving loop.
func (s *Stream) receiveRTP(b []byte, from netip.AddrPort, a arrival) {
	at := s.src.Log().Now() - a.ago
	b, why := s.open(b, from, a, false)
	if b == nil {
		if why != "" {
			s.unusable(from, at, why)
		}
		return
	}
	var p pion.Packet
	if err := p.Unmarshal(b); err != nil || p.Version != 2 {
		s.unusable(from, at, "not RTP")
		return
	}
	now := time.Now().Add(-a.ago)
	s.mu.Lock()
	if s.closed || !s.started {
		s.mu.Unlock()
		return
	}
	events := s.params.EventsPT != 0 && p.PayloadType == cmp.Or(s.params.ReceiveEventsPT, s.params.EventsPT)
	noise := p.PayloadType == comfortNoise && !events
	if !events && !noise && p.PayloadType != s.params.PT {
		s.mu.Unlock()
		s.unusable(from, at, "payload type not agreed on")
		return
	}
	s.in.last = at
	own := s.in.follows(from, s.params.Remote)
	if !own && !events {
		s.mu.Unlock()
		s.unusable(from, at, "from another address than the media so far")
		return
	}
	first := own && s.in.packets(&p, now, at, events)
	if own {
		s.in.noise = noise
		s.in.DSCP = a.class >> 2
	}
	if own {
		s.in.plot(&p, at, s.params.Codec, !events && !noise)
	}
	var after func()
	if events {
		after = s.event(&p)
	} else if s.params.Receive && !noise {
		if s.record != nil {
			s.record.packet(&p, s.params.Codec, now)
		}
		after = s.hear(p.Payload)
	}
	s.mu.Unlock()
	if first {
		s.src.Record(s.session, noCause, firstPacket{from, p.PayloadType, p.SSRC}, nil)
	}
	if after != nil {
		after()
	}
}

// unusable notes a datagram that came at a time and is of no use.
func (s *Stream) unusable(from netip.AddrPort, at time.Duration, why string) {
	s.mu.Lock()
	s.in.last = at
	s.mu.Unlock()
	s.note(from, why)
}

// note records an unusable datagram, once for each reason.
func (s *Stream) note(from netip.AddrPort, why string) {
	s.mu.Lock()
	seen := s.in.noted[why]
	if s.in.noted == nil {
		s.in.noted = map[string]bool{}
	}
	s.in.noted[why] = true
	s.mu.Unlock()
	if !seen {
		s.src.Record(s.session, noCause, ignored{from, why}, nil)
	}
}

// hiddenDigit stands in the trace for a digit of a secret. It is none that a
// telephone has.
const hiddenDigit = '?'

// hear looks for tones in audio, where somebody wants to know, and returns what
// to do about a new one; s.mu is held.
func (s *Stream) hear(audio []byte) func() {
	if s.params.OnTone == nil && !s.params.InBand {
		return nil
	}
	s.ear.digits = s.params.InBand
	t := s.ear.frame(s.params.Codec, audio)
	switch t {
	case "":
		return nil
	case CNG:
		return s.heard(t, "audio")
	}
	d, told, f := t[0], s.told(t[0]), s.params.OnDigit
	return func() {
		s.src.Record(s.session, noCause, digit{"received", told}, nil)
		if f != nil {
			f(d)
		}
	}
}

// heard tells of a calling tone; s.mu is held.
func (s *Stream) heard(t Heard, how string) func() {
	f := s.params.OnTone
	return func() {
		s.src.Record(s.session, noCause, toneHeard{t, how}, nil)
		if f != nil {
			f(t)
		}
	}
}

// told is a digit as the trace has it; s.mu is held.
func (s *Stream) told(d byte) byte {
	if s.discreet() {
		return hiddenDigit
	}
	return d
}

// discreet reports whether digits are not to be told; s.mu is held.
func (s *Stream) discreet() bool { return s.hidden || s.engine.conf.Secrets.hiddenFrom(s) }

// HideDigits keeps the digits that come and go from now on out of the trace:
// they are a secret.
func (s *Stream) HideDigits(hide bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden != hide {
		s.hidden = hide
		s.engine.conf.Secrets.hide(s, hide)
	}
}

// event reads a telephone event and returns what to do about a new digit:
// all packets of an event have one timestamp. s.mu is held.
func (s *Stream) event(p *pion.Packet) func() {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(eventDigits) && p.Payload[0] != eventCNG {
		return nil
	}
	if s.in.hadEvent && s.in.eventSSRC == p.SSRC && int32(p.Timestamp-s.in.eventTS) <= 0 {
		return nil // of the same event, or a late packet of an earlier one
	}
	s.in.hadEvent, s.in.eventSSRC, s.in.eventTS = true, p.SSRC, p.Timestamp
	if p.Payload[0] == eventCNG {
		return s.heard(CNG, "event")
	}
	d := eventDigits[p.Payload[0]]
	f, told := s.params.OnDigit, s.told(d)
	return func() {
		s.src.Record(s.session, noCause, digit{"received", told}, nil)
		if f != nil {
			f(d)
		}
	}
}
