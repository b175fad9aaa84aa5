package sdp

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
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
	require.Equal(t, Agreed{Codec: PCMU, PT: 0, EventsPT: 101, ReceiveEventsPT: 101, Remote: netip.MustParseAddrPort("192.0.2.1:31182"), Send: true, Receive: true, Section: 0}, agreed)
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
		{"order of the offer", "m=audio 4000 RTP/AVP 18 8 0\n", Agreed{Codec: PCMA, PT: 8, EventsPT: 0, ReceiveEventsPT: 0, Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Send: true, Receive: true, Section: 0}, []uint16{20000}, nil},
		{"dynamic types", "m=audio 4000 RTP/AVP 99 110\na=rtpmap:110 telephone-event/8000\na=rtpmap:99 pcmu/8000/1\n",
			Agreed{Codec: PCMU, PT: 99, EventsPT: 110, ReceiveEventsPT: 110, Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Send: true, Receive: true, Section: 0}, []uint16{20000}, nil},
		{"video is refused", "m=video 4002 RTP/AVP 31\nm=audio 4000 RTP/AVP 0\n", Agreed{Codec: PCMU, PT: 0, EventsPT: 0, ReceiveEventsPT: 0, Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Send: true, Receive: true, Section: 1}, []uint16{0, 20000}, nil},
		{"media address and hold", "m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.9\na=sendonly\n", Agreed{Codec: PCMU, PT: 0, EventsPT: 0, ReceiveEventsPT: 0, Remote: netip.MustParseAddrPort("192.0.2.9:4000"), Send: false, Receive: true, Section: 0}, []uint16{20000}, nil},
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
	f.Add([]byte("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + strings.Repeat("QUJD", 10) + "|2^31|1:1\r\n"))
	keyed := local
	keyed.Crypto = NewKeys("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		if len(MaskKeys(data)) != len(data) {
			t.Fatal("masking changes the length: parts of the message would be others")
		}
		answer, _, err := Answer(s, local)
		if err != nil {
			answer, _, err = Answer(s, keyed)
		}
		if err != nil {
			return
		}
		if again, err := Parse(answer.AppendTo(nil)); err != nil || len(again.Media) != len(s.Media) {
			t.Fatalf("our answer does not parse: %v", err)
		}
	})
}

// An a=crypto line is taken with its lifetime and its master key identifier,
// as Lync writes them; what we could not obey is passed over.
func TestCrypto(t *testing.T) {
	key := strings.Repeat("QUJD", 10) // 30 octets
	for value, want := range map[string]Crypto{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key:                   {Tag: 1, Suite: "AES_CM_128_HMAC_SHA1_80"},
		"2 AES_CM_128_HMAC_SHA1_32 inline:" + key + "|2^31|1:1":     {Tag: 2, Suite: "AES_CM_128_HMAC_SHA1_32", MKI: []byte{1}},
		"3 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^31":         {Tag: 3, Suite: "AES_CM_128_HMAC_SHA1_80"},
		"4 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|258:4 WSH=64": {Tag: 4, Suite: "AES_CM_128_HMAC_SHA1_80", MKI: []byte{0, 0, 1, 2}},
	} {
		got, ok := crypto(value)
		require.True(t, ok, value)
		want.Key = bytes.Repeat([]byte("ABC"), 10)
		require.Equal(t, want, got)
	}
	for _, value := range []string{
		"", "1", "x AES inline:QUJD", "1 AES_CM_128_HMAC_SHA1_80 " + key, "1 AES_CM_128_HMAC_SHA1_80 inline:***",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " UNENCRYPTED_SRTP", "1 A inline:" + key + ";inline:" + key,
		"1 A inline:" + key + "|1:129", "1 A inline:" + key + "|256:1", "1 A inline:" + key + "|x:1",
	} {
		_, ok := crypto(value)
		require.False(t, ok, value)
	}
}

// Offer and answer come to the same keys; the answer has one line with the tag
// of the offer, without lifetime and identifier. RTP in clear is not taken.
func TestAnswerSRTP(t *testing.T) {
	keys := func(b byte) []Crypto {
		return []Crypto{{Suite: "AES_CM_128_HMAC_SHA1_80", Key: bytes.Repeat([]byte{b}, 30)}, {Suite: "AES_CM_128_HMAC_SHA1_32", Key: bytes.Repeat([]byte{b + 1}, 30)}}
	}
	caller, callee := local, local
	caller.Crypto, callee.Crypto = keys(1), keys(11)
	offer := Offer(caller)
	require.Contains(t, string(offer.AppendTo(nil)), "m=audio 20000 RTP/SAVP 0")
	offer.Media[0].Attrs = slices.DeleteFunc(offer.Media[0].Attrs, func(a Attr) bool { return strings.HasPrefix(a.Value, "1 AES") }) // _32 alone is left
	answer, agreed, err := Answer(offer, callee)
	require.NoError(t, err)
	require.Equal(t, &Keys{2, "AES_CM_128_HMAC_SHA1_32", callee.Crypto[1].Key, caller.Crypto[1].Key, nil}, agreed.Keys)
	text := string(answer.AppendTo(nil))
	require.Equal(t, 1, strings.Count(text, "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:"))
	require.NotContains(t, text, "|")
	back, err := Accepted(answer, caller)
	require.NoError(t, err)
	require.Equal(t, &Keys{2, "AES_CM_128_HMAC_SHA1_32", caller.Crypto[1].Key, callee.Crypto[1].Key, nil}, back.Keys)

	_, _, err = Answer(Offer(local), callee)
	require.ErrorIs(t, err, ErrNoSecureAudio)
	_, _, err = Answer(offer, local)
	require.ErrorIs(t, err, ErrNoAudio)
	offer.Media[0].Attrs = nil
	_, _, err = Answer(offer, callee)
	require.ErrorIs(t, err, ErrNoKeys)

	masked := string(MaskKeys([]byte(text)))
	require.Len(t, masked, len(text))
	require.Contains(t, masked, "inline:****************************************\r\n")
	require.NotContains(t, masked, base64.StdEncoding.EncodeToString(callee.Crypto[1].Key))
	require.Equal(t, "v=0\r\nk=************\r\nA = Crypto:1 X Inline: ****|2^31", string(MaskKeys([]byte("v=0\r\nk=clear:secret\r\nA = Crypto:1 X Inline: QUJD|2^31"))))
	clear := []byte("v=0\r\na=label:inline\r\n")
	require.Equal(t, &clear[0], &MaskKeys(clear)[0])
}

// An answer's number for events is what we send with; what comes has ours.
func TestAsymmetricEvents(t *testing.T) {
	answer, err := Parse([]byte("v=0\no=x 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000\n"))
	require.NoError(t, err)
	l := local
	l.EventsPT = 101
	agreed, err := Accepted(answer, l)
	require.NoError(t, err)
	require.EqualValues(t, 96, agreed.EventsPT)
	require.EqualValues(t, 101, agreed.ReceiveEventsPT)
}
