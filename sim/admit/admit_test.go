package admit

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A friend gets in, a stranger gets nothing, and the event says who, which
// check, and the fix.
func TestListener(t *testing.T) {
	for _, act := range []Act{Close, Reset} {
		log := trace.New(trace.Config{})
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		list := &List{Check: "UM IP gateways", Fix: "add {address} to gateways"}
		list.Add(netip.MustParseAddr("127.0.0.8"), "gateway gw1")
		ln := Listener(inner, func() *List { return list }, act, log.Source("cas1", "call-router"))

		dial := func(from string) net.Conn {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			c, err := d.Dial("tcp", ln.Addr().String())
			require.NoError(t, err)
			return c
		}
		stranger, friend := dial("127.0.0.9"), dial("127.0.0.8")
		c, err := ln.Accept()
		require.NoError(t, err)
		require.Equal(t, friend.LocalAddr().String(), c.RemoteAddr().String())
		_, err = stranger.Read(make([]byte, 1))
		if act == Close {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
		}
		require.NoError(t, log.Close())
		var refused []trace.Event
		for e := range log.Events() {
			if e.Name == "admit.refused" {
				refused = append(refused, e)
			}
		}
		require.Len(t, refused, 1)
		require.Equal(t, stranger.LocalAddr().String(), refused[0].Text("peer"))
		require.Equal(t, "add 127.0.0.9 to gateways", refused[0].Text("fix"))
		require.Equal(t, "127.0.0.8 (gateway gw1)", refused[0].Text("admitted"))
		for _, k := range []io.Closer{c, friend, stranger, ln} {
			require.NoError(t, k.Close())
		}
	}
}

func TestFind(t *testing.T) {
	var nobody List
	_, ok := nobody.Find(netip.MustParseAddr("127.0.0.1"))
	require.False(t, ok)
	l := List{Entries: []Entry{
		{netip.MustParsePrefix("0.0.0.0/0"), "all"}, {netip.MustParsePrefix("10.0.0.0/8"), "inside"}, {netip.MustParsePrefix("10.1.0.0/16"), "site"},
	}}
	for addr, want := range map[string]string{"192.0.2.1": "all", "10.2.0.1": "inside", "10.1.0.1": "site", "::ffff:10.1.0.1": "site"} {
		e, ok := l.Find(netip.MustParseAddr(addr))
		require.True(t, ok)
		require.Equal(t, want, e.Name)
	}
	_, ok = l.Find(netip.MustParseAddr("2001:db8::1"))
	require.False(t, ok)
}

func TestAuthority(t *testing.T) {
	a, err := NewAuthority()
	require.NoError(t, err)
	cert, err := a.Issue(Request{Names: []string{"mbx1.contoso.lab", "MBX1"}, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.11")}})
	require.NoError(t, err)
	ours, theirs := net.Pipe()
	errs := make(chan error, 1)
	go func() { errs <- tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() }()
	require.NoError(t, tls.Client(theirs, &tls.Config{RootCAs: a.Pool(), ServerName: "mbx1.contoso.lab"}).Handshake())
	require.NoError(t, <-errs)
	require.NotEmpty(t, a.PEM())
}
