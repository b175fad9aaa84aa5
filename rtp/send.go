package rtp

import (
	"encoding/binary"
	"errors"
	"syscall"
	"time"

	pion "github.com/pion/rtp"
)

// segment is something to send: audio, or one digit.
type segment struct {
	audio []byte
	codec Codec // of audio
	digit byte  // 0 for audio
	done  func()
}

func (g *segment) finished() {
	if g.done != nil {
		g.done()
	}
}

const (
	frameTime     = 20 * time.Millisecond
	digitFrames   = 8 // 160 ms of event, then
	digitEnds     = 3 // the end, three times (RFC 4733 §2.5.1.4), then
	digitPause    = 5 // 100 ms of pause
	digitVolume   = 10
	digitSegments = digitFrames + digitEnds + digitPause
)

// Play queues audio and calls done when its last frame is out, or when the
// stream is closed.
func (s *Stream) Play(codec Codec, audio []byte, done func()) {
	s.enqueue(segment{audio: audio, codec: codec, done: done})
}

// SendDigits queues digits as telephone events; others than 0-9, *, #, A-D,
// and f for a fax machine's calling tone, are left out. Without an agreed payload type nothing is sent.
func (s *Stream) SendDigits(digits string, done func()) {
	for i := range len(digits) {
		seg := segment{digit: digits[i]}
		if i == len(digits)-1 {
			seg.done = done
		}
		s.enqueue(seg)
	}
}

func (s *Stream) enqueue(seg segment) {
	s.mu.Lock()
	if s.closed || !s.started {
		s.mu.Unlock()
		seg.finished()
		return
	}
	s.queue = append(s.queue, seg)
	s.resume()
	s.mu.Unlock()
}

// StopPlaying drops what is queued; the done functions are not called.
func (s *Stream) StopPlaying() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.played = nil, 0
}

// frame sends 20 ms and moves the clock on; s.mu is held. It adds the done
// functions of what is finished.
func (s *Stream) frame(calls []func()) []func() {
	for len(s.queue) > 0 && s.exhausted(&s.queue[0]) {
		if f := s.queue[0].done; f != nil {
			calls = append(calls, f)
		}
		s.queue, s.played = s.queue[1:], 0
	}
	s.next = s.next.Add(frameTime)
	switch {
	case len(s.queue) > 0 && s.queue[0].digit != 0:
		s.digitFrame(&s.queue[0])
	case len(s.queue) > 0:
		s.audioFrame(&s.queue[0])
	case s.params.Continuous && s.params.Send:
		s.sendAudio(nil, s.params.Codec)
	default:
		s.talking = false
		if len(calls) == 0 {
			s.stood, s.next = s.next, time.Time{} // nothing to send: the clock rests
		}
	}
	s.ts += frameSamples
	return calls
}

func (s *Stream) exhausted(g *segment) bool {
	if g.digit != 0 {
		return s.played >= digitSegments
	}
	return s.played >= len(g.audio)
}

func (s *Stream) audioFrame(g *segment) {
	chunk := g.audio[s.played:min(s.played+frameSamples, len(g.audio))]
	s.played += len(chunk)
	s.sendAudio(chunk, g.codec)
}

// sendAudio sends one frame, filled up with silence.
func (s *Stream) sendAudio(chunk []byte, from Codec) {
	if !s.params.Send {
		return
	}
	b := s.header(s.params.PT, !s.talking, s.ts)
	s.talking = true
	n := len(b)
	b = append(b, chunk...)
	s.params.Codec.Convert(b[n:], from)
	for len(b) < n+frameSamples {
		b = append(b, s.params.Codec.Silence())
	}
	s.put(b, frameSamples, b[n:])
}

// header begins a packet in the stream's own buffer.
func (s *Stream) header(pt uint8, marker bool, ts uint32) []byte {
	h := pion.Header{Version: 2, Marker: marker, PayloadType: pt, SequenceNumber: s.seq, Timestamp: ts, SSRC: s.ssrc}
	s.seq++
	if s.packet == nil {
		s.packet = make([]byte, 0, 12+frameSamples)
	}
	n, err := h.MarshalTo(s.packet[:12])
	if err != nil {
		panic("rtp: a header without extensions has 12 octets: " + err.Error())
	}
	return s.packet[:n]
}

// put sends a packet; audio is what a telephone would hear of it.
func (s *Stream) put(b []byte, octets int, audio []byte) {
	wire, err := s.seal(b, false)
	if err == nil {
		s.tap(time.Now(), s.params.Remote, true, false, wire, b)
		err = s.rtp.send(wire, s.params.Remote)
	}
	if err == nil {
		at := s.src.Log().Now()
		s.out.sent(octets, at)
		s.sent.packet(at, 0, 0, s.params.Codec, audio)
	} else if errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) { // no room: ours to blame
		s.engine.unsent.Add(1)
	}
}

// digitFrame sends one packet of a telephone event: its duration grows, and
// the end is sent three times with the same duration (RFC 4733 §2.5).
//
//	 0                   1                   2                   3
//	|     event     |E|R| volume    |          duration             |
func (s *Stream) digitFrame(g *segment) {
	n := s.played
	s.played++
	code, ok := eventCode(g.digit)
	if !ok || s.params.EventsPT == 0 || !s.params.Send || n >= digitFrames+digitEnds {
		s.talking = false
		return
	}
	duration := min(n+1, digitFrames) * frameSamples
	b := s.header(s.params.EventsPT, n == 0, s.ts-uint32(n*frameSamples))
	volume := byte(digitVolume)
	if n >= digitFrames {
		volume |= 0x80
	}
	b = append(b, code, volume)
	b = binary.BigEndian.AppendUint16(b, uint16(duration))
	s.put(b, 4, nil)
	if n == 0 {
		s.src.Record(s.session, noCause, digit{"sent", s.told(g.digit)}, nil)
	}
}

const eventDigits = "0123456789*#ABCD"

// eventCNG is the event of a fax machine's calling tone (RFC 4734 §2.2.2), and
// digitCNG what SendDigits takes for it.
const (
	eventCNG = 36
	digitCNG = 'f'
)

// eventCode is the event of a digit (RFC 4733 §3.2).
func eventCode(d byte) (byte, bool) {
	if d == digitCNG {
		return eventCNG, true
	}
	for i := range len(eventDigits) {
		if eventDigits[i] == d {
			return byte(i), true
		}
	}
	return 0, false
}
