package sip_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sipgo "github.com/emiago/sipgo"
	sipmsg "github.com/emiago/sipgo/sip"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sip"
)

// Any split of the stream, and many messages in one segment, give the same
// answers.
func TestFraming(t *testing.T) {
	s := newTestServer(t)
	probe := s.connect(t)
	var all []byte
	for i := range 4 {
		all = append(all, probe.request("OPTIONS", "sip:x@127.0.0.1", fmt.Sprintf("frame%d", i), "")...)
		all = append(all, "\r\n"...) // line ends between messages are ignored
	}
	for _, size := range []int{len(all), 1, 2, 7, 100, 333} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := s.connect(t)
			for rest := all; len(rest) > 0; {
				n := min(size, len(rest))
				p.write(rest[:n])
				rest = rest[n:]
			}
			for i := range 4 {
				m := p.response()
				require.Equal(t, "200", m.status)
				require.Equal(t, fmt.Sprintf("frame%d", i), m.header.Get("Call-Id"))
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	p := newTestServer(t).connect(t)
	p.write([]byte("\r\n\r\n"))
	b := make([]byte, 2)
	_, err := p.r.Read(b)
	require.NoError(t, err)
	require.Equal(t, "\r\n", string(b))
	p.wantAlive()
}

// What can be answered is; the connection ends only where the stream is lost,
// and the listener never does.
func TestBadMessages(t *testing.T) {
	const via = "Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKx\r\n"
	const rest = "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: bad\r\n"
	tests := []struct {
		name, message, status string
		closed                bool
	}{
		{"no Via", "OPTIONS sip:x SIP/2.0\r\n" + rest + "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", "", false},
		{"no Content-Length", "OPTIONS sip:x SIP/2.0\r\n" + via + rest + "CSeq: 1 OPTIONS\r\n\r\n", "400", true},
		{"too large", "OPTIONS sip:x SIP/2.0\r\n" + via + rest + "CSeq: 1 OPTIONS\r\nContent-Length: 999999\r\n\r\n", "513", true},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", true},
		{"TLS, with the end of a head by chance", "\x16\x03\x01\x02\x00\x01\n\n", "", true},
		{"TLS, waiting for an answer", "\x16\x03\x01", "", true},
		{"endless head", "OPTIONS sip:x SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 8000), "", true},
		{"unknown method", "FROBNICATE sip:x@y SIP/2.0\r\n" + via + rest + "CSeq: 1 FROBNICATE\r\nContent-Length: 0\r\n\r\n", "501", false},
		{"REFER", "REFER sip:x@y SIP/2.0\r\n" + via + rest + "CSeq: 1 REFER\r\nContent-Length: 0\r\n\r\n", "405", false},
		{"no dialog", "BYE sip:x@y SIP/2.0\r\n" + via + "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: bad\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n", "481", false},
		{"CANCEL of nothing", "CANCEL sip:x@y SIP/2.0\r\n" + via + rest + "CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n", "481", false},
		{"stale head", "OPTIONS sip:x SIP/2.0\r\n" + via + rest + "CSeq: 1 OPTIONS\r\nMax-Forwards: xx\r\nContent-Length: 0\r\n\r\n" + strings.Repeat("y", 40000), "400", true},
	}
	s := newTestServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.connect(t)
			_, _ = p.conn.Write([]byte(tt.message)) // may be cut off by the close
			if tt.status != "" {
				require.Equal(t, tt.status, p.response().status)
			}
			if tt.closed {
				_, err := p.r.ReadByte()
				require.Error(t, err)
			} else {
				p.wantAlive()
			}
			s.connect(t).wantAlive()
		})
	}
}

// A CANCEL in the segment of its INVITE is handled behind it, each time.
func TestCancelBehindInvite(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	for i := range 100 {
		id := fmt.Sprintf("cancel%d", i)
		invite := p.requestIn("INVITE", "sip:wait@127.0.0.1", id, "", id, 1)
		cancel := p.requestIn("CANCEL", "sip:wait@127.0.0.1", id, "", id, 1)
		p.write(append(invite, cancel...))
		first, second := p.response(), p.response()
		require.Equal(t, "200", first.status)
		require.Contains(t, first.header.Get("Cseq"), "CANCEL")
		require.Equal(t, "487", second.status)
		require.Equal(t, first.header.Get("To"), second.header.Get("To"), "one tag (RFC 3261 §9.2)")
		p.write(p.requestIn("ACK", "sip:wait@127.0.0.1", id, "x", id, 1))
	}
	s.await(t, func() bool { return len(s.order) == 200 })
	for i := range 100 {
		require.Equal(t, []string{"INVITE", "cancelled"}, s.order[2*i:2*i+2])
	}
}

