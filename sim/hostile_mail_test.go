package sim_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// session is one of mail of which up to three parts were replaced by an anomaly of
// their kind, or lines were mixed up.
func (h *hostile) session() []byte {
	h.n++
	size := h.pick("5", "0", "12", "20000")
	chunk := strings.Repeat("x", 12)
	lines := [][]part{
		{{h.pick("EHLO", "EHLO", "HELO"), "token"}, {" ", "space"}, {"mx.fabrikam.example", "name"}, {"\r\n", "end"}},
		{{"MAIL FROM:", "token"}, {"<bob@fabrikam.example>", "path"}, {h.pick("", " SIZE="+size, " BODY=8BITMIME", " BODY=BINARYMIME", " RET=FULL ENVID=a+20b"), "param"}, {"\r\n", "end"}},
		{{"RCPT TO:", "token"}, {h.pick("<alan@contoso.lab>", "<ada@contoso.lab>", "<x@elsewhere.example>", "<>"), "path"}, {h.pick("", " NOTIFY=NEVER", " ORCPT=rfc822;a@b"), "param"}, {"\r\n", "end"}},
		{{"RCPT TO:", "token"}, {"<ada@contoso.lab>", "path"}, {"\r\n", "end"}},
	}
	switch h.r.IntN(6) {
	case 0:
		lines = append(lines, []part{{"BDAT ", "token"}, {"12", "number"}, {h.pick("", " LAST"), "param"}, {"\r\n", "end"}, {chunk, "body"}})
	case 1:
		lines = append(lines, []part{{"AUTH ", "token"}, {h.pick("NTLM", "LOGIN", "GSSAPI", "PLAIN"), "token"}, {h.pick("", " TlRMTVNTUAABAAAA", " ="), "param"}, {"\r\n", "end"}, {"TlRMTVNTUAADAAAA", "token"}, {"\r\n", "end"}})
	case 2:
		lines = append(lines, []part{{"XEXCH50 ", "token"}, {"12", "number"}, {" 2", "number"}, {"\r\n", "end"}, {chunk, "body"}})
	default:
		lines = append(lines, []part{{"DATA", "token"}, {"\r\n", "end"}, {"Subject: ", "name"}, {"hostile", "token"}, {"\r\n", "end"}, {"\r\n", "end"}, {".hello\r\n..\r\n", "body"}, {".\r\n", "end"}})
	}
	lines = append(lines, []part{{h.pick("RSET", "NOOP", "VRFY x", "HELP", "EXPN y"), "token"}, {"\r\n", "end"}}, []part{{"QUIT", "token"}, {"\r\n", "end"}})
	if h.r.IntN(4) == 0 {
		i, k := h.r.IntN(len(lines)), h.r.IntN(len(lines))
		lines[i], lines[k] = lines[k], lines[i]
	}
	var parts []part
	for _, l := range lines {
		parts = append(parts, l...)
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

// open takes everything off a front end that would keep hostile sessions few.
func open(o *org.Organisation) {
	o.ReceiveConnectors = append(o.ReceiveConnectors, connectors("name: Default Frontend EX1, server: EX1, tarpit-interval: 0s, auth-tarpit-interval: 0s, "+
		"max-inbound-connection: 0, max-inbound-connection-per-source: 0, max-inbound-connection-percentage-per-source: 100, connection-inactivity-timeout: 20s")...)
}

// speak is a session as it is written, and all that is answered.
func speak(nc net.Conn, pieces [][]byte) (answers string) {
	return speakFor(nc, pieces, 20*time.Second)
}

// speakFor is speak with a limit of time.
func speakFor(nc net.Conn, pieces [][]byte, limit time.Duration) (answers string) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(limit))
	done := make(chan string)
	go func() {
		b, _ := io.ReadAll(nc)
		done <- string(b)
	}()
	for _, p := range pieces {
		if _, err := nc.Write(p); err != nil {
			break // the session was ended by the server
		}
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return <-done
}

// Whatever a session says, in clear and behind TLS: each answer has a code and an
// end, the next session is served, nothing panics, and nothing of it is kept.
// EXSIM_SOAK makes it a million sessions.
func TestHostileSessions(t *testing.T) {
	sessions, seed := 4_000, rand.Uint64()
	if os.Getenv("EXSIM_SOAK") != "" {
		sessions = 1_000_000
	}
	t.Logf("seed %d", seed)
	l := startLab(t, "2016", 192, "", open)
	at := l.at("default-frontend").String()
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", at)
		require.NoError(t, err)
		return nc
	}
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() {
			h := &hostile{r: rand.New(rand.NewPCG(seed, uint64(w)))}
			for h.n < sessions/workers && !t.Failed() {
				nc := dial()
				if h.r.IntN(8) == 0 {
					nc = secure(nc)
				}
				answers := speak(nc, h.segments(h.session()))
				for line := range strings.SplitSeq(strings.TrimSuffix(answers, "\r\n"), "\r\n") {
					if answers != "" && !replyLine(line) {
						t.Errorf("%q is no line of a reply, in %q", line, answers)
					}
				}
				if h.n%100 == 0 {
					if got := speak(dial(), [][]byte{[]byte("EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ada@contoso.lab>\r\nQUIT\r\n")}); !strings.Contains(got, "250 2.1.5 Recipient OK") {
						t.Errorf("session %d: the next one is answered %q", h.n, got)
					}
				}
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+50 }, 60*time.Second, 100*time.Millisecond)
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "bench.fault" }))
	delivered := l.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" })
	t.Logf("%d sessions, of which %d left a message", sessions, delivered)
	require.NotZero(t, delivered, "some of it is good enough to be served")
}

