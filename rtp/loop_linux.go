package rtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollLoop waits for all its sockets with one epoll descriptor.
type epollLoop struct {
	wg   *sync.WaitGroup
	epfd int
	wake int // eventfd that ends the loop

	mu      sync.Mutex
	sockets map[uint64]*epollSocket
	lastID  uint64
}

func newLoop(wg *sync.WaitGroup) (receiveLoop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rtp: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, fmt.Errorf("rtp: eventfd: %w", err)
	}
	l := &epollLoop{wg: wg, epfd: epfd, wake: wake, sockets: map[uint64]*epollSocket{}}
	if err := l.watch(wake, 0); err != nil {
		return nil, err
	}
	wg.Go(l.run)
	return l, nil
}

// watch registers a descriptor under an id; 0 is the wake descriptor.
func (l *epollLoop) watch(fd int, id uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("rtp: epoll: %w", err)
	}
	return nil
}

// attach takes over the descriptor of a UDP socket. It leaves Go's own poller,
// which would wake for every packet too.
func (l *epollLoop) attach(pc net.PacketConn, dscp uint8, recv receiver) (socket, error) {
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return attachGo(l.wg, pc, recv), nil
	}
	fd, err := takeOver(udp)
	if err != nil {
		return nil, err
	}
	if err := prepare(fd, dscp); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("rtp: %w", err)
	}
	s := &epollSocket{loop: l, fd: fd, recv: recv}
	l.mu.Lock()
	l.lastID++
	s.id = l.lastID
	l.sockets[s.id] = s
	l.mu.Unlock()
	if err := l.watch(fd, s.id); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func takeOver(udp *net.UDPConn) (int, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("rtp: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return 0, fmt.Errorf("rtp: %w", err)
	}
	if dupErr != nil {
		return 0, fmt.Errorf("rtp: %w", dupErr)
	}
	_ = udp.Close()
	return fd, nil
}

func (l *epollLoop) run() {
	events := make([]unix.EpollEvent, 128)
	r := newReading()
	for {
		n, err := l.ready(events)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		for _, ev := range events[:n] {
			id := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
			if id == 0 {
				_ = unix.Close(l.epfd)
				_ = unix.Close(l.wake)
				return
			}
			l.mu.Lock()
			s := l.sockets[id]
			l.mu.Unlock()
			if s != nil {
				s.take(r, perWake)
			}
		}
	}
}

// pace is how long a loop lets datagrams gather once it has taken all: to wake for
// each by itself costs the most of all, at both ends. When each came, the system
// tells.
const pace = time.Millisecond

// ready waits until there is something to read: at once where there is.
func (l *epollLoop) ready(events []unix.EpollEvent) (int, error) {
	if n := l.poll(events); n > 0 {
		return n, nil
	}
	time.Sleep(pace)
	if n := l.poll(events); n > 0 {
		return n, nil
	}
	return unix.EpollWait(l.epfd, events, -1)
}

// poll looks, and does not wait; what is wrong the next wait tells.
func (l *epollLoop) poll(events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (l *epollLoop) close() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:])
}

// epollSocket is a UDP socket of an epollLoop.
type epollSocket struct {
	loop *epollLoop
	id   uint64
	recv receiver

	order sync.Mutex // held while datagrams are taken, so that they keep their order

	mu     sync.Mutex // guards fd against its reuse after close
	fd     int
	closed bool
}

// perWake bounds what one socket gets before the others have their turn; epoll
// reports what is left once more.
//
// It is one: at 50 packets a second there is seldom a second one, and to find out
// would cost as much as to be told.
const perWake = 1

// inQueue is more than the system keeps for a socket in a row.
const inQueue = 1 << 12

// drainers are for sockets that are read outside a loop.
var drainers = sync.Pool{New: func() any { return newReading() }}

func (s *epollSocket) drain() {
	r := drainers.Get().(*reading)
	s.take(r, inQueue)
	drainers.Put(r)
}

func (s *epollSocket) take(r *reading, most int) {
	s.order.Lock()
	defer s.order.Unlock()
	for range most {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		b, from, a, err := r.next(s.fd)
		s.mu.Unlock()
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // an ICMP error of what we sent
		}
		if err != nil {
			return
		}
		s.recv(b, from, a)
	}
}

func (s *epollSocket) send(b []byte, to netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return sendTo(s.fd, b, to)
}

// dropped is the place of the dropped datagrams in SO_MEMINFO
// (SK_MEMINFO_DROPS of linux/sock_diag.h).
const dropped = 8

func (s *epollSocket) unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	var info [dropped + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return int(info[dropped])
}

func (s *epollSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	_ = unix.EpollCtl(s.loop.epfd, unix.EPOLL_CTL_DEL, s.fd, nil)
	_ = unix.Close(s.fd)
	s.loop.mu.Lock()
	delete(s.loop.sockets, s.id)
	s.loop.mu.Unlock()
}
