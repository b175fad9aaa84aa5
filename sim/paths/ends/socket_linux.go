package ends

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// marking is the DSCP that media is marked with.
const marking = ef

// option sets an option of a socket.
func option(c syscall.Conn, level, name, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, name, value) })
	if err != nil {
		return err
	}
	return set
}

// mark lets a socket send media as Expedited Forwarding.
func mark(pc *net.UDPConn, ipv6 bool) {
	if ipv6 {
		_ = option(pc, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, ef<<2)
		return
	}
	_ = option(pc, unix.IPPROTO_IP, unix.IP_TOS, ef<<2)
}

// wantMark lets a socket tell the mark of what it receives.
func wantMark(pc *net.UDPConn) {
	_ = option(pc, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	_ = option(pc, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
}

// control reads what the kernel says beside a datagram: the port that it was
// sent to, 0 if that is not told, and its DSCP, -1 if not.
func control(oob []byte) (port uint16, dscp int) {
	dscp = -1
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, dscp
	}
	for _, m := range list {
		switch {
		case len(m.Data) == 0:
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS:
			dscp = int(m.Data[0] >> 2)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS && len(m.Data) >= 4:
			dscp = int(binary.NativeEndian.Uint32(m.Data) >> 2)
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_ORIGDSTADDR && len(m.Data) >= 4,
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_ORIGDSTADDR && len(m.Data) >= 4:
			port = binary.BigEndian.Uint16(m.Data[2:4])
		}
	}
	return port, dscp
}

// receiveBuffer asks for a buffer of what is received, beyond the usual limit
// where that is allowed, and returns how large it is.
func receiveBuffer(pc *net.UDPConn, n int) (size int) {
	if !forceBuffer(pc, n) {
		_ = pc.SetReadBuffer(n)
	}
	raw, err := pc.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	}
	return max(size, leastBuffer)
}

// leastBuffer is what every machine has.
const leastBuffer = 200 << 10

// quietSocket is a UDP socket that wakes nobody for what arrives: the runtime's
// poller does not know it.
type quietSocket struct {
	fd      int
	in, out *batch
}

// quiet takes a socket over.
func quiet(pc *net.UDPConn) (*quietSocket, error) {
	defer func() { _ = pc.Close() }()
	raw, err := pc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &quietSocket{-1, newBatch(), newBatch()}
	var dup error
	err = raw.Control(func(fd uintptr) { s.fd, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return s, errors.Join(err, dup)
}

// Close gives it back.
func (s *quietSocket) Close() error { return unix.Close(s.fd) }

// room is where a datagram is to be written.
func (s *quietSocket) room() []byte {
	if s.out.room() == nil {
		s.flush()
	}
	return s.out.room()
}

// send sends what was written to room, with the next flush at the latest.
func (s *quietSocket) send(b []byte, to netip.AddrPort) { s.out.add(b, to) }

func (s *quietSocket) flush() { s.out.send(s.fd) }

// drain takes what has arrived, without waiting, and returns how many datagrams
// that were.
func (s *quietSocket) drain(take func(b []byte, from netip.AddrPort)) (n int) {
	for {
		got := s.in.receive(s.fd)
		for i := range got {
			b, from, _ := s.in.datagram(i)
			take(b, from)
		}
		if n += got; got < batchSize {
			return n
		}
	}
}

// pause sleeps for less than the runtime's timers can.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}

// forceBuffer enlarges the buffer of what is received; false where the machine
// does not allow it.
func forceBuffer(pc *net.UDPConn, n int) bool {
	return option(pc, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil
}
