// Package quick makes small reads and writes of a TCP connection cheap.
package quick

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// stream is a TCP connection whose reads and writes the Go runtime takes for
// plain calls. A system call on a socket that never blocks takes some
// microseconds, on the loopback with the other side's receive path in it: when
// the runtime watches it, it hands the processor on and back again, which costs
// 7 % of a signalling load. One goroutine reads, one at a time writes.
type stream struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out job
}

// job is what is being read or written.
type job struct {
	b   []byte // left to do
	n   int    // octets done
	err error
	try func(fd uintptr) (done bool)
}

// Conn makes a TCP connection quick; any other stays as it is. One goroutine may
// read and one write at a time.
func Conn(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	s := &stream{TCPConn: tcp, raw: raw}
	s.in.try, s.out.try = s.in.read, s.out.write
	return s
}

func (s *stream) Read(b []byte) (int, error) { return s.in.run(b, s.raw.Read) }

func (s *stream) Write(b []byte) (int, error) { return s.out.run(b, s.raw.Write) }

// run tries until done, waiting in between until the socket is ready.
func (j *job) run(b []byte, until func(try func(fd uintptr) bool) error) (int, error) {
	j.b, j.n, j.err = b, 0, nil
	err := until(j.try)
	j.b = nil
	if err == nil {
		err = j.err
	}
	return j.n, err
}

// read takes what there is.
func (j *job) read(fd uintptr) bool {
	n, done := j.call(syscall.SYS_READ, "read", fd)
	if done && n == 0 && j.err == nil && len(j.b) > 0 {
		j.err = io.EOF
	}
	return done
}

// write gives all there is.
func (j *job) write(fd uintptr) bool {
	for len(j.b) > 0 {
		n, done := j.call(syscall.SYS_WRITE, "write", fd)
		if !done || j.err != nil {
			return done
		}
		j.b = j.b[n:]
	}
	return true
}

// call makes one system call; it is not done when the socket would block.
func (j *job) call(trap uintptr, name string, fd uintptr) (n int, done bool) {
	for {
		r, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(j.b))), uintptr(len(j.b)))
		switch errno {
		case 0:
			j.n += int(r)
			return int(r), true
		case syscall.EAGAIN:
			return 0, false
		case syscall.EINTR:
		default:
			j.err = os.NewSyscallError(name, errno)
			return 0, true
		}
	}
}
