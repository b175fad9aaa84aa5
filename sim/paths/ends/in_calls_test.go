package ends

import (
	"net/netip"
	"slices"
	"testing"

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
	sent, got := map[string]*record.Sent{}, map[string]*record.Got{}
	for _, l := range near.conf.Log.Lines() {
		if l.Sent != nil {
			sent[l.Sent.Flow] = l.Sent
		}
		if l.Got != nil {
			got[l.Got.Flow] = l.Got
		}
	}
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
			require.NotContains(t, string(got[call.ID].Stream.Received), mediaHeader)
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
