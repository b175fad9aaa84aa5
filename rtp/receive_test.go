package rtp

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	pion "github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// The peer's own number for events is what we send with, ours is what comes; and
// comfort noise is silence in a recording, and nothing strange.
func TestPayloadTypes(t *testing.T) {
	log := trace.New(trace.Config{})
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	e := newTestEngine(t, 0, 0)
	s, err := e.Open(loopback, trace.Session{}, log.Source("a", "rtp"))
	require.NoError(t, err)
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer peer.Close()
	digits := make(chan byte, 4)
	require.NoError(t, s.Start(Params{
		Remote: netip.MustParseAddrPort(peer.LocalAddr().String()), Codec: PCMU, EventsPT: 96, ReceiveEventsPT: 101, Send: true, Receive: true,
		OnDigit: func(d byte) { digits <- d },
	}))
	done := make(chan Recording, 1)
	s.Record(Limits{Max: time.Minute, Idle: time.Minute}, func(r Recording, _ Stopped) { done <- r })
	seq := uint16(0)
	send := func(pt uint8, ts uint32, payload []byte) {
		seq++
		b, err := (&pion.Packet{Header: pion.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: ts, SSRC: 7}, Payload: payload}).Marshal()
		require.NoError(t, err)
		_, err = peer.WriteTo(b, net.UDPAddrFromAddrPort(s.Addr()))
		require.NoError(t, err)
	}
	voice := Tone(PCMU, 500, 20*time.Millisecond)
	send(0, 1000, voice)
	send(13, 1160, []byte{60}) // and 100 ms of nothing
	send(0, 1160+800, voice)
	send(101, 1160+960, []byte{5, 10, 0, 160})
	select {
	case d := <-digits:
		require.Equal(t, byte('5'), d)
	case <-time.After(5 * time.Second):
		t.Fatal("the event was not heard")
	}
	s.StopRecording()
	r := <-done
	require.Len(t, r.Octets, 160+800+160)
	require.Equal(t, voice, r.Octets[:160])
	require.Equal(t, Quiet(PCMU, 100*time.Millisecond), r.Octets[160:960])

	s.SendDigits("1", nil)
	b := make([]byte, 1500)
	for {
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, _, err := peer.ReadFrom(b)
		require.NoError(t, err)
		var p pion.Packet
		require.NoError(t, p.Unmarshal(b[:n]))
		if p.PayloadType == 96 {
			break
		}
	}
	for e := range log.Events() {
		require.NotEqual(t, "rtp.ignored", e.Name, e.Text("why"))
	}
}

// What is sent has its mark, what comes is told with the one that it has, and
// the direction in which nothing is heard is named, over both kinds of addresses.
func TestMarksAndSilence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("marks are told on Linux alone")
	}
	for _, at := range []string{"127.0.0.1", "::1"} {
		log := trace.New(trace.Config{})
		marked, err := New(Config{DSCP: 46})
		require.NoError(t, err)
		plain := newTestEngine(t, 0, 0)
		a, err := marked.Open(netip.MustParseAddr(at), trace.Session{}, log.Source("a", "marked"))
		require.NoError(t, err)
		b, err := plain.Open(netip.MustParseAddr(at), trace.Session{}, log.Source("b", "plain"))
		require.NoError(t, err)
		require.NoError(t, b.Start(Params{Remote: a.Addr(), Codec: PCMU, Send: true, Receive: true}))
		require.NoError(t, a.Start(Params{Remote: b.Addr(), Codec: PCMU, Send: true, Receive: true}))
		done := make(chan struct{})
		a.Play(PCMU, Quiet(PCMU, oneWayTime+200*time.Millisecond), func() { close(done) })
		<-done
		a.Close()
		b.Close()
		require.NoError(t, marked.Close())
		oneWays := 0
		for e := range log.Events() {
			if e.Name == "rtp.ended" {
				want := int64(0)
				if (e.Listener == "marked") == (e.Text("direction") == "sent") { // what the marked one sends
					want = 46
				}
				require.Equal(t, want, e.Int("dscp"), "%s %s", e.Listener, e.Text("direction"))
			}
			if e.Name == "rtp.one_way" {
				oneWays++
				require.Equal(t, "marked", e.Listener)
				v, _ := e.Get("length")
				require.GreaterOrEqual(t, v, oneWayTime)
			}
		}
		require.Equal(t, 1, oneWays)
		require.NoError(t, log.Close())
	}
}

// One socket may get far more than a call's 50 packets a second, as the one that
// all calls of --signalling-only share: a loop that lets datagrams gather takes all
// that have.
func TestManyAtOneSocket(t *testing.T) {
	log := trace.New(trace.Config{})
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	e := newTestEngine(t, 0, 0)
	s, err := e.Open(loopback, trace.Session{}, log.Source("a", "rtp"))
	require.NoError(t, err)
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, s.Start(Params{Remote: netip.MustParseAddrPort(peer.LocalAddr().String()), Codec: PCMU, Receive: true}))
	voice := Quiet(PCMU, 20*time.Millisecond)
	const sent, atOnce = 2000, 25
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for n := range sent {
		if n%atOnce == 0 {
			<-every.C
		}
		b, err := (&pion.Packet{Header: pion.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n * 160), SSRC: 7}, Payload: voice}).Marshal()
		require.NoError(t, err)
		_, err = peer.WriteTo(b, net.UDPAddrFromAddrPort(s.Addr()))
		require.NoError(t, err)
	}
	s.Close()
	for ev := range log.Events() {
		if ev.Name == "rtp.ended" && ev.Text("direction") == "received" {
			require.Greater(t, ev.Int("packets"), int64(sent/2), "a busy machine may drop some")
			return
		}
	}
	t.Fatal("the stream has no end")
}
