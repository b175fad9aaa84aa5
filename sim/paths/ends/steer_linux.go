package ends

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/exsim/exsim/sim/paths"
)

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
