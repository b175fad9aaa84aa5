package sdp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Only what is an offer for a fax is taken for one, and its answer holds one
// section.
func TestFax(t *testing.T) {
	parse := func(media ...string) *Session {
		s, err := Parse([]byte("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n" + strings.Join(media, "\n") + "\n"))
		require.NoError(t, err)
		return s
	}
	const image = "m=image 4000 udptl t38"
	for want, media := range map[string][]string{
		"T.38":  {image},
		"G.711": {"m=audio 4000 RTP/AVP 0", "a=gpmd:0 vbd=yes;ecan=on"},
		"":      {"m=audio 4000 RTP/AVP 0", "a=silenceSupp:off - - - -"},
	} {
		require.Equal(t, want, parse(media...).Fax(), media)
	}
	require.Empty(t, parse("m=audio 4000 RTP/AVP 0", "m=image 0 udptl t38").Fax(), "a refused section")
	require.Empty(t, parse("m=audio 4000 RTP/AVP 0", "a=gpmd:0 vbd=no").Fax())

	answer := string(AnswerHeld(parse("m=audio 0 RTP/AVP 0", image, "m=audio 4002 RTP/SAVP 0"), Local{Addr: netip.MustParseAddr("192.0.2.2"), Port: 5004, Name: "-"}).AppendTo(nil))
	require.Contains(t, answer, "m=audio 0 RTP/AVP 0\r\n")
	require.Contains(t, answer, "m=image 5004 udptl t38\r\n")
	require.Contains(t, answer, "m=audio 0 RTP/SAVP 0\r\n")
	require.Equal(t, 1, strings.Count(answer, "a=inactive"))
}
