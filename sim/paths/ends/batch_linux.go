package ends

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch are datagrams that one call of the kernel takes from a socket, or gives
// to one.
type batch struct {
	heads  []batchHead
	iovs   []unix.Iovec
	names  []unix.RawSockaddrInet6 // room for both families
	octets [][]byte
	beside [][besideOctets]byte
	n      int // filled
}

// batchHead is struct mmsghdr of sys/socket.h.
type batchHead struct {
	unix.Msghdr
	length uint32
}

const (
	batchSize    = 64
	besideOctets = 128
)

func newBatch() *batch {
	b := &batch{
		heads: make([]batchHead, batchSize), iovs: make([]unix.Iovec, batchSize), names: make([]unix.RawSockaddrInet6, batchSize),
		octets: make([][]byte, batchSize), beside: make([][besideOctets]byte, batchSize),
	}
	for i := range b.heads {
		b.octets[i] = make([]byte, 0, mostDatagram)
		h := &b.heads[i]
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&b.names[i])), &b.iovs[i]
		h.SetIovlen(1)
	}
	return b
}

// receive takes what has arrived, without waiting.
func (b *batch) receive(fd int) int {
	for i := range b.heads {
		h := &b.heads[i]
		h.Namelen, h.Control = uint32(unsafe.Sizeof(b.names[i])), &b.beside[i][0]
		h.SetControllen(besideOctets)
		b.iovs[i].Base = unsafe.SliceData(b.octets[i])
		b.iovs[i].SetLen(mostDatagram)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.heads[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// datagram is one that was received, where from, and what the kernel says beside
// it.
func (b *batch) datagram(i int) (octets []byte, from netip.AddrPort, beside []byte) {
	h := &b.heads[i]
	return b.octets[i][:min(h.length, mostDatagram)], addrPortOfRaw(&b.names[i]), b.beside[i][:h.Controllen]
}

// room is the buffer of the next datagram to send, nil if the batch is full.
func (b *batch) room() []byte {
	if b.n == batchSize {
		return nil
	}
	return b.octets[b.n][:0]
}

// add takes what was appended to room.
func (b *batch) add(octets []byte, to netip.AddrPort) {
	h := &b.heads[b.n]
	b.octets[b.n] = octets
	h.Namelen, h.Control = rawAddrPort(&b.names[b.n], to), nil
	h.SetControllen(0)
	b.iovs[b.n].Base = unsafe.SliceData(octets)
	b.iovs[b.n].SetLen(len(octets))
	b.n++
}

// send gives all to a socket, as fast as that takes them. A datagram that it
// refuses is lost, as on a network.
func (b *batch) send(fd int) {
	for done := 0; done < b.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.heads[done])), uintptr(b.n-done), 0, 0, 0)
		switch errno {
		case 0:
			done += int(n)
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			if !writable(fd) {
				done++
			}
		default:
			done++
		}
	}
	runtime.KeepAlive(b)
	b.n = 0
}

// writable waits until a socket takes more, for a while.
func writable(fd int) bool {
	const patience = 1000 // ms
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, patience)
	if err == nil && n == 1 {
		pause(nap) // ENOBUFS: the queue of the interface is full, and poll does not know it
	}
	return errors.Is(err, unix.EINTR) || n == 1
}

func addrPortOfRaw(a *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port)
}

func rawAddrPort(a *unix.RawSockaddrInet6, at netip.AddrPort) (size uint32) {
	if at.Addr().Is4() {
		*a = unix.RawSockaddrInet6{}
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		v4.Family, v4.Addr = unix.AF_INET, at.Addr().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], at.Port())
		return unix.SizeofSockaddrInet4
	}
	*a = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: at.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.Port))[:], at.Port())
	return unix.SizeofSockaddrInet6
}
