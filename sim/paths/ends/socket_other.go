//go:build !linux

package ends

import (
	"net"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// marking is the DSCP that media is marked with; elsewhere than on Linux none.
const marking = 0

func mark(*net.UDPConn, bool) {}

func wantMark(*net.UDPConn) {}

func control([]byte) (port uint16, dscp int) { return 0, -1 }

func forceBuffer(pc *net.UDPConn, n int) bool { return pc.SetReadBuffer(n) == nil }

func mostPorts() int { return maxBatch }

func (in *inbox) sweep(paths.PortSet, *record.Bound) bool { return false }
