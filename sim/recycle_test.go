package sim_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// The second process takes the new calls over both transports; the first
// serves its last call, refuses a new one, and closes its ports behind the
// last BYE. The next recycling is on the first ports again.
func TestRecycle(t *testing.T) {
	l := startLab(t, "2013", 81, "", func(o *org.Organisation) {
		o.Servers[1].UMStartupMode = org.ModeDual
	})
	g := startGateway(t, l)
	old, oldTLS := l.at("um-worker"), l.at("um-worker-tls")
	first, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)

	require.NoError(t, l.Recycle("MBX1"))
	require.ErrorContains(t, l.Recycle("MBX1"), "still has 1 calls")
	second, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	require.Equal(t, 1, l.count(func(e *trace.Event) bool { return e.Name == "um.answered" && e.Listener == "um-worker-b" }))

	direct := params(l)
	direct.Routers = []netip.AddrPort{old}
	_, err = g.Call(t.Context(), direct)
	require.ErrorContains(t, err, "503")
	require.Equal(t, "worker", l.await("um.refused", time.Second).Text("check"))

	require.NoError(t, first.Hangup(t.Context()))
	require.Equal(t, "um-worker", l.await("um.worker_stopped", 5*time.Second).Text("row"))
	for _, at := range []netip.AddrPort{old, oldTLS} {
		_, err = net.Dial("tcp", at.String())
		require.Error(t, err, "%s is closed", at)
	}

	require.NoError(t, second.Hangup(t.Context()))
	require.NoError(t, l.Recycle("MBX1"))
	third, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	require.Equal(t, 2, l.count(func(e *trace.Event) bool { return e.Name == "um.answered" && e.Listener == "um-worker" }))
	require.NoError(t, third.Hangup(t.Context()))

	require.ErrorContains(t, l.Recycle("CAS1"), "CAS1")
}

// Behind the drain limit the old process hangs up.
func TestDrainLimit(t *testing.T) {
	l := startLab(t, "2016", 82, "", func(o *org.Organisation) { o.Recycling.DrainLimit = 100 * time.Millisecond })
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, l.Recycle("EX1"))
	require.NoError(t, c.Wait(t.Context()))
	stopped := l.await("um.worker_stopped", 5*time.Second)
	require.Equal(t, "1", stopped.Text("calls"))
	require.Contains(t, stopped.Text("why"), "drain limit")
}

// A process is also replaced by its age, and by the calls that it has taken.
func TestRecycleByItself(t *testing.T) {
	t.Run("age", func(t *testing.T) {
		l := startLab(t, "2016", 83, "", func(o *org.Organisation) { o.Recycling.Interval = 200 * time.Millisecond })
		require.Contains(t, l.await("um.worker_draining", 5*time.Second).Text("row"), "um-worker")
	})
	t.Run("calls", func(t *testing.T) {
		l := startLab(t, "2016", 84, "", func(o *org.Organisation) { o.Recycling.AfterCalls = 2 })
		g := startGateway(t, l)
		for range 2 {
			require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.worker_draining" }))
			c, err := g.Call(t.Context(), params(l))
			require.NoError(t, err)
			require.NoError(t, c.Hangup(t.Context()))
		}
		l.await("um.worker_stopped", 5*time.Second)
	})
}

// A second process that cannot listen is an event, and the first goes on.
func TestRecycleFails(t *testing.T) {
	o := startLab(t, "2016", 85, "").Organisation()
	busy := atomic.Bool{}
	x, err := sim.Start(sim.Config{Org: o, Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Net: sim.Net{
		Listen: func(at netip.AddrPort) (net.Listener, error) {
			if busy.Load() {
				return nil, syscall.EADDRINUSE
			}
			return net.Listen("tcp", at.String())
		},
	}})
	require.NoError(t, err)
	l := &lab{x, t, 85}
	defer func() { require.NoError(t, x.Close()) }()
	busy.Store(true)
	require.ErrorContains(t, x.Recycle("EX1"), "um-worker-b of EX1")
	require.Contains(t, l.await("um.worker_failed", time.Second).Text("why"), "is taken")
	busy.Store(false)
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, c.Hangup(t.Context()))
	require.NoError(t, x.Recycle("EX1"))
}