// A retransmitted INVITE gets the answer again until it is acknowledged, and
// the handler sees it once.
func TestRetransmittedInvite(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	invite := p.requestIn("INVITE", "sip:302@127.0.0.1", "again", "", "again", 1)
	p.write(invite)
	first := p.response()
	require.Equal(t, "302", first.status)
	p.write(invite)
	require.Equal(t, first, p.response())
	p.write(p.requestIn("ACK", "sip:302@127.0.0.1", "again", "x", "again", 1))
	p.wantAlive()

	invite = p.requestIn("INVITE", "sip:um@127.0.0.1", "answered", "", "answered", 1)
	p.write(invite)
	require.Equal(t, "200", p.response().status)
	p.write(invite) // absorbed: the 200 is the dialog's to repeat
	require.Eventually(t, func() bool { return strings.Count(strings.Join(s.seen(), " "), "INVITE") == 2 }, 5*time.Second, time.Millisecond)
}

func (s *testServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.order...)
}

func tagOf(to string) string {
	_, tag, _ := strings.Cut(to, "tag=")
	return tag
}

// A dialog: ACK, re-INVITE with a new target, INFO, BYE; a request with a lower
// CSeq is refused.
func TestDialog(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	const uri, id = "sip:um@127.0.0.1", "dialog"
	p.write(p.requestIn("INVITE", uri, id, "", "d1", 10))
	m := p.response()
	require.Equal(t, "200", m.status)
	tag := tagOf(m.header.Get("To"))
	p.write(p.requestIn("ACK", uri, id, tag, "d2", 10))
	d := s.answered(0)
	<-d.acked

	re := strings.Replace(string(p.requestIn("INVITE", uri, id, tag, "d3", 11)), "sip:gw@127.0.0.1:9>\r\nContent", "sip:moved@127.0.0.1:10>\r\nContent", 1)
	p.write([]byte(re))
	require.Equal(t, "200", p.response().status)
	p.write(p.requestIn("ACK", uri, id, tag, "d4", 11))
	require.Equal(t, "sip:moved@127.0.0.1:10", d.dialog.Target(), "RFC 3261 §12.2.2")
	p.write(p.requestIn("INFO", uri, id, tag, "d5", 12))
	require.Equal(t, "200", p.response().status)
	p.write(p.requestIn("INFO", uri, id, tag, "d6", 5))
	require.Equal(t, "500", p.response().status)
	p.write(p.requestIn("BYE", uri, id, tag, "d7", 13))
	require.Equal(t, "200", p.response().status)
	require.Equal(t, sip.EndBye, <-d.ended)
	p.write(p.requestIn("INFO", uri, id, tag, "d8", 14))
	require.Equal(t, "481", p.response().status)
}

// A 200 that is not acknowledged is repeated at T1, doubling up to T2, and the
// call ended by BYE behind 64*T1 (RFC 3261 §13.3.1.4). Time is the bubble's.
func TestNoACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ln := &oneConn{conn: ours, done: make(chan struct{})}
		h := &testServer{changed: make(chan struct{})}
		ep := sip.New(sip.Config{Handler: h, Allow: []string{"INVITE", "ACK", "BYE"}})
		go func() { _ = ep.Serve(ln) }()
		p := &peer{t: t, conn: theirs}
		begin := time.Now()
		arrived := make(chan string, 100)
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := theirs.Read(b)
				if err != nil {
					close(arrived)
					return
				}
				line, _, _ := strings.Cut(string(b[:n]), "\r\n")
				arrived <- fmt.Sprintf("%s at %s", line, time.Since(begin).Truncate(500*time.Millisecond))
			}
		}()
		p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "noack", "", "n1", 1))
		time.Sleep(40 * time.Second)
		d := h.answered(0)
		require.Equal(t, sip.EndNoACK, <-d.ended)
		require.NoError(t, ep.Close())
		var got []string
		for a := range arrived {
			got = append(got, a)
		}
		require.Equal(t, "SIP/2.0 200 OK at 0s", got[0])
		require.Equal(t, "SIP/2.0 200 OK at 500ms", got[1])
		require.Equal(t, "SIP/2.0 200 OK at 1.5s", got[2])
		require.Equal(t, "SIP/2.0 200 OK at 3.5s", got[3])
		require.True(t, strings.HasPrefix(got[len(got)-1], "BYE sip:gw@127.0.0.1:9 SIP/2.0 at 3"), got[len(got)-1])
		require.Len(t, got, 12)
	})
}

