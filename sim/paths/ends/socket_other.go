//go:build !linux

package ends

import (
	"net"
	"net/netip"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// marking is the DSCP that media is marked with; elsewhere than on Linux none.
const marking = 0

func mark(*net.UDPConn, bool) {}

func wantMark(*net.UDPConn) {}

func control([]byte) (port uint16, dscp int) { return 0, -1 }

// receiveBuffer asks for a buffer of what is received; how large it is, is not
// known.
func receiveBuffer(pc *net.UDPConn, n int) int {
	_ = pc.SetReadBuffer(n)
	return 200 << 10
}

// quietSocket is a UDP socket that is looked at now and then.
type quietSocket struct {
	*net.UDPConn
	in, out []byte
}

func quiet(pc *net.UDPConn) (*quietSocket, error) {
	return &quietSocket{pc, make([]byte, mostDatagram), make([]byte, 0, mostDatagram)}, nil
}

func (s *quietSocket) room() []byte { return s.out }

func (s *quietSocket) send(b []byte, to netip.AddrPort) { _, _ = s.WriteToUDPAddrPort(b, to) }

func (s *quietSocket) flush() {}

// drain takes what has arrived, or arrives within a moment.
func (s *quietSocket) drain(take func(b []byte, from netip.AddrPort)) (n int) {
	_ = s.SetReadDeadline(time.Now().Add(nap))
	for {
		k, from, err := s.ReadFromUDPAddrPort(s.in)
		if err != nil {
			return n
		}
		n++
		take(s.in[:k], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

func pause(d time.Duration) { time.Sleep(d) }

func halfOpen() map[netip.AddrPort][]netip.Addr { return nil }

func mostPorts() int { return maxBatch }

func (in *inbox) sweep(paths.PortSet, *record.Bound) bool { return false }
