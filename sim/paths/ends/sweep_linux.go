package ends

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// One socket serves a whole range of UDP ports where the process may load a BPF
// program: at the socket lookup of this network namespace it hands the range to
// that socket, and no other socket, rule or route is touched. It is gone with
// the process. Answers leave by a raw socket, from the port that was asked.

// sweep listens on a range by one socket, or by many where the privileges for
// that are missing.
func (in *inbox) sweep(ports paths.PortSet, b *record.Bound) bool {
	held := taken(in.e.bound(in.flow.Listen, 0).Addr())
	var free, bound paths.PortSet
	for p := range ports.All() {
		if held.Has(p + in.e.conf.Offset) {
			b.Held.Add(p)
			continue
		}
		free.Add(p)
		bound.Add(p + in.e.conf.Offset)
	}
	s, err := openSweep(in.flow.Listen, bound, true)
	if err != nil {
		b.Held = paths.PortSet{}
		return in.many(ports, b)
	}
	b.Ports, b.Sockets = free, "one socket for the range"
	in.closers = append(in.closers, s)
	in.wg.Go(func() {
		defer s.release()
		in.swept(s)
	})
	return true
}

// mostPorts is how many ports can be open at once: what one socket serves does
// not count.
func mostPorts() int {
	s, err := openSweep(netip.IPv4Unspecified(), paths.Ports(1), false)
	if err != nil {
		return mostFiles()
	}
	s.release()
	return 2 * 65536
}

// mostFiles is how many sockets this process may have, with some to spare for all
// else.
func mostFiles() int {
	const spare, most = 512, 16384
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return maxBatch
	}
	return int(min(max(limit.Cur, 2*spare)-spare, most))
}

// swept answers what arrives on the range. While much arrives it looks now and
// then: to be woken for each datagram costs more than all else.
func (in *inbox) swept(s *sweepSocket) {
	const awake = 100 // naps
	for naps := 0; !s.closed.Load(); {
		switch got := in.answerAll(s); {
		case got > 0:
			naps = 0
		case naps < awake:
			naps++
			pause(nap)
		default:
			s.await()
		}
	}
}

// answerAll answers what has arrived.
func (in *inbox) answerAll(s *sweepSocket) (got int) {
	got = s.quiet.in.receive(s.quiet.fd)
	for i := range got {
		b, from, beside := s.quiet.in.datagram(i)
		port, dscp := control(beside)
		head := s.room()
		if out := in.datagram(head, b, port-in.e.conf.Offset, from, dscp); len(out) > len(head) {
			s.send(port, from, out)
		}
	}
	s.answers.send(s.raw)
	return got
}

// sweepSocket is the socket of a range with what hands the range to it.
type sweepSocket struct {
	addr   netip.Addr
	pc     *net.UDPConn // until it is quiet
	quiet  *quietSocket
	wake   [2]int // a pipe that ends the waiting
	closed atomic.Bool
	fds    []int // of the map, the program and its link
	// Answers leave by a raw socket.
	raw     int
	answers *batch
}

// openSweep makes the socket of a range; with attach the range is handed to it,
// without it is only tried whether that could be done.
func openSweep(addr netip.Addr, ports paths.PortSet, attach bool) (*sweepSocket, error) {
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return nil, err
	}
	s := &sweepSocket{addr: addr, pc: pc, answers: newBatch(), wake: [2]int{-1, -1}, raw: -1}
	if err := s.attach(ports, attach); err != nil {
		_ = pc.Close()
		s.release()
		return nil, err
	}
	if s.quiet, err = quiet(pc); err == nil {
		err = unix.Pipe2(s.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
	}
	if err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// await returns when something arrives, or it is closed.
func (s *sweepSocket) await() {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.quiet.fd), Events: unix.POLLIN}, {Fd: int32(s.wake[0]), Events: unix.POLLIN}}, -1)
}

// Close ends the receiving; release gives the range back.
func (s *sweepSocket) Close() error {
	_, err := unix.Write(s.wake[1], []byte{0})
	s.closed.Store(true) // from here on the pipe may be gone
	return err
}

func (s *sweepSocket) release() {
	if s.quiet != nil {
		_ = s.quiet.Close()
	}
	for _, fd := range append(s.fds, s.raw, s.wake[0], s.wake[1]) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (s *sweepSocket) attach(ports paths.PortSet, link bool) error {
	if !forceBuffer(s.pc, 8<<20) {
		return unix.EPERM
	}
	level, name, family := unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, unix.AF_INET
	if s.addr.Is6() {
		level, name, family = unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, unix.AF_INET6
	}
	if err := option(s.pc, level, name, 1); err != nil {
		return err
	}
	wantMark(s.pc)
	var err error
	if s.raw, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
		return err
	}
	sockets, err := s.socketMap()
	if err != nil {
		return err
	}
	program, err := s.program(steer(s.addr, ports, sockets))
	if err != nil || !link {
		return err
	}
	return s.link(program)
}

// headLength is that of the IP header.
func (s *sweepSocket) headLength() int {
	if s.addr.Is6() {
		return 40
	}
	return 20
}

// room is empty headers, behind which an answer's payload is put.
func (s *sweepSocket) room() []byte {
	b := s.answers.room()[:s.headLength()+8]
	clear(b)
	return b
}

// send answers from a port of the range, with the batch of answers.
func (s *sweepSocket) send(port uint16, to netip.AddrPort, b []byte) {
	head := s.headLength()
	length := len(b) - head
	udp := b[head:]
	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	sum := checksum(s.addr, to.Addr(), b[head:])
	binary.BigEndian.PutUint16(b[head+6:], sum)
	if s.addr.Is4() {
		from, dest := s.addr.As4(), to.Addr().As4()
		b[0], b[1], b[8], b[9] = 0x45, ef<<2, 64, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		copy(b[12:], from[:])
		copy(b[16:], dest[:])
	} else {
		from, dest := s.addr.As16(), to.Addr().As16()
		b[0], b[6], b[7] = 0x60, unix.IPPROTO_UDP, 64
		binary.BigEndian.PutUint16(b[4:], uint16(length))
		copy(b[8:], from[:])
		copy(b[24:], dest[:])
	}
	s.answers.add(b, netip.AddrPortFrom(to.Addr(), 0)) // a raw socket has no port
}

// checksum is that of UDP (RFC 768, RFC 8200 §8.1).
func checksum(from, to netip.Addr, segment []byte) uint16 {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(segment))
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(from.AsSlice())
	add(to.AsSlice())
	add(segment)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff
	}
	return uint16(sum)
}