// Behind the BYE a call is remembered for 64*T1, and then nothing of it is
// left, whether it was redirected, answered, refused or given up.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ln := &oneConn{conn: ours, done: make(chan struct{})}
		h := &testServer{changed: make(chan struct{})}
		ep := sip.New(sip.Config{Handler: h, Allow: []string{"INVITE", "ACK", "CANCEL", "BYE"}})
		go func() { _ = ep.Serve(ln) }()
		p := &peer{t: t, conn: theirs, r: bufio.NewReader(theirs)}
		for i := range 20 {
			id := fmt.Sprint("call", i)
			p.write(p.requestIn("INVITE", "sip:302@127.0.0.1", id, "", id+".1", 1))
			require.Equal(t, "302", p.response().status)
			if i%2 == 0 { // the others give up, which is timer H's
				p.write(p.requestIn("ACK", "sip:302@127.0.0.1", id, "x", id+".1", 1))
			}
			p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", id, "", id+".2", 2))
			tag := tagOf(p.response().header.Get("To"))
			p.write(p.requestIn("ACK", "sip:um@127.0.0.1", id, tag, id+".3", 2))
			p.write(p.requestIn("BYE", "sip:um@127.0.0.1", id, tag, id+".4", 3))
			require.Equal(t, "200", p.response().status)
			p.write(p.requestIn("INVITE", "sip:wait@127.0.0.1", id+"w", "", id+".5", 1))
			p.write(p.requestIn("CANCEL", "sip:wait@127.0.0.1", id+"w", "", id+".5", 1))
			p.response()
			require.Equal(t, "487", p.response().status)
			p.write(p.requestIn("ACK", "sip:wait@127.0.0.1", id+"w", "x", id+".5", 1))
		}
		time.Sleep(31 * time.Second)
		require.NotZero(t, ep.Remembered(), "a retransmission may still come")
		time.Sleep(35 * time.Second)
		require.Zero(t, ep.Remembered())
		require.NoError(t, ep.Close())
	})
}

// oneConn is a listener that has one connection to give.
type oneConn struct {
	conn net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return named{c}, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// named gives a pipe the addresses of TCP.
type named struct{ net.Conn }

func (named) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (named) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5065} }

