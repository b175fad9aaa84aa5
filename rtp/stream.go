package rtp

import (
	"net/netip"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Stream is one port pair and the media of one call on it, in both directions.
type Stream struct {
	engine  *Engine
	session trace.Session
	src     *trace.Source
	addr    netip.AddrPort
	rtp     socket
	rtcp    socket
	ssrc    uint32

	slot int       // place in the pacer's heap, from 1; the pacer's
	due  time.Time // the pacer's

	mu      sync.Mutex
	params  Params
	started bool
	began   time.Duration // of the media, since the log began
	agreed  time.Duration // when the parameters were set last
	closed  bool

	// sending
	queue   []segment
	played  int       // octets of the first segment that are sent, or events
	next    time.Time // when the next frame is due; zero while nothing is sent
	stood   time.Time // since when nothing is sent, at the timestamp ts
	seq     uint16
	ts      uint32
	talking bool // the last frame was sent: the next needs no marker
	packet  []byte

	srtp   *protection // nil is RTP in clear
	in     reception
	out    Stats
	sent   course
	record *recorder
	hidden bool // digits are not to be told
	ear    listener
	report time.Time // next RTCP report
}

// Params say what a stream sends and to whom.
type Params struct {
	Remote   netip.AddrPort // RTCP goes to the next port
	Codec    Codec
	PT       uint8 // payload type of the codec
	EventsPT uint8 // payload type of telephone-event, 0 for none
	// ReceiveEventsPT is that of events which come, where the peer's number is
	// another than ours (RFC 3264 §6.1); 0 for the same.
	ReceiveEventsPT uint8
	// Send and Receive are the directions agreed on.
	Send, Receive bool
	// Early says that the call is not answered yet: the peer may be silent.
	Early bool
	// Continuous fills pauses with silence, as a telephone does.
	Continuous bool
	// Crypto is SRTP in place of RTP, nil for none.
	Crypto *Crypto
	// OnDigit is told each received digit once: 0-9, *, #, A-D. It runs on the
	// receiving loop, and must not close the stream.
	OnDigit func(digit byte)
	// OnTone, if set, is told of a fax machine's calling tone, heard or
	// signalled; it runs where OnDigit does.
	OnTone func(t Heard)
	// InBand hears keys in the audio, too.
	InBand bool
}

// Addr is our end: the even port.
func (s *Stream) Addr() netip.AddrPort { return s.addr }

// Start begins to send and to listen, or changes what is sent from now on. It
// fails if the keys for SRTP are no keys.
func (s *Stream) Start(p Params) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if err := s.key(p.Crypto); err != nil {
		return err
	}
	if s.params.Remote != p.Remote {
		s.in.from = netip.AddrPort{}
	}
	s.params = p
	s.agreed = s.src.Log().Now()
	if !s.started {
		s.started, s.began = true, s.agreed
		s.report = time.Now().Add(reportInterval)
		s.engine.pacer.schedule(s, s.report)
	}
	if p.Continuous && p.Send {
		s.resume()
	}
	return nil
}

// resume starts the frame clock; s.mu is held.
func (s *Stream) resume() {
	if s.next.IsZero() && s.started && !s.closed {
		s.next = time.Now()
		s.ts = s.timestamp(s.next)
		s.stood = time.Time{}
		s.engine.pacer.schedule(s, s.next)
	}
}

// timestamp is the RTP time of a moment: it goes on while nothing is sent
// (RFC 3550 §5.1).
func (s *Stream) timestamp(at time.Time) uint32 {
	if s.stood.IsZero() {
		return s.ts
	}
	return s.ts + uint32(at.Sub(s.stood)/time.Millisecond)*perMs
}

// Close says goodbye by RTCP, frees the ports and records the statistics. It
// may be called twice.
func (s *Stream) Close() {
	s.rtp.drain() // what was said before the hang-up belongs to the message, and to the figures
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	if s.started {
		s.sendReport(time.Now(), true)
	}
	queue, rec := s.queue, s.record
	s.queue, s.record = nil, nil
	received, sent := s.in.total(), s.out
	sent.DSCP = s.engine.conf.DSCP
	p := s.params
	deaf := s.deaf(received, sent)
	s.mu.Unlock()
	s.engine.pacer.cancel(s)
	s.engine.conf.Secrets.forget(s)
	s.engine.remove(s)
	if s.started {
		if deaf != nil {
			s.src.Record(s.session, trace.Session{}, *deaf, nil)
		}
		s.course("received", &s.in.course)
		s.course("sent", &s.sent)
		s.src.Record(s.session, trace.Session{}, ended{"received", p, received}, nil)
		s.src.Record(s.session, trace.Session{}, ended{"sent", p, sent}, nil)
	} else {
		s.src.Record(s.session, trace.Session{}, released{s.addr}, nil)
	}
	for _, seg := range queue {
		seg.finished()
	}
	if rec != nil {
		rec.end(StoppedHangup)
	}
}

// course records how a direction went, if anything passed.
func (s *Stream) course(direction string, c *course) {
	if len(c.bins) > 0 {
		s.src.Record(s.session, trace.Session{}, plotted{direction, c}, nil)
	}
}

func (s *Stream) closeSockets() {
	for _, k := range []socket{s.rtp, s.rtcp} {
		if k != nil {
			k.close()
		}
	}
}

// tick sends what is due at now and returns when it is wanted next.
func (s *Stream) tick(now time.Time) time.Time {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return time.Time{}
	}
	var calls []func()
	for !s.next.IsZero() && !s.next.After(now) {
		calls = s.frame(calls)
	}
	if !s.report.After(now) {
		s.sendReport(now, false)
		s.report = now.Add(reportInterval)
	}
	at := s.report
	if !s.next.IsZero() && s.next.Before(at) {
		at = s.next
	}
	if s.record != nil {
		if over := s.record.check(now); over != nil {
			s.record = nil
			calls = append(calls, over)
		} else if c := now.Add(recordCheck); c.Before(at) {
			at = c
		}
	}
	s.mu.Unlock()
	for _, f := range calls {
		f()
	}
	return at
}

// oneWayTime is how long nothing must have been heard for one-way audio.
const oneWayTime = 2 * time.Second

// deaf is one-way audio at the end of the stream, nil if there was none: nothing
// came, not even what could not be used, since the media were agreed on last. A
// peer that said it is silent is no such case. s.mu is held.
func (s *Stream) deaf(received, sent Stats) *oneWay {
	last := max(s.agreed, s.in.last)
	if !s.params.Receive || s.params.Early || s.in.noise || sent.Last-last < oneWayTime {
		return nil
	}
	e := &oneWay{peer: s.params.Remote, length: s.src.Log().Now() - last}
	if received.Packets > 0 {
		e.after = last - s.began
	}
	return e
}
