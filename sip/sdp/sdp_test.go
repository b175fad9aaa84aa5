package sdp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

var local = Local{
	Addr: netip.MustParseAddr("192.0.2.20"), Port: 20000, Codecs: []Codec{PCMU, PCMA},
	Events: "0-16,36", ID: 85, Name: "session", Bandwidth: []string{"CT:10000000"},
	Attrs: []Attr{{"label", "main-audio"}}, Ptime: 20,
}

// The shape of an answer seen from Exchange Online in 2015, without SRTP.
func TestAnswerShape(t *testing.T) {
	offer, err := Parse([]byte("v=0\r\no=gw 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 31182 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"))
	require.NoError(t, err)
	answer, agreed, err := Answer(offer, local)
	require.NoError(t, err)
	require.Equal(t, Agreed{PCMU, 0, 101, netip.MustParseAddrPort("192.0.2.1:31182"), true, true, 0}, agreed)
	require.Equal(t, "v=0\r\no=- 85 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nb=CT:10000000\r\nt=0 0\r\n"+
		"m=audio 20000 RTP/AVP 0 101\r\nc=IN IP4 192.0.2.20\r\na=label:main-audio\r\na=sendrecv\r\n"+
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16,36\r\na=ptime:20\r\n",
		string(answer.AppendTo(nil)))
}

func TestAnswerRules(t *testing.T) {
	const head = "v=0\no=x 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
	tests := []struct {
		name, offer string
		want        Agreed
		ports       []uint16
		err         error
	}{
		{"order of the offer", "m=audio 4000 RTP/AVP 18 8 0\n", Agreed{PCMA, 8, 0, netip.MustParseAddrPort("192.0.2.1:4000"), true, true, 0}, []uint16{20000}, nil},
		{"dynamic types", "m=audio 4000 RTP/AVP 99 110\na=rtpmap:110 telephone-event/8000\na=rtpmap:99 pcmu/8000/1\n",
			Agreed{PCMU, 99, 110, netip.MustParseAddrPort("192.0.2.1:4000"), true, true, 0}, []uint16{20000}, nil},
		{"video is refused", "m=video 4002 RTP/AVP 31\nm=audio 4000 RTP/AVP 0\n", Agreed{PCMU, 0, 0, netip.MustParseAddrPort("192.0.2.1:4000"), true, true, 1}, []uint16{0, 20000}, nil},
		{"media address and hold", "m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.9\na=sendonly\n", Agreed{PCMU, 0, 0, netip.MustParseAddrPort("192.0.2.9:4000"), false, true, 0}, []uint16{20000}, nil},
		{"T.38 alone", "m=image 4000 udptl t38\na=T38FaxVersion:0\n", Agreed{}, nil, ErrNoAudio},
		{"SRTP only", "m=audio 4000 RTP/SAVP 0\n", Agreed{}, nil, ErrNoAudio},
		{"G.729 only", "m=audio 4000 RTP/AVP 18\n", Agreed{}, nil, ErrNoCodec},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			offer, err := Parse([]byte(head + tt.offer))
			require.NoError(t, err)
			answer, agreed, err := Answer(offer, local)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, agreed)
			for i, p := range tt.ports {
				require.Equal(t, p, answer.Media[i].Port)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"", "v=0\r\n", "m=audio 1 RTP/AVP 0\n", "v=1\nm=audio 1 RTP/AVP 0\n", "v=0\nm=audio x RTP/AVP 0\n", "v=0\nc=IN\nm=audio 1 RTP/AVP 0\n"} {
		_, err := Parse([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 1 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		answer, _, err := Answer(s, local)
		if err != nil {
			return
		}
		if again, err := Parse(answer.AppendTo(nil)); err != nil || len(again.Media) != len(s.Media) {
			t.Fatalf("our answer does not parse: %v", err)
		}
	})
}
