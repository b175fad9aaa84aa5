package rtp

import (
	"time"

	pion "github.com/pion/rtp"
)

// Stopped says what ended a recording.
type Stopped string

// The ends of a recording.
const (
	StoppedHere    Stopped = "stopped" // by StopRecording
	StoppedSilence Stopped = "silence"
	StoppedLength  Stopped = "length"
	StoppedHangup  Stopped = "hang-up" // the stream was closed
)

// Limits of a recording.
type Limits struct {
	Max  time.Duration // length at which it ends
	Idle time.Duration // silence, or absence of packets, that ends it
}

// Recording is what was received: the very octets, ordered by timestamp, with
// silence where packets are missing.
type Recording struct {
	Codec  Codec
	Octets []byte
	Voiced bool // something louder than silence was in it
}

// Duration is one octet a sample at 8 kHz.
func (r Recording) Duration() time.Duration {
	return time.Duration(len(r.Octets)) * time.Millisecond / perMs
}

const (
	recordCheck = 100 * time.Millisecond
	// quietLevel is the mean amplitude below which a frame is silence:
	// 46 dB below full scale.
	quietLevel = 160
	// maxJump is the timestamp jump that begins a new stretch of the
	// recording instead of a gap in it.
	maxJump = 10 * 8000
)

type recorder struct {
	limits Limits
	codec  Codec
	done   func(Recording, Stopped)
	begun  time.Time
	voice  time.Time // when the last voice, or the beginning, was
	voiced bool

	ssrc  uint32
	first uint32 // timestamp at octet base
	base  int
	some  bool
	b     []byte
}

// Record records from the next packet on; done is called once, at the end,
// also when the stream is closed.
func (s *Stream) Record(l Limits, done func(Recording, Stopped)) {
	now := time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		done(Recording{}, StoppedHangup)
		return
	}
	s.record = &recorder{limits: l, codec: s.params.Codec, done: done, begun: now, voice: now}
	s.engine.pacer.schedule(s, now.Add(recordCheck))
	s.mu.Unlock()
}

// StopRecording ends a recording, if one is running.
func (s *Stream) StopRecording() {
	s.mu.Lock()
	rec := s.record
	s.record = nil
	s.mu.Unlock()
	if rec != nil {
		rec.end(StoppedHere)
	}
}

func (r *recorder) end(why Stopped) {
	r.done(Recording{Codec: r.codec, Octets: r.b, Voiced: r.voiced}, why)
}

// check returns what to call when a limit is reached.
func (r *recorder) check(now time.Time) func() {
	switch {
	case len(r.b) >= r.maxOctets(), now.Sub(r.begun) >= r.limits.Max:
		return func() { r.end(StoppedLength) }
	case now.Sub(r.voice) >= r.limits.Idle:
		return func() { r.end(StoppedSilence) }
	}
	return nil
}

func (r *recorder) maxOctets() int { return int(r.limits.Max/time.Millisecond) * perMs }

// packet puts the octets where their timestamp says: loss leaves silence,
// reordering and duplicates change nothing.
func (r *recorder) packet(p *pion.Packet, codec Codec, now time.Time) {
	if len(p.Payload) == 0 {
		return
	}
	offset := r.base + int(int32(p.Timestamp-r.first))
	if !r.some || p.SSRC != r.ssrc || offset > len(r.b)+maxJump || offset < r.base-maxJump {
		r.some, r.ssrc, r.first, r.base = true, p.SSRC, p.Timestamp, len(r.b)
		offset = r.base
	}
	end := offset + len(p.Payload)
	if offset < r.base || end > r.maxOctets() {
		return // older than the recording, or beyond its length
	}
	for len(r.b) < end {
		r.b = append(r.b, r.codec.Silence())
	}
	r.codec.Convert(append(r.b[:offset], p.Payload...)[offset:], codec)
	if loud(codec, p.Payload) {
		r.voice, r.voiced = now, true
	}
}

func loud(c Codec, b []byte) bool { return amplitude(c, b) > uint64(quietLevel*len(b)) }
