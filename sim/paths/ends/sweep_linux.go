package ends

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

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
		return maxBatch
	}
	s.release()
	_ = s.Close()
	return 2 * 65536
}

// swept answers what arrives on the range.
func (in *inbox) swept(s *sweepSocket) {
	b, oob := make([]byte, 1500), make([]byte, 256)
	for {
		n, on, _, from, err := s.pc.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		port, dscp := control(oob[:on])
		if out := in.datagram(b[:n], port-in.e.conf.Offset, from, dscp); out != nil {
			s.send(port, from, out)
		}
	}
}

// sweepSocket is the socket of a range with what hands the range to it.
type sweepSocket struct {
	addr netip.Addr
	pc   *net.UDPConn
	fds  []int // of the map, the program and its link
	raw  int
}

// openSweep makes the socket of a range; with attach the range is handed to it,
// without it is only tried whether that could be done.
func openSweep(addr netip.Addr, ports paths.PortSet, attach bool) (*sweepSocket, error) {
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return nil, err
	}
	s := &sweepSocket{addr: addr, pc: pc, raw: -1}
	if err := s.attach(ports, attach); err != nil {
		s.release()
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the receiving, which gives the range back.
func (s *sweepSocket) Close() error { return s.pc.Close() }

func (s *sweepSocket) release() {
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
	if s.raw >= 0 {
		_ = unix.Close(s.raw)
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

// The commands and kinds of bpf(2) that are used here, linux/bpf.h.
const (
	bpfMapCreate     = 0
	bpfMapUpdateElem = 2
	bpfProgLoad      = 5
	bpfLinkCreate    = 28

	bpfMapTypeSockMap   = 15
	bpfProgTypeSkLookup = 30
	bpfSkLookup         = 36
)

// bpf makes a system call whose attributes are a struct of linux/bpf.h.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func (s *sweepSocket) keep(fd int, err error) (int, error) {
	if err == nil {
		s.fds = append(s.fds, fd)
	}
	return fd, err
}

// socketMap makes a map that holds the socket.
func (s *sweepSocket) socketMap() (int, error) {
	create := struct{ kind, key, value, entries, flags uint32 }{bpfMapTypeSockMap, 4, 8, 1, 0}
	m, err := s.keep(bpf(bpfMapCreate, unsafe.Pointer(&create), unsafe.Sizeof(create)))
	if err != nil {
		return -1, fmt.Errorf("bpf map: %w", err)
	}
	raw, err := s.pc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		key, value := uint32(0), uint64(fd)
		update := struct {
			fd, _             uint32
			key, value, flags uint64
		}{fd: uint32(m), key: uint64(uintptr(unsafe.Pointer(&key))), value: uint64(uintptr(unsafe.Pointer(&value)))}
		_, set = bpf(bpfMapUpdateElem, unsafe.Pointer(&update), unsafe.Sizeof(update))
		runtime.KeepAlive(&key)
		runtime.KeepAlive(&value)
	})
	if err != nil {
		return -1, err
	}
	if set != nil {
		return -1, fmt.Errorf("bpf map: %w", set)
	}
	return m, nil
}

// program loads a program for the socket lookup.
func (s *sweepSocket) program(code []instruction) (int, error) {
	license := []byte("MIT\x00")
	load := struct {
		kind, count               uint32
		code, license             uint64
		logLevel, logSize         uint32
		logBuf                    uint64
		kernVersion, flags        uint32
		name                      [16]byte
		ifindex, expectedAttachTo uint32
	}{kind: bpfProgTypeSkLookup, count: uint32(len(code)), code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))), expectedAttachTo: bpfSkLookup}
	copy(load.name[:], "exsim_sweep")
	fd, err := s.keep(bpf(bpfProgLoad, unsafe.Pointer(&load), unsafe.Sizeof(load)))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if err != nil {
		return -1, fmt.Errorf("bpf program: %w", err)
	}
	return fd, nil
}

// link attaches the program to this network namespace.
func (s *sweepSocket) link(program int) error {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	create := struct{ program, target, attachTo, flags uint32 }{uint32(program), uint32(ns.Fd()), bpfSkLookup, 0}
	if _, err := s.keep(bpf(bpfLinkCreate, unsafe.Pointer(&create), unsafe.Sizeof(create))); err != nil {
		return fmt.Errorf("bpf link: %w", err)
	}
	return nil
}

// instruction is one of BPF.
type instruction struct {
	op        uint8
	registers uint8 // destination, and source << 4
	off       int16
	imm       int32
}

