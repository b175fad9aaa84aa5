package ends

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// manySockets are the sockets of a range, one a port, served by one goroutine.
type manySockets struct {
	epoll int
	wake  [2]int // a pipe that ends the waiting
	ports map[int]uint16
}

// many listens on a range by a socket for each port.
func (in *inbox) many(ports paths.PortSet, b *record.Bound) bool {
	s := &manySockets{epoll: -1, wake: [2]int{-1, -1}, ports: map[int]uint16{}}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return false
	}
	if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil || s.watch(s.wake[0]) != nil {
		s.release()
		return false
	}
	for p := range ports.All() {
		in.note(b, p, s.open(in.e.bound(in.flow.Listen, p), p))
	}
	b.Sockets = "one socket a port"
	in.closers = append(in.closers, s)
	in.wg.Go(func() {
		defer s.release()
		s.serve(in)
	})
	return true
}

func (s *manySockets) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (s *manySockets) open(at netip.AddrPort, port uint16) error {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := errors.Join(unix.Bind(fd, sockaddr(at)), s.watch(fd)); err != nil {
		_ = unix.Close(fd)
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	}
	s.ports[fd] = port
	return nil
}

// serve answers until Close.
func (s *manySockets) serve(in *inbox) {
	events := make([]unix.EpollEvent, 256)
	b, oob, out := make([]byte, mostDatagram), make([]byte, 128), make([]byte, 0, mostDatagram)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd == s.wake[0] {
				return
			}
			n, on, _, from, err := unix.Recvmsg(fd, b, oob, 0)
			if err != nil || from == nil {
				continue
			}
			_, dscp := control(oob[:on])
			if out = in.datagram(out[:0], b[:n], s.ports[fd], addrPortOf(from), dscp); len(out) > 0 {
				_ = unix.Sendto(fd, out, 0, from)
			}
		}
	}
}

// Close ends the serving, which gives the sockets back.
func (s *manySockets) Close() error {
	_, err := unix.Write(s.wake[1], []byte{0})
	return err
}

func (s *manySockets) release() {
	for fd := range s.ports {
		_ = unix.Close(fd)
	}
	for _, fd := range []int{s.epoll, s.wake[0], s.wake[1]} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPortOf(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}
