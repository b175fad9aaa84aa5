package integrity

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths/record"
)

const invite = "INVITE sip:probe@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1:40000;branch=z9hG4bK-1\r\nMax-Forwards: 70\r\nFrom: <sip:a@10.0.0.1>;tag=1\r\n" +
	"To: <sip:b@10.0.0.2>\r\nCall-ID: c1\r\nCSeq: 2 INVITE\r\nDiversion: <sip:1001@x>\r\nContact: <sip:a@10.0.0.1:40000>\r\nContent-Type: application/sdp\r\nContent-Length: 43\r\n\r\n" +
	"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 40000 RTP\r\n"

func named(list []Change) []string {
	var out []string
	for _, c := range list {
		out = append(out, string(c.Rating)+" "+c.Way+" "+c.What)
	}
	return out
}

func sip(change ...string) []string {
	return named(Compare("SIP", &record.Stream{Sent: []byte(invite)}, &record.Stream{Received: []byte(strings.NewReplacer(change...).Replace(invite))}))
}

// Each change of a SIP message is named and rated.
func TestSIP(t *testing.T) {
	require.Empty(t, sip())
	for _, tt := range []struct {
		change []string
		want   []string
	}{
		{[]string{"Via: SIP/2.0/TCP 10.0.0.1:40000", "Via: SIP/2.0/TCP 192.0.2.1:1024"}, []string{"risky out Via of INVITE"}},
		{[]string{"Contact: <sip:a@10.0.0.1", "Contact: <sip:a@192.0.2.1"}, []string{"breaking out Contact of INVITE"}},
		{[]string{"Contact:", "m:"}, nil}, // the compact form says the same
		{[]string{"Diversion: <sip:1001@x>\r\n", ""}, []string{"breaking out Diversion of INVITE"}},
		{[]string{"Max-Forwards: 70", "Max-Forwards: 69"}, []string{"harmless out Max-Forwards of INVITE"}},
		{[]string{"Max-Forwards: 70\r\n", "", "To: ", "Max-Forwards: 70\r\nTo: "}, []string{"harmless out order of headers of INVITE"}},
		{[]string{"CSeq: 2 INVITE\r\n", "CSeq: 2 INVITE\r\nRecord-Route: <sip:x;lr>\r\n"}, []string{"risky out Record-Route of INVITE"}},
		{[]string{"c=IN IP4 10.0.0.1", "c=IN IP4 10.0.0.9"}, []string{"breaking out SDP c= of INVITE"}},
		{[]string{"m=audio 40000", "m=audio 40002"}, []string{"breaking out SDP m= of INVITE"}},
		{[]string{"Content-Length: 43", "Content-Length: 40"}, []string{"breaking out Content-Length of INVITE", "breaking out SDP m= of INVITE", "risky out P"}}, // the rest of the body is taken for a message
		{[]string{"c=IN IP4 10.0.0.1", "c=IN IP4 192.0.2.10", "Content-Length: 43", "Content-Length: 45"}, []string{"breaking out SDP c= of INVITE"}},
		{[]string{"sip:probe@10.0.0.2", "sip:probe@10.0.0.3"}, []string{"breaking out first line of INVITE"}},
		{[]string{invite, ""}, []string{"breaking out INVITE"}},
		{[]string{invite, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + invite}, []string{"breaking out PROXY line"}},
	} {
		require.Equal(t, tt.want, sip(tt.change...), "%q", tt.change)
	}
}

const greeting = "220 x ready\r\n250-x Hello\r\n250-SIZE 10\r\n250-STARTTLS\r\n250-AUTH NTLM\r\n250 CHUNKING\r\n220 go\r\n"

func smtp(change ...string) []string {
	return named(Compare("SMTP", &record.Stream{Received: []byte(strings.NewReplacer(change...).Replace(greeting))}, &record.Stream{Sent: []byte(greeting)}))
}

// Each change of an SMTP dialogue is named and rated.
func TestSMTP(t *testing.T) {
	require.Empty(t, smtp())
	require.Empty(t, smtp("220 go\r\n", "220 go\r\n\x16\x03\x01secret"), "what follows is inside TLS")
	require.Equal(t, []string{"risky back banner"}, smtp("220 x ready", "220 ********"))
	require.Equal(t, []string{"breaking back EHLO STARTTLS"}, smtp("250-STARTTLS\r\n", ""))
	require.Equal(t, []string{"breaking back EHLO STARTTLS", "breaking back EHLO XXXXXXXX"}, smtp("STARTTLS", "XXXXXXXX"))
	require.Equal(t, []string{"risky back EHLO CHUNKING"}, smtp("250-AUTH NTLM\r\n250 CHUNKING", "250 AUTH NTLM"))
	require.Equal(t, []string{"breaking back EHLO AUTH"}, smtp("AUTH NTLM", "AUTH LOGIN"))
	require.Equal(t, []string{"breaking back reply 3"}, smtp("220 go", "500 no"))
	out := func(sent, got string) []string {
		return named(Compare("SMTP", &record.Stream{Sent: []byte(sent)}, &record.Stream{Received: []byte(got)}))
	}
	require.Equal(t, []string{"breaking out command EHLO"}, out("EHLO a\r\n", "XXXX a\r\n"))
	require.Equal(t, []string{"breaking out command DATA"}, out("EHLO a\r\nDATA\r\n", "EHLO a\r\n"))
}

// Two handshakes where one was meant betray themselves.
func TestTLS(t *testing.T) {
	near := &record.Stream{TLS: &record.TLS{Version: "TLS 1.3", Suite: "A", Own: "me", Peer: "you"}}
	far := &record.Stream{TLS: &record.TLS{Version: "TLS 1.3", Suite: "A", Own: "you", Peer: "me"}}
	require.Empty(t, Compare("", near, far))
	far.TLS.Own, far.TLS.Version, far.TLS.Peer = "other", "TLS 1.2", "proxy"
	require.Equal(t, []string{"breaking back certificate", "breaking out client certificate", "risky out TLS version"}, named(Compare("", near, far)))
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte(invite), []byte(greeting))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, protocol := range []string{"SIP", "SMTP"} {
			x, y := &record.Stream{Sent: a, Received: b}, &record.Stream{Sent: b, Received: a}
			if list := Compare(protocol, x, y); len(list) != 0 {
				t.Fatalf("what arrived as it was sent has changes: %v", list)
			}
			Compare(protocol, x, &record.Stream{Sent: a, Received: b})
		}
	})
}
