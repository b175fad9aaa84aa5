package sim_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// hostile makes SIP messages with faults, after the parts of the grammar of
// RFC 3261 §25.1: each is a whole message of which up to three parts were
// replaced by an anomaly of their kind.
type hostile struct {
	r  *rand.Rand
	at netip.AddrPort // that they are sent to
	n  int
}

// part is a piece of a message and the kind of what may stand in its place.
type part struct{ text, kind string }

func (h *hostile) message() []byte {
	h.n++
	method := h.pick("INVITE", "INVITE", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "PRACK", "NOTIFY", "INFO", "REGISTER")
	body := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + strings.Repeat("A", 40) + "\r\n"
	if method != "INVITE" && method != "UPDATE" {
		body = ""
	}
	user := h.pick("4000", "4000", "4999", "")
	parts := []part{
		{method, "token"}, {" ", "space"}, {"sip:" + user + "@" + h.at.String() + ";transport=tcp", "uri"}, {" ", "space"}, {"SIP/2.0", "token"}, {"\r\n", "end"},
		{"Via: ", "name"}, {"SIP/2.0/TCP", "token"}, {" ", "space"}, {"127.0.0.1:9", "host"}, {";branch=", "param"}, {"z9hG4bKh" + strconv.Itoa(h.n), "token"}, {"\r\n", "end"},
		{"From: ", "name"}, {`"Ada" `, "quoted"}, {"<sip:7125550123@127.0.0.1>", "uri"}, {";tag=", "param"}, {"h", "token"}, {"\r\n", "end"},
		{"To: ", "name"}, {"<sip:4000@127.0.0.1>", "uri"}, {h.pick("", "", ";tag=nobody"), "param"}, {"\r\n", "end"},
		{"Call-ID: ", "name"}, {"h" + strconv.Itoa(h.n/3) + "@hostile", "token"}, {"\r\n", "end"},
		{"CSeq: ", "name"}, {strconv.Itoa(1 + h.n%7), "number"}, {" ", "space"}, {method, "token"}, {"\r\n", "end"},
		{"Contact: ", "name"}, {"<sip:gw@127.0.0.1:9;transport=tcp>", "uri"}, {"\r\n", "end"},
		{"Max-Forwards: ", "name"}, {"70", "number"}, {"\r\n", "end"},
		{"Diversion: ", "name"}, {"<tel:4021>", "uri"}, {";reason=", "param"}, {"no-answer", "token"}, {"\r\n", "end"},
		{"Session-Expires: ", "name"}, {"1800", "number"}, {";refresher=uac", "param"}, {"\r\n", "end"},
		{"Record-Route: ", "name"}, {"<sip:127.0.0.1:7;lr>", "uri"}, {"\r\n", "end"},
		{"Supported: ", "name"}, {"timer, 100rel", "token"}, {"\r\n", "end"},
		{"Content-Type: ", "name"}, {"application/sdp", "token"}, {"\r\n", "end"},
		{"Content-Length: ", "name"}, {strconv.Itoa(len(body)), "number"}, {"\r\n", "end"}, {"\r\n", "end"}, {body, "body"},
	}
	for range h.r.IntN(4) {
		h.spoil(parts)
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return []byte(b.String())
}

func (h *hostile) pick(list ...string) string { return list[h.r.IntN(len(list))] }

// spoil replaces one part, drops it, or says it twice.
func (h *hostile) spoil(parts []part) {
	p := &parts[h.r.IntN(len(parts))]
	long := strings.Repeat(h.pick("a", "%s", "../", "\x00", "\xff", "<", "\"", "(", ";x", ",", "é"), 1<<h.r.IntN(13))
	switch h.r.IntN(8) {
	case 0:
		p.text = ""
	case 1:
		p.text += p.text
	case 2:
		p.text += long
	default:
		p.text = map[string]string{
			"token":  h.pick("", "\x00", "%n%n", "\x80\xfe", "a b", "z9hG4bK", "\t", long),
			"space":  h.pick("", "  ", "\t", "\r\n ", "\x0b"),
			"uri":    h.pick("sip:", "sip:@", "sip:%00@x", "<sip:x", "sip:x>", "tel:", "sips:a@b", "http://x", "sip:a@[::1", "sip:a@:99999", "*", "<sip:[2001:db8::1]:5060;maddr=x?a=b>", "sip:"+long+"@x", long),
			"host":   h.pick("", "[::1]:9", "256.256.256.256:70000", "a..b", "-", "127.0.0.1:-1", long),
			"param":  h.pick(";", ";;;", ";=", ";tag", ";tag=\"", ";a=b=c", "; lr ;lr", ";rport;rport=1", long),
			"name":   h.pick("", ":", "Via", "v: ", "X y: ", " From: ", "\r\n", "L : ", long+": "),
			"path":   h.pick("", "<", ">", "<>", "<a@", "<@x,@y:a@b>", "a@b", `<"a\"@b"@c>`, `<"@b>`, "<a b@c>", "<@>", "<a@[127.0.0.1]>", "<é@x>", "<"+long+"@x>", long),
			"number": h.pick("", "-1", "0", "4294967296", "18446744073709551616", "1e9", "0x10", "65535", " 7", long),
			"quoted": h.pick(`"`, `"\"`, `""""`, `"a\`, `\`, long),
			"end":    h.pick("", "\n", "\r", "\r\n\r\n", "\r\n ", "\n\n"),
			"body":   h.pick("", "v=0", "v=9\r\n", "\r\n\r\n", "m=audio 1 RTP/AVP 999\r\n", "v=0\r\nm=audio 6000 RTP/AVP 0\r\nc=IN IP4\r\n", "a=crypto:\r\n", long),
		}[p.kind]
	}
}

// segments cuts a stream of messages as networks do: whole, in pieces, or octet
// by octet.
func (h *hostile) segments(b []byte) [][]byte {
	size := len(b)
	switch h.r.IntN(4) {
	case 0:
		size = 1 + h.r.IntN(100)
	case 1:
		size = 1000 + h.r.IntN(3000)
	}
	if h.r.IntN(50) == 0 {
		size, b = 1, b[:min(len(b), 600)]
	}
	var list [][]byte
	for len(b) > 0 {
		n := min(size, len(b))
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

// Whatever comes, over TCP and over TLS: the next OPTIONS is answered, nothing
// panics, and nothing of it is kept. EXSIM_SOAK makes it a million messages.
func TestHostileMessages(t *testing.T) {
	messages, seed := 20_000, rand.Uint64()
	if os.Getenv("EXSIM_SOAK") != "" {
		messages = 1_000_000
	}
	t.Logf("seed %d", seed)
	l := startLab(t, "2016", 91, "", func(o *org.Organisation) {
		o.Router.UMStartupMode, o.Servers[0].UMStartupMode = org.ModeDual, org.ModeDual
		o.Gateways[0].FQDN = "gw1.contoso.lab"
	})
	mutual, err := l.MutualTLS("gw1.contoso.lab")
	require.NoError(t, err)
	dial := func(row string) net.Conn {
		at := l.Listener("EX1", row).Addr()
		nc, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(l.addr(30)), 0)), net.TCPAddrFromAddrPort(at))
		require.NoError(t, err)
		if !strings.HasSuffix(row, "-tls") {
			return nc
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c, err := mutual.Client(ctx, nc, "")
		require.NoError(t, err)
		return c
	}
	h := &hostile{r: rand.New(rand.NewPCG(seed, 1))}
	rows := []string{"call-router", "um-service", "um-worker", "call-router-tls", "um-worker-tls"}
	before := runtime.NumGoroutine()
	for batch := 0; h.n < messages; batch++ {
		row := rows[batch%len(rows)]
		h.at = l.Listener("EX1", row).Addr()
		c := dial(row)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, c)
		}()
		var b []byte
		for range 1 + h.r.IntN(50) {
			b = append(b, h.message()...)
		}
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(20*time.Second)))
		for _, s := range h.segments(b) {
			if _, err := c.Write(s); err != nil {
				break // the end of a message was lost, and the stream with it
			}
		}
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		select {
		case <-drained:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection is not ended behind its last message")
		}
		_ = c.Close()

		c = dial(row)
		fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKo%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: o%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", h.at, batch, batch)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		answer := make([]byte, 12)
		_, err := io.ReadFull(c, answer)
		require.NoError(t, err, "batch %d", batch)
		require.Equal(t, "SIP/2.0 200 ", string(answer))
		_ = c.Close()
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+50 }, 60*time.Second, 100*time.Millisecond)
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "bench.fault" }))
	answered := l.count(func(e *trace.Event) bool { return e.Name == "um.answered" })
	t.Logf("%d messages, of which %d were answered as calls", h.n, answered)
	require.NotZero(t, answered, "some of it is good enough to be served")
}

// Five gateways hold a thousand idle connections each, one more floods with
// INVITEs that it never acknowledges: a good one keeps its service.
func TestFlood(t *testing.T) {
	l := startLab(t, "2016", 92, "", func(o *org.Organisation) {
		for i := range 6 {
			g := o.Gateways[0]
			g.Name, g.Address = fmt.Sprint("idle", i), netip.MustParseAddr(fmt.Sprintf("127.0.92.%d", 100+i))
			o.Gateways = append(o.Gateways, g)
			o.HuntGroups = append(o.HuntGroups, org.HuntGroup{Name: "of " + g.Name, Gateway: g.Name, DialPlan: "Lab"})
		}
	})
	at := net.TCPAddrFromAddrPort(l.at("call-router"))
	dial := func(host int) net.Conn {
		c, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 92, byte(host))}, at)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 5000 {
		dial(100 + i%5)
	}
	beyond := dial(100)
	require.NoError(t, beyond.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := beyond.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Contains(t, l.await("sip.refused", 5*time.Second).Text("why"), "1000 connections")
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("an idle connection, both ends: %d octets", (int64(after.HeapInuse+after.StackInuse)-int64(before.HeapInuse+before.StackInuse))/5000)

	flood := dial(105)
	stop := make(chan struct{})
	flooded := make(chan int)
	go func() { _, _ = io.Copy(io.Discard, flood) }()
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				flooded <- n
				return
			default:
			}
			n++
			fmt.Fprintf(flood, "INVITE sip:4000@x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.92.105:9;branch=z9hG4bKf%d\r\nFrom: <sip:1@x>;tag=1\r\nTo: <sip:4000@x>\r\nCall-ID: f%d\r\nCSeq: 1 INVITE\r\nContact: <sip:1@127.0.92.105>\r\nContent-Length: 0\r\n\r\n", n, n)
		}
	}()
	g := startGateway(t, l)
	for range 5 {
		c, err := g.Call(t.Context(), params(l))
		require.NoError(t, err)
		require.NoError(t, c.Hangup(t.Context()))
	}
	close(stop)
	n := <-flooded
	refused := l.count(func(e *trace.Event) bool { return e.Name == "sip.sent" && e.Int("status") == 503 })
	t.Logf("%d INVITEs of the flood, %d answered 503", n, refused)
	if n > 60_000 {
		require.NotZero(t, refused)
	}
}