// The ports of both processes, by start-up mode.
func TestProcessPorts(t *testing.T) {
	for mode, want := range map[org.StartupMode][2][]uint16{
		org.ModeTCP:  {{5065}, {5067}},
		org.ModeTLS:  {{5065}, {5067}},
		org.ModeDual: {{5065, 5066}, {5067, 5068}},
	} {
		t.Run(string(mode), func(t *testing.T) {
			l := startLab(t, "2013", 86, "", func(o *org.Organisation) {
				o.Router.UMStartupMode, o.Servers[1].UMStartupMode = org.ModeDual, mode
			})
			ports := func() (list []uint16) {
				for _, k := range l.Listeners() {
					if k.Row.Service == "um-worker" {
						list = append(list, k.Documented)
					}
				}
				return list
			}
			require.Equal(t, want[0], ports())
			require.NoError(t, l.Recycle("MBX1"))
			l.await("um.worker_stopped", 5*time.Second)
			require.Equal(t, want[1], ports())
		})
	}
}

// A call that rings reliably is a call: a process is not done before it, and a
// gateway that was disabled in the meantime is refused.
func TestRingingCall(t *testing.T) {
	l := startLab(t, "2016", 95, "")
	conn, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(30)), l.at("um-worker"))
	require.NoError(t, err)
	defer conn.Close()
	in := textproto.NewReader(bufio.NewReader(conn))
	read := func() (start string, h textproto.MIMEHeader) {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		start, err := in.ReadLine()
		require.NoError(t, err)
		h, err = in.ReadMIMEHeader()
		require.NoError(t, err)
		return start, h
	}
	send := func(method, id, tag, more string, seq int) {
		_, err := fmt.Fprintf(conn, "%s sip:4000@x SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s%s%d\r\nFrom: <sip:7125550123@x>;tag=g\r\nTo: <sip:4000@x>%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:1@%s>\r\n%sContent-Length: 0\r\n\r\n",
			method, conn.LocalAddr(), method, id, seq, tag, id, seq, method, conn.LocalAddr(), more)
		require.NoError(t, err)
	}
	ring := func(id string) (tag, rack string) {
		send("INVITE", id, "", "Require: 100rel\r\n", 1)
		start, h := read()
		require.Contains(t, start, "180")
		_, tag, _ = strings.Cut(h.Get("To"), ";tag=")
		return ";tag=" + tag, "RAck: " + h.Get("Rseq") + " 1 INVITE\r\n"
	}
	tag, rack := ring("ring1")
	require.NoError(t, l.SetGatewayStatus("gw1", org.Disabled))
	send("PRACK", "ring1", tag, rack, 2)
	start, _ := read()
	require.Contains(t, start, "200")
	start, _ = read()
	require.Contains(t, start, "403")
	send("ACK", "ring1", tag, "", 1)
	require.NoError(t, l.SetGatewayStatus("gw1", org.Enabled))

	// One that was disabled for a moment as it rang is hung up once answered.
	tag, rack = ring("ring3")
	require.NoError(t, l.SetGatewayStatus("gw1", org.Disabled))
	require.NoError(t, l.SetGatewayStatus("gw1", org.Enabled))
	send("PRACK", "ring3", tag, rack, 2)
	for _, want := range []string{"200", "200", "BYE"} {
		start, h := read()
		require.Contains(t, start, want)
		n, _ := strconv.Atoi(h.Get("Content-Length"))
		_, err := io.CopyN(io.Discard, in.R, int64(n))
		require.NoError(t, err)
	}
	require.Contains(t, l.await("um.hang_up", time.Second).Text("why"), "was disabled")

	tag, rack = ring("ring2")
	require.NoError(t, l.Recycle("EX1"))
	require.Equal(t, "1", l.await("um.worker_draining", time.Second).Text("calls"))
	send("PRACK", "ring2", tag, rack, 2)
	start, _ = read()
	require.Contains(t, start, "200")
	start, h := read()
	require.Contains(t, start, "200")
	require.Contains(t, h.Get("Content-Type"), "sdp", "our offer")
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.worker_stopped" }))
}

// A call that rings when its process has come to the drain limit is counted out.
func TestRingingAtDrainLimit(t *testing.T) {
	l := startLab(t, "2016", 102, "", func(o *org.Organisation) {
		o.Recycling.DrainLimit = 50 * time.Millisecond
		o.Limits.MaxCallsAllowed = 1
	})
	conn, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(30)), l.at("um-worker"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "INVITE sip:4000@x SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKr\r\nFrom: <sip:7125550123@x>;tag=g\r\nTo: <sip:4000@x>\r\nCall-ID: r\r\nCSeq: 1 INVITE\r\nContact: <sip:1@%s>\r\nRequire: 100rel\r\nContent-Length: 0\r\n\r\n",
		conn.LocalAddr(), conn.LocalAddr())
	require.NoError(t, err)
	start, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
	require.NoError(t, err)
	require.Contains(t, start, "180")
	require.NoError(t, l.Recycle("EX1"))
	l.await("um.worker_stopped", 5*time.Second)
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err, "max-calls-allowed is 1, and no call is left")
	require.NoError(t, c.Hangup(t.Context()))
}
