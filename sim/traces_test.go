package sim_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
)

// rawCaller writes SIP by hand from the gateway's address.
type rawCaller struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// rawCall connects to a listener, over TLS where the listener wants it.
func rawCall(t *testing.T, l *lab, to netip.AddrPort, secure bool) *rawCaller {
	t.Helper()
	conn, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(30)), to)
	require.NoError(t, err)
	if secure {
		mutual, err := l.MutualTLS("gw1.contoso.lab")
		require.NoError(t, err)
		conn, err = mutual.Client(context.Background(), conn, "")
		require.NoError(t, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &rawCaller{t, conn, bufio.NewReader(conn)}
}

// send writes a message; lines end in \n here, and the length is filled in.
func (c *rawCaller) send(head, body string) {
	c.t.Helper()
	text := strings.ReplaceAll(fmt.Sprintf("%s\nContent-Length: %d\n\n", strings.TrimSpace(head), len(strings.ReplaceAll(body, "\n", "\r\n")))+body, "\n", "\r\n")
	_, err := io.WriteString(c.conn, text)
	require.NoError(c.t, err)
}

// answer reads the next final answer: its status line and header lines as they
// were written, and its body.
func (c *rawCaller) answer() (lines []string, body string) {
	c.t.Helper()
	for {
		lines = nil
		length := 0
		for {
			line, err := c.r.ReadString('\n')
			require.NoError(c.t, err)
			if line = strings.TrimSuffix(line, "\r\n"); line == "" {
				break
			}
			lines = append(lines, line)
			if name, v, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
				length, err = strconv.Atoi(textproto.TrimString(v))
				require.NoError(c.t, err)
			}
		}
		b := make([]byte, length)
		_, err := io.ReadFull(c.r, b)
		require.NoError(c.t, err)
		if !strings.HasPrefix(lines[0], "SIP/2.0 1") {
			return lines, string(b)
		}
	}
}

// The redirect of the public trace of Exchange 2010 SP1, header by header, and
// followed as its caller would have had to.
func TestTraceOfRedirect(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2010-sp1", 141, "", func(o *org.Organisation) { o.HuntGroups[0].Pilot = "101" })
	worker := l.at("um-worker")
	invite := func(uri, branch string) string {
		return fmt.Sprintf(`INVITE %s SIP/2.0
Via: SIP/2.0/TCP %s:5060;branch=z9hG4bK%s
Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKphone
From: <sip:200@pabx.local>;tag=77
To: <sip:101@pabx.local;user=phone>
Call-ID: trace-1
CSeq: 1 INVITE
Contact: <sip:200@%s:5060;transport=tcp>
Content-Type: application/sdp`, uri, l.addr(30), branch, l.addr(30))
	}
	const offer = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 30000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n"
	c := rawCall(t, l, l.at("um-service"), false)
	c.send(invite("sip:101@pabx.local;user=phone;maddr=pabx.local", "a"), offer)
	lines, body := c.answer()
	require.Empty(t, body)
	require.Regexp(t, `^TO: <sip:101@pabx\.local;user=phone>;epid=[0-9A-F]{10};tag=[0-9a-f]{10}$`, lines[2])
	contact := fmt.Sprintf("<sip:101@pabx.local:%d;user=phone;transport=Tcp;maddr=pabx.local>", worker.Port())
	require.Equal(t, []string{
		"SIP/2.0 302 Moved Temporarily",
		"FROM: <sip:200@pabx.local>;tag=77",
		lines[2],
		"CSEQ: 1 INVITE",
		"CALL-ID: trace-1",
		"VIA: SIP/2.0/TCP " + l.addr(30) + ":5060;branch=z9hG4bKa,SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKphone",
		"CONTACT: " + contact,
		"CONTENT-LENGTH: 0",
		"SERVER: RTCC/3.5.0.0 ",
	}, lines)
	c.send(fmt.Sprintf("ACK sip:101@pabx.local;user=phone;maddr=pabx.local SIP/2.0\nVia: SIP/2.0/TCP %s:5060;branch=z9hG4bKa\nFrom: <sip:200@pabx.local>;tag=77\n%s\nCall-ID: trace-1\nCSeq: 1 ACK", l.addr(30), lines[2]), "")

	c = rawCall(t, l, worker, false)
	c.send(invite(strings.Trim(contact, "<>"), "b"), offer)
	lines, body = c.answer()
	require.Equal(t, "SIP/2.0 200 OK", lines[0])
	require.Contains(t, body, "m=audio ")

	// maddr comes back only where it was asked for.
	c = rawCall(t, l, l.at("um-service"), false)
	c.send(strings.Replace(invite("sip:101@pabx.local", "c"), "tag=77", "tag=78", 1), offer) // no copy of the first, whose ACK may be on its way
	lines, _ = c.answer()
	require.Contains(t, lines, fmt.Sprintf("CONTACT: <sip:101@pabx.local:%d;transport=Tcp>", worker.Port()))
}