// One message must arrive in its time, however it drips; line ends between
// messages hurt nothing.
func TestSlowMessage(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.MessageTimeout = 150 * time.Millisecond })
	p := s.connect(t)
	p.write([]byte("\r\n"))
	slow := s.connect(t)
	go func() {
		for _, b := range []byte("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1\r\nX: " + strings.Repeat("y", 500)) {
			if _, err := slow.conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := slow.r.ReadByte()
	require.Error(t, err, "the slow message is cut off")
	p.wantAlive()
}

// Our caller against our server: redirect and answer, hang up from either
// side.
func TestCaller(t *testing.T) {
	s := newTestServer(t)
	c := newTestServer(t)
	to := netip.MustParseAddrPort(s.addr)
	invite := func(user string, ended chan sip.End) *sip.Invite {
		return &sip.Invite{
			To: to, URI: "sip:" + user + "@" + s.addr, From: "<sip:gw@127.0.0.1>", ToURI: "<sip:um@127.0.0.1>",
			Contact: "<sip:gw@" + c.addr + ">", Body: []byte(offer), Handler: &testDialog{s: c, acked: make(chan struct{}), ended: ended},
		}
	}
	a, err := c.ep.Invite(t.Context(), invite("302", nil))
	require.NoError(t, err)
	require.Equal(t, 302, a.Status)
	require.Equal(t, "sip:x@127.0.0.1:5062", a.Contact)
	require.Nil(t, a.Dialog)

	ended := make(chan sip.End, 1)
	a, err = c.ep.Invite(t.Context(), invite("um", ended))
	require.NoError(t, err)
	<-s.answered(0).acked
	r, err := a.Dialog.Hangup(t.Context())
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
	require.Equal(t, sip.EndBye, <-s.answered(0).ended)
	require.Equal(t, sip.EndLocal, <-ended)

	a, err = c.ep.Invite(t.Context(), invite("um", ended))
	require.NoError(t, err)
	<-s.answered(1).acked
	s.answered(1).dialog.Bye()
	require.Equal(t, sip.EndBye, <-ended)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.ep.Invite(ctx, invite("wait", ended))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// The late answer is declined by ACK and BYE.
	s.await(t, func() bool { return len(s.waiting) == 1 })
	late := &testDialog{s: s, acked: make(chan struct{}), ended: make(chan sip.End, 1)}
	require.NotNil(t, s.deferred(0).Accept(sip.Response{Status: 200, Reason: "OK", Contact: "<sip:um@" + s.addr + ">", Body: []byte(offer)}, late))
	<-late.acked
	require.Equal(t, sip.EndBye, <-late.ended)
}

// An independent caller, sipgo's own client over TCP, is answered.
func TestSipgoClient(t *testing.T) {
	s := newTestServer(t)
	ua, err := sipgo.NewUA()
	require.NoError(t, err)
	client, err := sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"))
	require.NoError(t, err)
	var to sipmsg.Uri
	require.NoError(t, sipmsg.ParseUri("sip:um@"+s.addr+";transport=tcp", &to))
	req := sipmsg.NewRequest("OPTIONS", to)
	req.SetTransport("TCP")
	resp, err := client.Do(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.NoError(t, client.Close())
	require.NoError(t, ua.Close())
}

// received and rport as RFC 3261 §18.2.1 and RFC 3581 ask, and the dialect's
// spelling on one line.
func TestVia(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) {
		c.Dialect = sip.Dialect{Via: "VIA", To: "TO", JoinVia: true, EPID: true, Server: "SERVER: X "}
	})
	p := s.connect(t)
	_, port, _ := net.SplitHostPort(p.conn.LocalAddr().String())
	p.write([]byte("OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP gw.lab:5060;rport;branch=z9hG4bKv1\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKv2\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: via\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	m := p.response()
	require.Equal(t, []string{"SIP/2.0/TCP gw.lab:5060;rport=" + port + ";branch=z9hG4bKv1;received=127.0.0.1,SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKv2"}, m.header["Via"])
	require.Regexp(t, `^<sip:c@d>;epid=[0-9A-F]{10};tag=[0-9a-f]{10}$`, m.header.Get("To"))
}

func FuzzFraming(f *testing.F) {
	p := &peer{}
	f.Add(append(p.request("INVITE", "sip:um@127.0.0.1", "f", ""), p.request("OPTIONS", "sip:x@y", "g", "")...))
	f.Add([]byte("\r\n\r\nOPTIONS sip:x SIP/2.0\nVia: SIP/2.0/TCP a;;\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := &testServer{changed: make(chan struct{})}
		ep := sip.New(sip.Config{Handler: h, Allow: []string{"INVITE", "ACK", "BYE", "OPTIONS", "CANCEL"}})
		ours, theirs := net.Pipe()
		ln := &oneConn{conn: ours, done: make(chan struct{})}
		served := make(chan struct{})
		go func() { _ = ep.Serve(ln); close(served) }()
		go func() {
			b := make([]byte, 65536)
			for {
				if _, err := theirs.Read(b); err != nil {
					return
				}
			}
		}()
		half := len(data) / 2
		_ = theirs.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = theirs.Write(data[:half])
		_, _ = theirs.Write(data[half:])
		theirs.Close()
		if err := ep.Close(); err != nil {
			t.Fatal(err)
		}
		<-served
	})
}