// steer is the program: a datagram to the address and one of the ports goes to
// the socket in the map, all else its own way.
func steer(addr netip.Addr, ports paths.PortSet, sockets int) []instruction {
	const (
		load, mov, movK, addK, storeK = 0x61, 0xbf, 0xb7, 0x07, 0x62
		jne, jne32, jeq, jlt, jle     = 0x55, 0x56, 0x15, 0xa5, 0xb5
		call, exit, immediate         = 0x85, 0x95, 0x18
		// struct bpf_sk_lookup
		family, protocol, localIP4, localIP6, localPort = 8, 12, 40, 44, 60
		mapLookup, skRelease, skAssign                  = 1, 86, 124
	)
	toPass, toAssign := int16(-1), int16(-2) // filled in below
	code := []instruction{{mov, 1<<4 | 6, 0, 0}, {load, 1<<4 | 2, protocol, 0}, {jne, 2, toPass, unix.IPPROTO_UDP}, {load, 1<<4 | 2, family, 0}}
	if addr.Is4() {
		a := addr.As4()
		code = append(code, instruction{jne, 2, toPass, unix.AF_INET}, instruction{load, 1<<4 | 2, localIP4, 0},
			instruction{jne32, 2, toPass, int32(binary.NativeEndian.Uint32(a[:]))})
	} else {
		a := addr.As16()
		code = append(code, instruction{jne, 2, toPass, unix.AF_INET6})
		for i := range 4 {
			code = append(code, instruction{load, 1<<4 | 2, int16(localIP6 + 4*i), 0}, instruction{jne32, 2, toPass, int32(binary.NativeEndian.Uint32(a[4*i:]))})
		}
	}
	code = append(code, instruction{load, 1<<4 | 2, localPort, 0})
	for low, high := range ports.Ranges() {
		code = append(code, instruction{jlt, 2, toPass, int32(low)}, instruction{jle, 2, toAssign, int32(high)})
	}
	code = append(code, instruction{0x05, 0, toPass, 0})
	assign := len(code)
	code = append(code,
		instruction{storeK, 10, -4, 0}, instruction{mov, 10<<4 | 2, 0, 0}, instruction{addK, 2, 0, -4},
		instruction{immediate, 1<<4 | 1, 0, int32(sockets)}, instruction{},
		instruction{call, 0, 0, mapLookup}, instruction{jeq, 0, toPass, 0},
		instruction{mov, 0<<4 | 7, 0, 0}, instruction{mov, 6<<4 | 1, 0, 0}, instruction{mov, 7<<4 | 2, 0, 0}, instruction{movK, 3, 0, 0},
		instruction{call, 0, 0, skAssign}, instruction{mov, 7<<4 | 1, 0, 0}, instruction{call, 0, 0, skRelease},
	)
	pass := len(code)
	code = append(code, instruction{movK, 0, 0, 1}, instruction{exit, 0, 0, 0})
	for i := range code {
		c := &code[i]
		isJump := c.op&0x07 == 0x05 || c.op&0x07 == 0x06
		switch {
		case isJump && c.off == toPass && c.op != call && c.op != exit:
			c.off = int16(pass - i - 1)
		case isJump && c.off == toAssign:
			c.off = int16(assign - i - 1)
		}
	}
	return code
}

// send answers from a port of the range.
func (s *sweepSocket) send(port uint16, to netip.AddrPort, payload []byte) {
	length := 8 + len(payload)
	head := 20
	if s.addr.Is6() {
		head = 40
	}
	b := make([]byte, head+8, head+length)
	udp := b[head:]
	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	b = append(b, payload...)
	sum := checksum(s.addr, to.Addr(), b[head:])
	binary.BigEndian.PutUint16(b[head+6:], sum)
	if s.addr.Is4() {
		from, dest := s.addr.As4(), to.Addr().As4()
		b[0], b[1], b[8], b[9] = 0x45, ef<<2, 64, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		copy(b[12:], from[:])
		copy(b[16:], dest[:])
		_ = unix.Sendto(s.raw, b, 0, &unix.SockaddrInet4{Addr: dest})
		return
	}
	from, dest := s.addr.As16(), to.Addr().As16()
	b[0], b[6], b[7] = 0x60, unix.IPPROTO_UDP, 64
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	copy(b[8:], from[:])
	copy(b[24:], dest[:])
	_ = unix.Sendto(s.raw, b, 0, &unix.SockaddrInet6{Addr: dest})
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

// taken are the UDP ports of an address that some socket of this machine has.
func taken(addr netip.Addr) paths.PortSet {
	var set paths.PortSet
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			if len(fields) < 2 {
				continue
			}
			host, port, ok := strings.Cut(fields[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if !ok || err != nil {
				continue
			}
			if at := procAddr(host); at.IsUnspecified() || at == addr {
				set.Add(uint16(n))
			}
		}
		_ = f.Close()
	}
	return set
}

// procAddr reads an address of /proc/net/udp: words of four octets in this
// machine's order.
func procAddr(text string) netip.Addr {
	var b []byte
	for ; len(text) >= 8; text = text[8:] {
		n, err := strconv.ParseUint(text[:8], 16, 32)
		if err != nil {
			return netip.Addr{}
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(n))
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}
