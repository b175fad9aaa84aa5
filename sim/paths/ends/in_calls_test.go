package ends

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// Each port of media is tried in a call that names it, both ways; the dialogue
// that is compared is not one of these calls.
func TestInCalls(t *testing.T) {
	near, far, p := planEnds(t, 136, "media: signalled\n", nil)
	listen(t, far)
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), false, nil))
	sent, got := recorded(near)
	n := 0
	for _, f := range append(Flows(p, "gw", "ex"), Flows(p, "ex", "gw")...) {
		if len(f.Calls) == 0 {
			continue
		}
		n++
		require.Empty(t, sent[f.ID].Failed, f.ID)
		require.Equal(t, f.Sample().String(), sent[f.ID].Answered.String(), f.ID)
		require.Equal(t, f.Sample().String(), got[f.ID].Arrived.String(), f.ID)
		for _, call := range f.Calls {
			require.NotContains(t, string(got[call.ID].Stream.Received), "-media-")
		}
	}
	require.Equal(t, 2, n)
}

// The paths of the calls are open where only media is asked for.
func TestInCallsAlone(t *testing.T) {
	near, far, p := planEnds(t, 137, "media: signalled\n", nil)
	listen(t, far)
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), true, func(f *paths.Flow) bool { return len(f.Calls) == 0 }))
	for _, l := range near.conf.Log.Lines() {
		if l.Sent != nil {
			require.Positive(t, l.Sent.Answered.Len())
			require.Zero(t, l.Sent.Lost().Len())
		}
	}
}

func TestMediaOf(t *testing.T) {
	at, err := mediaOf([]byte("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n"))
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddrPort("192.0.2.1:4000"), at)
	for _, bad := range []string{"", "v=0\r\n", "c=IN IP4 x\r\nm=audio 4000 RTP/AVP 0\r\n", "c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\n"} {
		_, err := mediaOf([]byte(bad))
		require.Error(t, err, bad)
	}
	require.Equal(t, [][]uint16{{9}, {10, 11}, {12}, {15}}, slices.Collect(pairs(paths.Ports(9, 10, 11, 12, 15))))
}

// A connection that ended between two calls is made anew; where no call comes
// through, not every port is waited for.
func TestCallerAgain(t *testing.T) {
	near, far, p := planEnds(t, 138, "media: signalled\n", nil)
	listen(t, far)
	i := slices.IndexFunc(Flows(p, "gw", "ex"), func(f *paths.Flow) bool { return len(f.Calls) > 0 })
	media := Flows(p, "gw", "ex")[i]
	a, _, err := near.ask(t.Context(), p.Host("ex"))
	require.NoError(t, err)
	defer a.close()
	parts := near.withSignalling([]part{{Flow: media.ID, Ports: media.Ports, flow: media}})
	_, err = a.do(order{greeting: greeting{Do: "open"}, Parts: parts}, controlWait)
	require.NoError(t, err)

	c := &collector{sent: &record.Sent{}, tries: 1, patience: near.conf.Limits.Timeout}
	l := &caller{e: near, media: media, hope: newHope(), lines: map[*paths.Flow]*talk{}}
	defer l.close()
	l.try(t.Context(), []uint16{31000, 31001}, c)
	require.NoError(t, l.lines[media.Call(31000)].t.Close())
	l.try(t.Context(), []uint16{31004}, c)
	require.Equal(t, "31000-31001,31004", c.sent.Answered.String(), "%+v", c.sent)

	h := newHope()
	for range inVain {
		h.called(media.Calls[0], "nobody answers")
	}
	why, _ := h.left(media.Calls[0])
	require.Equal(t, "nobody answers", why)
	h.called(media.Calls[1], "nobody answers")
	h.called(media.Calls[1], "")
	for range inVain {
		h.called(media.Calls[1], "nobody answers")
	}
	why, expected := h.left(media.Calls[1])
	require.Empty(t, why, "one came through")
	require.True(t, expected)
}

// What comes from elsewhere, or from a port that was not asked, is no answer.
func TestWindowHearsOnlyTheAsked(t *testing.T) {
	near, _, p := planEnds(t, 139, "", nil)
	i := slices.IndexFunc(Flows(p, "gw", "ex"), isMedia)
	f := Flows(p, "gw", "ex")[i]
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Source, 0)))
	require.NoError(t, err)
	at := portOf(pc)
	s, err := quiet(pc)
	require.NoError(t, err)
	defer s.Close()
	w := &window{e: near, f: f, nonce: newNonce(), socket: s}
	var zero codes
	for _, from := range []string{"127.0.139.3:33002", "127.0.139.9:33000"} {
		port := netip.MustParseAddrPort(from).Port() - 2000
		nc, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Source, at)))
		require.NoError(t, err)
		_, err = nc.Write(zero.appendPacket(nil, wordReply, f, port, w.nonce, ""))
		require.NoError(t, err)
		require.NoError(t, nc.Close())
	}
	w.done[31000].begun = 1
	require.Eventually(t, func() bool { return w.look() == 2 }, 2*time.Second, time.Millisecond)
	require.Zero(t, w.answered)
}
