// Package rtp is the media side of a simulated machine: port pairs, streams
// of G.711 in both directions, telephone events, recording and statistics
// (RFC 3550, RFC 3551, RFC 4733). It knows no SIP.
//
// One loop a core receives for all sockets and one clock sends for all
// streams: no goroutine belongs to a socket or a stream, because at a thousand
// streams that costs tens of milliseconds of jitter. Callbacks run on those
// loops and must not block.
package rtp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Config describes an Engine.
type Config struct {
	// Low and High bound the UDP ports, both included; RTP takes even ones,
	// RTCP the next odd one (RFC 3550 §11). Zero means 1024 and 65535.
	Low, High uint16
	// Listen opens UDP sockets; nil means package net.
	Listen func(at netip.AddrPort) (net.PacketConn, error)
	// Rand yields SSRC, sequence numbers and the first port; it must be safe
	// for concurrent use. nil means math/rand/v2.
	Rand func() uint64
	// DSCP marks what is sent (RFC 2474), on Linux; 0 is best effort.
	DSCP uint8
	// Secrets, if set, is shared with the engine of the other end.
	Secrets *Secrets
	// Tap, if set, is told of every datagram.
	Tap Tap
	// Loops is the number of receiving loops; 0 means one a core.
	Loops int
}

// ErrNoPorts means that no free pair of ports is left in the range.
var ErrNoPorts = errors.New("rtp: no free port pair in the range")

// ErrClosed is returned by a closed Engine.
var ErrClosed = errors.New("rtp: engine closed")

// Engine owns sockets and streams.
type Engine struct {
	conf  Config
	pacer *pacer
	wg    sync.WaitGroup

	mu      sync.Mutex
	next    int // even port to try next
	loops   []receiveLoop
	turn    int
	streams map[*Stream]struct{}
	unread  int // of closed sockets
	closed  bool

	unsent atomic.Int64
}

// New makes an engine. It opens no socket.
func New(conf Config) (*Engine, error) {
	if conf.Low == 0 && conf.High == 0 {
		conf.Low, conf.High = 1024, 65535
	}
	if conf.Listen == nil {
		conf.Listen = func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		}
	}
	if conf.Rand == nil {
		conf.Rand = rand.Uint64
	}
	if conf.Loops == 0 {
		conf.Loops = runtime.GOMAXPROCS(0)
	}
	if conf.Low > conf.High || conf.pairs() == 0 {
		return nil, fmt.Errorf("rtp: the range %d-%d holds no even port with the next odd one", conf.Low, conf.High)
	}
	e := &Engine{conf: conf, streams: map[*Stream]struct{}{}}
	e.next = conf.first() + 2*int(conf.Rand()%uint64(conf.pairs()))
	for range conf.Loops {
		l, err := newLoop(&e.wg)
		if err != nil {
			_ = e.Close()
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	e.pacer = newPacer(&e.wg)
	return e, nil
}

func (c *Config) first() int { return int(c.Low) + int(c.Low)%2 }

// pairs counts the even ports whose next odd port is in the range too.
func (c *Config) pairs() int {
	last := int(c.High) - 1
	return max((last-c.first())/2+1, 0)
}

// Open binds a free pair of ports on an address. Ports held by others are
// skipped.
func (e *Engine) Open(at netip.Addr, session trace.Session, src *trace.Source) (*Stream, error) {
	s := &Stream{engine: e, session: session, src: src, ssrc: uint32(e.conf.Rand()), seq: uint16(e.conf.Rand()), ts: uint32(e.conf.Rand())}
	for range e.conf.pairs() {
		port, err := e.takePort()
		if err != nil {
			return nil, err
		}
		s.addr = netip.AddrPortFrom(at, port) // before datagrams come
		ok, err := e.bind(s, at, port)
		if err != nil {
			return nil, err
		}
		if ok {
			return s, e.add(s)
		}
	}
	return nil, ErrNoPorts
}

func (e *Engine) takePort() (uint16, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return 0, ErrClosed
	}
	port := e.next
	e.next += 2
	if e.next+1 > int(e.conf.High) {
		e.next = e.conf.first()
	}
	return uint16(port), nil
}