// The answer of the public trace of Exchange Online, header by header and line
// by line, and the refusals that its author met.
func TestTraceOfAnswer(t *testing.T) {
	t.Parallel()
	l := startLab(t, "online-2015", 142, "", func(o *org.Organisation) { o.HuntGroups[0].Pilot = "87000" })
	worker := l.at("um-worker-tls")
	call := func(id, to, more string) ([]string, string) {
		t.Helper()
		c := rawCall(t, l, worker, true)
		c.send(fmt.Sprintf(`INVITE sip:87000@%s:5061;transport=tls SIP/2.0
Record-Route: <sip:192.0.2.9;transport=tls;lr>
Via: SIP/2.0/TLS %s:5061;branch=z9hG4bK%s
From: <sip:7125550123@%s>;tag=77
To: <sip:87000@%s>
Call-ID: %s
CSeq: 1 INVITE
Contact: <sip:7125550123@%s:5061;transport=tls>
Supported: timer
Session-Expires: 1800
Content-Type: application/sdp`, l.addr(10), l.addr(30), id, l.addr(30), to, id, l.addr(30)),
			"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 31182 RTP/SAVP 0 101\n"+
				"a=rtpmap:101 telephone-event/8000\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n"+more)
		return c.answer()
	}
	lines, body := call("t1", "contoso.lab", "")
	var names []string
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{
		"FROM", "TO", "CSEQ", "CALL-ID", "VIA", "Record-Route", "CONTACT", "PRIORITY", "SUPPORTED", "SUPPORTED", "SUPPORTED", "ALLOW", "Allow",
		"P-ASSERTED-IDENTITY", "SERVER", "Content-ID", "Session-Expires", "Min-SE", "CONTENT-TYPE", "CONTENT-LENGTH",
	}, names)
	for _, line := range []string{
		"SIP/2.0 200 OK",
		"Record-Route: <sip:192.0.2.9;transport=tls;lr>",
		fmt.Sprintf("CONTACT: <sip:%s;transport=tls>;automata;text;audio;video;image", worker),
		"PRIORITY: Normal", "SUPPORTED: Replaces", "SUPPORTED: timer", "SUPPORTED: 100rel",
		"ALLOW: ACK", "Allow: CANCEL,BYE,INVITE,MESSAGE,INFO,SERVICE,OPTIONS,BENOTIFY,NOTIFY,PRACK,UPDATE",
		"P-ASSERTED-IDENTITY: <sip:87000@" + l.addr(10) + ">",
		"SERVER: RTCC/5.0.0.0 MSExchangeUM/15.01.0231.021",
		"Session-Expires: 1800;refresher=uac", "Min-SE: 1800",
	} {
		require.Contains(t, lines, line)
	}
	require.Regexp(t, `^TO: .*;tag=[0-9a-f]{10}$`, lines[2])
	require.Regexp(t, `^v=0
o=- \d+ 0 IN IP4 ADDR
s=session
c=IN IP4 ADDR
b=CT:10000000
t=0 0
m=audio \d+ RTP/SAVP 0 101
c=IN IP4 ADDR
a=label:main-audio
a=sendrecv
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16,36
a=ptime:20
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:[A-Za-z0-9+/=]{40}
$`, strings.NewReplacer("\r\n", "\n", l.addr(10), "ADDR").Replace(body))

	for id, refused := range map[string]struct{ to, more string }{
		"t2": {"example.com", ""},
		"t3": {"contoso.lab", "a=rtcp-mux\n"},
		"t4": {"contoso.lab", "a=candidate:1 1 UDP 2130706431 192.0.2.1 31182 typ host\n"},
	} {
		lines, _ := call(id, refused.to, refused.more)
		require.Equal(t, "SIP/2.0 488 Not Acceptable Here", lines[0], id)
	}
	var checks []string
	for e := range l.Trace().Events() {
		if e.Name == "um.refused" {
			checks = append(checks, e.Text("check")+" "+e.Text("standing"))
		}
	}
	require.ElementsMatch(t, []string{"called-host observed", "offer observed", "offer observed"}, checks)
}
