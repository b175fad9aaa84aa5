package rtp

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reading is what a loop reads datagrams into. The system calls are plain ones:
// they never block, and with the runtime's own each would hand the processor on
// and allocate an address.
type reading struct {
	oob  [128]byte // first, because what stands in it is aligned
	buf  [maxDatagram]byte
	name unix.RawSockaddrInet6 // the longest
	iov  unix.Iovec
	msg  unix.Msghdr
}

func newReading() *reading {
	r := &reading{}
	r.iov.Base = &r.buf[0]
	r.iov.SetLen(len(r.buf))
	r.msg.Name = (*byte)(unsafe.Pointer(&r.name))
	r.msg.Iov = &r.iov
	r.msg.SetIovlen(1)
	r.msg.Control = &r.oob[0]
	return r
}

// next takes a datagram, with what the system tells of it.
func (r *reading) next(fd int) (b []byte, from netip.AddrPort, a arrival, err error) {
	r.msg.Namelen = uint32(unsafe.Sizeof(r.name))
	r.msg.SetControllen(len(r.oob))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return nil, from, a, errno
	}
	return r.buf[:n], r.peer(), r.arrival(), nil
}

// peer reads the address that the system wrote.
func (r *reading) peer() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&r.name.Port))[:])
	if r.name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.name.Addr).Unmap(), port)
}

// arrival reads the control messages that were asked for: when the datagram came,
// and its traffic class.
func (r *reading) arrival() (a arrival) {
	rest := r.oob[:r.msg.Controllen]
	for len(rest) >= unix.CmsgLen(0) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		length := int(h.Len)
		if length < unix.CmsgLen(1) || length > len(rest) {
			break
		}
		switch data := rest[unix.CmsgLen(0):length]; {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			came := (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
			if age := time.Duration(time.Now().UnixNano() - came); age > 0 && age < time.Second { // else the clock was set
				a.ago = age
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS:
			a.class = data[0]
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			a.class = uint8(binary.NativeEndian.Uint32(data))
		}
		rest = rest[min(unix.CmsgSpace(length-unix.CmsgLen(0)), len(rest)):]
	}
	return a
}

// sendTo sends a datagram.
func sendTo(fd int, b []byte, to netip.AddrPort) error {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], to.Port())
	at, size := unsafe.Pointer(nil), uintptr(0)
	if to.Addr().Is4() {
		v4 := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: binary.NativeEndian.Uint16(port[:]), Addr: to.Addr().As4()}
		at, size = unsafe.Pointer(&v4), unsafe.Sizeof(v4)
	} else {
		v6 := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: binary.NativeEndian.Uint16(port[:]), Addr: to.Addr().As16()}
		at, size = unsafe.Pointer(&v6), unsafe.Sizeof(v6)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, uintptr(at), size)
	if errno != 0 {
		return errno
	}
	return nil
}

// prepare asks for the class of what comes and the time of its arrival, where the
// system tells these, and sets the class of what is sent.
func prepare(fd int, dscp uint8) error {
	level, ask, set := unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_TOS
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET6 {
		level, ask, set = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, unix.IPV6_TCLASS
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	_ = unix.SetsockoptInt(fd, level, ask, 1)
	if dscp == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, level, set, int(dscp)<<2)
}
