package middlebox

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	party = netip.MustParseAddr("127.0.122.1")
	boxAt = netip.MustParseAddr("127.0.122.2")
)

// newBox is a box before a server that tells who came, and echoes.
func newBox(t *testing.T, nat bool, serve func(nc net.Conn), list ...faults.Fault) (*Box, netip.AddrPort) {
	t.Helper()
	log := trace.New(trace.Config{})
	set := faults.NewSet(log.Source("box", "middlebox"), rand.Uint64)
	for _, f := range list {
		set.Plant(faults.New(f, rand.Uint64))
	}
	b := New(Config{
		Address: boxAt, Faults: set, NAT: func() bool { return nat },
		Listen:       func(at netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", at.String()) },
		ListenPacket: func(at netip.AddrPort) (net.PacketConn, error) { return net.ListenPacket("udp", at.String()) },
		Dial: func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
			return d.DialContext(ctx, "tcp", to.String())
		},
	})
	ln, err := net.Listen("tcp", "127.0.122.3:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, ln.Close())
		<-done
		require.NoError(t, log.Close())
	})
	return b, netip.MustParseAddrPort(ln.Addr().String())
}

func dial(t *testing.T, b *Box, to netip.AddrPort, framing faults.Framing) net.Conn {
	t.Helper()
	nc, err := b.Dial(t.Context(), party, to, framing)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	return nc
}

// A box lets the party's address through; with NAT its own stands there.
func TestAddress(t *testing.T) {
	for nat, want := range map[bool]string{false: party.String(), true: boxAt.String()} {
		b, to := newBox(t, nat, func(nc net.Conn) {
			_, _ = io.WriteString(nc, netip.MustParseAddrPort(nc.RemoteAddr().String()).Addr().String()+"\n")
		})
		line, err := bufio.NewReader(dial(t, b, to, faults.Lines)).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want+"\n", line)
	}
}

// STARTTLS is found however it is cut, and what comes behind its 220 passes as
// it is, at once.
func TestStartTLS(t *testing.T) {
	hello := []byte{0x16, 3, 1, 0, 5} // without a line end
	for name, pieces := range map[string][]string{
		"whole": {"STARTTLS\r\n"}, "in pieces": {"START", "TLS\r", "\n"}, "a blank behind": {"STARTTLS \r\n"}, "behind another": {"NOOP\r\nstarttls\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b, to := newBox(t, false, func(nc net.Conn) {
				r := bufio.NewReader(nc)
				for range map[bool]int{true: 2, false: 1}[name == "behind another"] {
					if _, err := r.ReadString('\n'); err != nil {
						return
					}
				}
				_, _ = io.WriteString(nc, "220 go\r\n")
				_, _ = io.CopyN(nc, r, int64(len(hello)))
			})
			if name == "behind another" {
				pieces = []string{"NOOP\r\n", "starttls\r\n"}
			}
			nc := dial(t, b, to, faults.Lines)
			for _, p := range pieces {
				_, err := io.WriteString(nc, p)
				require.NoError(t, err)
			}
			r := bufio.NewReader(nc)
			line, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "220 go\r\n", line)
			_, err = nc.Write(hello)
			require.NoError(t, err)
			back := make([]byte, len(hello))
			_, err = io.ReadFull(r, back)
			require.NoError(t, err)
			require.Equal(t, hello, back)
		})
	}
}

// Behind NAT the party's own port hears nothing.
func TestNATMedia(t *testing.T) {
	b, _ := newBox(t, true, func(net.Conn) {})
	pc, err := b.ListenPacket(netip.AddrPortFrom(party, 0))
	require.NoError(t, err)
	defer pc.Close()
	far, err := net.ListenPacket("udp", "127.0.122.3:0")
	require.NoError(t, err)
	defer far.Close()
	_, err = pc.WriteTo([]byte("x"), far.LocalAddr())
	require.NoError(t, err)
	buf := make([]byte, 2)
	_, from, err := far.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, boxAt, netip.MustParseAddrPort(from.String()).Addr())
	_, err = far.WriteTo([]byte("y"), from)
	require.NoError(t, err)
	_, _, err = pc.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "y", string(buf[:1]))
}

// A closed box opens no way any more.
func TestClosed(t *testing.T) {
	b, to := newBox(t, false, func(net.Conn) {})
	require.NoError(t, b.Close())
	_, err := b.Dial(t.Context(), party, to, faults.SIP)
	require.ErrorIs(t, err, errClosed)
}
