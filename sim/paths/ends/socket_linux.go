package ends

import (
	"encoding/binary"
	"net"
	"syscall"

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

// forceBuffer enlarges the buffer of what is received; false where the machine
// does not allow it.
func forceBuffer(pc *net.UDPConn, n int) bool {
	return option(pc, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil
}