// bind tries one pair; false means that one of its ports is taken.
func (e *Engine) bind(s *Stream, at netip.Addr, port uint16) (bool, error) {
	rtp, err := e.conf.Listen(netip.AddrPortFrom(at, port))
	if err != nil {
		return false, unlessTaken(err)
	}
	rtcp, err := e.conf.Listen(netip.AddrPortFrom(at, port+1))
	if err != nil {
		_ = rtp.Close()
		return false, unlessTaken(err)
	}
	e.mu.Lock()
	loop := e.loops[e.turn%len(e.loops)]
	e.turn++
	e.mu.Unlock()
	if s.rtp, err = loop.attach(rtp, e.conf.DSCP, s.receiveRTP); err == nil {
		s.rtcp, err = loop.attach(rtcp, e.conf.DSCP, s.receiveRTCP)
	}
	if err != nil {
		s.closeSockets()
		_ = rtcp.Close()
	}
	return err == nil, err
}

func unlessTaken(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
		return nil
	}
	return fmt.Errorf("rtp: %w", err)
}

func (e *Engine) add(s *Stream) error {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.streams[s] = struct{}{}
	}
	e.mu.Unlock()
	if closed {
		s.closeSockets()
		return ErrClosed
	}
	s.tapPorts(Tap.Opened)
	s.src.Record(s.session, trace.Session{}, opened{s.addr}, nil)
	return nil
}

// remove forgets a stream and closes its sockets.
func (e *Engine) remove(s *Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unread += s.rtp.unread()
	delete(e.streams, s)
	s.closeSockets()
	s.tapPorts(Tap.Closed)
}

// Streams counts the open streams.
func (e *Engine) Streams() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.streams)
}

// Exactness is what the engine itself adds to jitter and loss.
func (e *Engine) Exactness() Exactness {
	x := e.pacer.exactness()
	x.Unsent = int(e.unsent.Load())
	e.mu.Lock()
	defer e.mu.Unlock()
	x.Unread = e.unread
	for s := range e.streams {
		x.Unread += s.rtp.unread()
	}
	return x
}

// Close ends all streams and waits for the loops.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	streams := make([]*Stream, 0, len(e.streams))
	for s := range e.streams {
		streams = append(streams, s)
	}
	loops := e.loops
	e.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
	for _, l := range loops {
		l.close()
	}
	if e.pacer != nil {
		e.pacer.close()
	}
	e.wg.Wait()
	return nil
}

// socket is one open UDP port.
type socket interface {
	send(b []byte, to netip.AddrPort) error
	// unread counts the datagrams that came and were dropped because nobody
	// read them in time; 0 where the system does not tell.
	unread() int
	// drain takes what has come already, where the loop has not yet.
	drain()
	close()
}

// arrival is what the system tells of a datagram; nothing where it does not.
type arrival struct {
	ago   time.Duration // since it came
	class uint8         // of traffic (RFC 2474)
}

// receiver is called for each datagram; b is the loop's.
type receiver func(b []byte, from netip.AddrPort, a arrival)

// receiveLoop receives for many sockets.
type receiveLoop interface {
	attach(pc net.PacketConn, dscp uint8, recv receiver) (socket, error)
	close()
}

// maxDatagram is more than any RTP packet of ours or of a gateway.
const maxDatagram = 2048

// goSocket receives on a goroutine of its own: for sockets that are no file
// descriptors, as in memory, and for systems without epoll.
type goSocket struct{ pc net.PacketConn }

func attachGo(wg *sync.WaitGroup, pc net.PacketConn, recv receiver) socket {
	wg.Go(func() {
		b := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if ap, err := netip.ParseAddrPort(from.String()); err == nil {
				recv(b[:n], ap, arrival{})
			}
		}
	})
	return goSocket{pc}
}

func (s goSocket) send(b []byte, to netip.AddrPort) error {
	_, err := s.pc.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

func (goSocket) unread() int { return 0 }

func (goSocket) drain() {}

func (s goSocket) close() { _ = s.pc.Close() }
