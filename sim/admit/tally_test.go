package admit

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTally(t *testing.T) {
	var ty tally
	now := time.Now()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	tells := func(addr netip.Addr, after time.Duration) (int, bool) { return ty.note(addr, now.Add(after)) }
	untold, tell := tells(a, 0)
	require.True(t, tell)
	require.Zero(t, untold)
	for range 1000 {
		_, tell = tells(a, 900*time.Millisecond)
		require.False(t, tell)
	}
	_, tell = tells(b, 900*time.Millisecond)
	require.True(t, tell, "another address is told")
	untold, tell = tells(a, 1100*time.Millisecond)
	require.True(t, tell)
	require.Equal(t, 1000, untold)

	// Addresses without end share what room there is.
	for i := range 100_000 {
		tells(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 2*time.Second)
	}
	require.LessOrEqual(t, len(ty.seen), maxTally+1)
	untold, tell = tells(netip.MustParseAddr("10.99.0.1"), 4*time.Second)
	require.True(t, tell)
	_ = untold
}