func replyLine(line string) bool {
	_, err := strconv.Atoi(line[:min(3, len(line))])
	return err == nil && len(line) > 3 && (line[3] == ' ' || line[3] == '-')
}

// secure begins TLS; what a session cannot do is left to the server to answer.
func secure(nc net.Conn) net.Conn {
	r := bufio.NewReader(nc)
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	read := func() {
		for {
			line, err := r.ReadString('\n')
			if err != nil || len(line) < 4 || line[3] == ' ' {
				return
			}
		}
	}
	read()
	fmt.Fprint(nc, "EHLO a.example\r\n")
	read()
	fmt.Fprint(nc, "STARTTLS\r\n")
	read()
	return tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
}

// A line, a header section and a message without end: each has a clear answer, and
// none takes memory with it. EXSIM_SOAK makes them a gigabyte each.
func TestEndless(t *testing.T) {
	size := 64 << 20
	if os.Getenv("EXSIM_SOAK") != "" {
		size = 1 << 30
	}
	l := startLab(t, "2016", 193, "", open)
	const begin = "EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ada@contoso.lab>\r\n"
	for _, tt := range []struct{ name, first, again, last, want string }{
		{"a command line", "EHLO a.example\r\nNOOP ", strings.Repeat("x", 1<<16), "\r\nQUIT\r\n", "500 5.3.3 "},
		{"a recipient", begin[:len(begin)-2], strings.Repeat("x", 1<<16), "\r\nQUIT\r\n", "500 5.3.3 "},
		{"a log-on", "EHLO a.example\r\nX-EXPS NTLM\r\n", strings.Repeat("A", 1<<16), "\r\nQUIT\r\n", "\r\n5"},
		{"a header section", begin + "DATA\r\n", strings.Repeat("X-Field: "+strings.Repeat("x", 990)+"\r\n", 64), "\r\n\r\nhi\r\n.\r\nQUIT\r\n", "552 5.3.4"},
		{"a line of a message", begin + "DATA\r\n\r\n", strings.Repeat("x", 1<<16), "\r\n.\r\nQUIT\r\n", "552 5.3.4"},
		{"lines of a message", begin + "DATA\r\n\r\n", strings.Repeat("x\r\n", 1<<14), ".\r\nQUIT\r\n", "552 5.3.4"},
		{"small chunks", begin, strings.Repeat("BDAT 1\r\nx", 1<<13), "BDAT 0 LAST\r\nQUIT\r\n", "552 5.3.4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", l.at("default-frontend").String())
			require.NoError(t, err)
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			pieces := [][]byte{[]byte(tt.first)}
			total := size
			if tt.name == "small chunks" {
				total = 4 << 20 // each has an answer, which the test keeps
			}
			again := []byte(tt.again)
			for range total / len(again) {
				pieces = append(pieces, again)
			}
			got := speakFor(nc, append(pieces, []byte(tt.last)), 5*time.Minute)
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.Contains(t, got[max(0, len(got)-2000):], tt.want)
			require.Less(t, int64(after.HeapInuse)-int64(before.HeapInuse), int64(40<<20), "memory is kept")
		})
	}
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "bench.fault" }))
}

// Five thousand connections at once, as many as a connector takes: one more is told
// so, those that are there are served, and they cost little.
func TestManyConnections(t *testing.T) {
	l := startLab(t, "2016", 194, "")
	at := net.TCPAddrFromAddrPort(l.at("default-frontend"))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	dial := func(n int) (net.Conn, string) {
		nc, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, byte(194+n/5000), byte(1+n/20%250))}, at)
		require.NoError(t, err)
		t.Cleanup(func() { _ = nc.Close() })
		require.NoError(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
		b := make([]byte, 512)
		k, err := nc.Read(b)
		require.NoError(t, err)
		return nc, string(b[:k])
	}
	var conns []net.Conn
	for n := range 5000 {
		nc, banner := dial(n)
		require.Contains(t, banner, "220 ", "connection %d", n)
		conns = append(conns, nc)
	}
	_, answer := dial(5000)
	require.Contains(t, answer, "421 4.3.2 ")
	var wg sync.WaitGroup
	for _, nc := range conns {
		wg.Go(func() {
			if _, err := io.WriteString(nc, "EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ada@contoso.lab>\r\n"); err != nil {
				t.Error(err)
			}
			r := bufio.NewReader(nc)
			for {
				line, err := r.ReadString('\n')
				if err != nil || strings.HasPrefix(line, "250 2.1.5") {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	wg.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("a connection, both ends: %d octets", (int64(after.HeapInuse+after.StackInuse)-int64(before.HeapInuse+before.StackInuse))/5000)
	require.NoError(t, conns[0].Close())
	require.Eventually(t, func() bool { // its place is free again
		nc, err := net.DialTCP("tcp", &net.TCPAddr{IP: netip.MustParseAddr("127.0.194.1").AsSlice()}, at)
		if err != nil {
			return false
		}
		defer nc.Close()
		b := make([]byte, 4)
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = io.ReadFull(nc, b)
		return err == nil && string(b) == "220 "
	}, 20*time.Second, 50*time.Millisecond)
}
