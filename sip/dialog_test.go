package sip_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sip"
)

// answer is a response of a raw peer.
func (p *peer) answer(req message, status, tag, contact string) {
	p.t.Helper()
	to := req.header.Get("To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=" + tag
	}
	p.write(fmt.Appendf(nil, "SIP/2.0 %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <%s>\r\nContent-Length: 0\r\n\r\n",
		status, req.header.Get("Via"), req.header.Get("From"), to, req.header.Get("Call-Id"), req.header.Get("Cseq"), contact))
}

// call opens a dialog from a raw peer and returns the tag of the other side.
func (s *testServer) call(p *peer, id, more string) (toTag string) {
	p.t.Helper()
	s.mu.Lock()
	before := len(s.dialogs)
	s.mu.Unlock()
	p.write(withHeaders(p.requestIn("INVITE", "sip:um@127.0.0.1", id, "", id, 1), more))
	m := p.response()
	require.Equal(p.t, "200", m.status)
	_, toTag, _ = strings.Cut(m.header.Get("To"), "tag=")
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", id, toTag, id+"ack", 1))
	s.await(p.t, func() bool { return len(s.dialogs) == before+1 })
	<-s.answered(before).acked
	return toTag
}

func withHeaders(msg []byte, more string) []byte {
	return []byte(strings.Replace(string(msg), "Max-Forwards: 70\r\n", "Max-Forwards: 70\r\n"+more, 1))
}

// A copy of an INVITE that came another way is refused while the first one is
// served, and only then (RFC 3261 §8.2.2.2).
func TestMergedRequest(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	p.write(p.requestIn("INVITE", "sip:302@127.0.0.1", "merge", "", "a", 1))
	first := p.response()
	require.Equal(t, "302", first.status)
	p.write(p.requestIn("INVITE", "sip:302@127.0.0.1", "merge", "", "b", 1))
	require.Equal(t, "482", p.response().status)
	p.write(p.requestIn("ACK", "sip:302@127.0.0.1", "merge", "x", "a", 1))
	p.write(p.requestIn("INVITE", "sip:302@127.0.0.1", "merge", "", "c", 1))
	require.Equal(t, "302", p.response().status)
	p.write(p.requestIn("ACK", "sip:302@127.0.0.1", "merge", "x", "c", 1))

	s.call(p, "twice", "")
	p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "twice", "", "other", 1))
	require.Equal(t, "482", p.response().status)
}

func TestLongURI(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	p.write(p.request("OPTIONS", "sip:"+strings.Repeat("u", 3000)+"@127.0.0.1", "long", ""))
	require.Equal(t, "414", p.response().status)
	p.wantAlive()
}

// A proxy may ring several devices: the first 2xx is the call, each further one
// is acknowledged and ended by a BYE.
func TestForkedAnswer(t *testing.T) {
	c := newTestServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	at := ln.Addr().String()
	answers := make(chan sip.Answer, 1)
	go func() {
		a, err := c.ep.Invite(t.Context(), &sip.Invite{
			To: netip.MustParseAddrPort(at), URI: "sip:x@" + at, From: "<sip:gw@127.0.0.1>", ToURI: "<sip:x@127.0.0.1>",
			Contact: "<sip:gw@" + c.addr + ">", Handler: &testDialog{s: c, acked: make(chan struct{}), ended: make(chan sip.End, 1)},
		})
		require.NoError(t, err)
		answers <- a
	}()
	nc, err := ln.Accept()
	require.NoError(t, err)
	defer nc.Close()
	p := &peer{t: t, conn: nc, r: bufio.NewReader(nc)}
	invite := p.response()
	p.answer(invite, "200 OK", "one", "sip:one@"+at)
	ack := p.response()
	require.Contains(t, ack.start, "ACK sip:one@")
	a := <-answers
	require.NotNil(t, a.Dialog)
	p.answer(invite, "200 OK", "two", "sip:two@"+at)
	ack, bye := p.response(), p.response()
	require.Contains(t, ack.start, "ACK sip:two@")
	require.Contains(t, bye.start, "BYE sip:two@")
	require.Contains(t, bye.header.Get("To"), "tag=two")
	p.answer(bye, "200 OK", "", "sip:two@"+at)
	p.answer(invite, "200 OK", "one", "sip:one@"+at) // a retransmission is none
	require.Contains(t, p.response().start, "ACK sip:one@")
	a.Dialog.Bye()
	bye = p.response()
	require.Contains(t, bye.start, "BYE sip:one@")
	p.answer(bye, "200 OK", "", "sip:one@"+at)
}

// Offers that cross are refused by 491, one that comes before the last one is
// answered by 500 with Retry-After.
func TestGlare(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	tag := s.call(p, "glare", "")
	replies := make(chan sip.Reply, 1)
	go func() {
		r, err := s.answered(0).dialog.Reinvite(t.Context(), "<sip:um@"+s.addr+">", nil, []byte(offer))
		require.NoError(t, err)
		replies <- r
	}()
	ours := p.response()
	require.Contains(t, ours.start, "INVITE sip:gw@")
	p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "glare", tag, "cross", 2))
	crossed := p.response()
	require.Equal(t, "491", crossed.status)
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "glare", tag, "cross", 2))
	p.answer(ours, "200 OK", "", "sip:moved@127.0.0.1:9")
	require.Contains(t, p.response().start, "ACK sip:moved@127.0.0.1:9")
	require.Equal(t, 200, (<-replies).Status)

	p.write(p.requestIn("INVITE", "sip:hold@127.0.0.1", "glare", tag, "one", 3))
	s.await(t, func() bool { return len(s.waiting) == 1 })
	p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "glare", tag, "two", 4))
	busy := p.response()
	require.Equal(t, "500", busy.status)
	require.NotEmpty(t, busy.header.Get("Retry-After"))
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "glare", tag, "two", 4))
	s.deferred(0).Respond(sip.Response{Status: 488, Reason: "Not Acceptable Here"})
	require.Equal(t, "488", p.response().status)
	p.write(p.requestIn("ACK", "sip:hold@127.0.0.1", "glare", tag, "one", 3))
	p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "glare", tag, "three", 5))
	require.Equal(t, "200", p.response().status)
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "glare", tag, "four", 5))
}

// A session that the peer does not refresh is ended by a BYE; where the
// refresh is ours it is due at half of the interval, again and again.
func TestSessionExpires(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	expired := func(i int) {
		bye := p.response()
		require.Contains(t, bye.start, "BYE ")
		p.answer(bye, "200 OK", "", "sip:gw@127.0.0.1:9")
		require.Equal(t, sip.EndExpired, <-s.answered(i).ended)
	}
	s.call(p, "expires", "")
	s.answered(0).dialog.KeepSession(sip.SessionTimer{Interval: 24 * time.Hour}, nil)
	s.answered(0).dialog.KeepSession(sip.SessionTimer{Interval: 100 * time.Millisecond}, nil)
	expired(0)

	s.call(p, "ours", "")
	var refreshes atomic.Int32
	s.answered(1).dialog.KeepSession(sip.SessionTimer{Interval: 100 * time.Millisecond, Ours: true}, func(context.Context, []string) (sip.Reply, error) {
		if refreshes.Add(1) == 3 {
			return sip.Reply{Status: 481}, nil
		}
		return sip.Reply{Status: 200}, nil
	})
	expired(1)
	require.EqualValues(t, 3, refreshes.Load())
}

// What is agreed on the session timer, and what is refused (RFC 4028 §9).
func TestSessionTimer(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	for i, tt := range []struct{ headers, status, answer string }{
		{"", "480", "0s false []"},
		{"Supported: 100rel, timer\r\n", "480", "30m0s false [Session-Expires: 1800;refresher=uac Min-SE: 1800]"},
		{"k: timer\r\nx: 3600;refresher=uas\r\n", "480", "30m0s true [Session-Expires: 1800;refresher=uas Min-SE: 1800]"},
		{"Supported: timer\r\nSession-Expires: 7200 ; Refresher=UAC\r\nMin-SE: 3600\r\n", "480", "1h0m0s false [Session-Expires: 3600;refresher=uac Min-SE: 1800]"},
		{"Session-Expires: 90\r\n", "480", "1m30s true [Session-Expires: 90;refresher=uas Min-SE: 1800]"},
		{"Session-Expires: 3600\r\n", "480", "30m0s true [Session-Expires: 1800;refresher=uas Min-SE: 1800]"},
		{"Session-Expires: 3600;refresher=uac\r\n", "480", "30m0s true [Session-Expires: 1800;refresher=uas Min-SE: 1800]"},
		{"Supported: timer\r\nSession-Expires: 90\r\n", "422", ""},
		{"Supported: timer\r\nSession-Expires: soon\r\n", "400", ""},
		{"Supported: timer\r\nMin-SE: -1\r\n", "400", ""},
	} {
		id := fmt.Sprintf("timer%d", i)
		p.write(withHeaders(p.requestIn("INVITE", "sip:timer@127.0.0.1", id, "", id, 1), tt.headers))
		m := p.response()
		require.Equal(t, tt.status, m.status, tt.headers)
		require.Equal(t, tt.answer, m.header.Get("X-Timer"), tt.headers)
		if tt.status == "422" {
			require.Equal(t, "1800", m.header.Get("Min-Se"))
		}
		p.write(p.requestIn("ACK", "sip:timer@127.0.0.1", id, "x", id, 1))
	}
}

// Requests in a dialog take the recorded route: a loose router in Route, a
// strict one in the Request-URI (RFC 3261 §12.2.1.1).
func TestRouteSet(t *testing.T) {
	s := newTestServer(t)
	for id, tt := range map[string]struct{ recorded, start, route string }{
		"loose":  {"Record-Route: <sip:proxy@127.0.0.1:7;lr>, <sip:127.0.0.1:8;lr=on>\r\n", "BYE sip:gw@127.0.0.1:9 SIP/2.0", "<sip:proxy@127.0.0.1:7;lr> <sip:127.0.0.1:8;lr=on>"},
		"strict": {"Record-Route: <sip:127.0.0.1:7>\r\nRecord-Route: <sip:127.0.0.1:8;lr>\r\n", "BYE sip:127.0.0.1:7 SIP/2.0", "<sip:127.0.0.1:8;lr> <sip:gw@127.0.0.1:9>"},
	} {
		p := s.connect(t)
		s.call(p, id, tt.recorded)
		s.mu.Lock()
		d := s.dialogs[len(s.dialogs)-1]
		s.mu.Unlock()
		d.dialog.Bye()
		bye := p.response()
		require.Equal(t, tt.start, bye.start)
		require.Equal(t, tt.route, strings.Join(bye.header.Values("Route"), " "))
		p.answer(bye, "200 OK", "", "sip:gw@127.0.0.1:9")
	}
}

// Over IPv6 all is the same.
func TestIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 loopback: " + err.Error())
	}
	s, c := newTestServer(t), newTestServer(t)
	go func() { _ = s.ep.Serve(ln) }()
	at := ln.Addr().String()
	a, err := c.ep.Invite(t.Context(), &sip.Invite{
		To: netip.MustParseAddrPort(at), URI: "sip:um@" + at, From: "<sip:gw@[::1]>", ToURI: "<sip:um@[::1]>",
		Contact: "<sip:gw@" + at + ">", Body: []byte(offer), Handler: &testDialog{s: c, acked: make(chan struct{}), ended: make(chan sip.End, 1)},
	})
	require.NoError(t, err)
	require.Equal(t, 200, a.Status)
	<-s.answered(0).acked
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := a.Dialog.Hangup(ctx)
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
}

// One peer has a share of connections and of INVITEs that nobody acknowledges;
// what is beyond is refused, and what becomes free is free again.
func TestPeerLimits(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.MaxConns, c.MaxPending = 3, 5 })
	p := s.connect(t)
	second := s.connect(t)
	s.connect(t).wantAlive()
	s.connect(t).wantClosed()
	for i := range 5 {
		id := fmt.Sprintf("flood%d", i)
		p.write(p.requestIn("INVITE", "sip:302@127.0.0.1", id, "", id, 1))
		require.Equal(t, "302", p.response().status)
	}
	second.write(second.requestIn("INVITE", "sip:302@127.0.0.1", "more", "", "more", 1))
	busy := second.response()
	require.Equal(t, "503", busy.status)
	require.Equal(t, "32", busy.header.Get("Retry-After"))
	second.write(second.requestIn("ACK", "sip:302@127.0.0.1", "more", "x", "more", 1))
	second.wantAlive()
	p.write(p.requestIn("ACK", "sip:302@127.0.0.1", "flood0", "x", "flood0", 1))
	p.wantAlive()
	second.write(second.requestIn("INVITE", "sip:302@127.0.0.1", "again", "", "again", 1))
	require.Equal(t, "302", second.response().status)
	second.conn.Close()
	require.Eventually(t, func() bool {
		p := s.connect(t)
		_, err := p.conn.Write(p.request("OPTIONS", "sip:alive@127.0.0.1", "alive", ""))
		if err != nil {
			return false
		}
		_, err = p.r.ReadByte()
		return err == nil
	}, 5*time.Second, 10*time.Millisecond)
}

// A reliable provisional answer is repeated until the PRACK that names it; the
// call is answered behind that, and given up without it (RFC 3262).
func TestPRACK(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.T1 = 20 * time.Millisecond })
	p := s.connect(t)
	ring := func(id string) (tag, rseq string) {
		p.write(withHeaders(p.requestIn("INVITE", "sip:ring@127.0.0.1", id, "", id, 7), "Require: 100rel\r\n"))
		m := p.response()
		require.Equal(t, "180", m.status)
		require.Equal(t, "100rel", m.header.Get("Require"))
		require.Equal(t, m.header.Get("Rseq"), p.response().header.Get("Rseq"), "it is repeated")
		_, tag, _ = strings.Cut(m.header.Get("To"), "tag=")
		return tag, m.header.Get("Rseq")
	}
	prack := func(id, tag, rack string, seq int) {
		p.write(withHeaders(p.requestIn("PRACK", "sip:um@127.0.0.1", id, tag, fmt.Sprint(id, "p", seq), seq), "RAck: "+rack+"\r\n"))
	}
	// until reads on to an answer of another status than a repeated 180.
	until := func() message {
		for {
			if m := p.response(); m.status != "180" {
				return m
			}
		}
	}
	tag, rseq := ring("prack")
	prack("prack", tag, "1 7 INVITE", 8)
	require.Equal(t, "481", until().status)
	prack("prack", tag, rseq+" 7 INVITE", 9)
	m := until()
	require.Equal(t, "200", m.status)
	require.Contains(t, m.header.Get("Cseq"), "PRACK")
	m = until()
	require.Equal(t, "200", m.status)
	require.Contains(t, m.header.Get("Cseq"), "INVITE")
	require.Contains(t, m.header.Get("To"), tag)
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "prack", tag, "pracked", 7))
	prack("prack", tag, rseq+" 7 INVITE", 10)
	require.Equal(t, "200", until().status, "in the dialog the handler answers")

	ring("silent")
	require.Equal(t, "504", until().status)
	p.write(p.requestIn("ACK", "sip:ring@127.0.0.1", "silent", "x", "silent", 7))

	ring("cancelled")
	p.write(p.requestIn("CANCEL", "sip:ring@127.0.0.1", "cancelled", "", "cancelled", 7))
	require.Equal(t, "200", until().status)
	require.Equal(t, "487", until().status)
	p.write(p.requestIn("ACK", "sip:ring@127.0.0.1", "cancelled", "x", "cancelled", 7))
	p.wantAlive()
}

// Re-INVITEs of one dialog by two connections at once, and an answer that
// leaves while the next one comes: nobody waits for the other.
func TestCrossedReinvites(t *testing.T) {
	s := newTestServer(t)
	p, q := s.connect(t), s.connect(t)
	tag := s.call(p, "cross", "")
	var wg sync.WaitGroup
	for i, c := range []*peer{p, q} {
		go func() { _, _ = io.Copy(io.Discard, c.r) }()
		wg.Go(func() {
			for n := range 2000 {
				id := fmt.Sprintf("c%dn%d", i, n)
				if c.conn.SetWriteDeadline(time.Now().Add(10*time.Second)) != nil {
					return
				}
				if _, err := c.conn.Write(c.requestIn("INVITE", "sip:um@127.0.0.1", "cross", tag, id, 5)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	q.write(q.request("OPTIONS", "sip:served@127.0.0.1", "served", "")) // what q sent before it is answered, too
	s.await(t, func() bool { return slices.Contains(s.order, "OPTIONS") })
	for n := range 200 {
		id := fmt.Sprintf("h%d", n)
		p.write(p.requestIn("INVITE", "sip:hold@127.0.0.1", "cross", tag, id, 6))
		s.await(t, func() bool { return len(s.waiting) == n+1 })
		wg.Go(func() { s.deferred(n).Respond(ok(s.deferred(n))) })
		p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "cross", tag, id+"x", 6))
		wg.Wait()
	}
	s.connect(t).wantAlive()
}

// Connections that come and go, and answers that nobody acknowledges, count for
// the limit of a peer as well; our own connections do not.
func TestPeerLimitsHold(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.MaxPending, c.MaxConns, c.T1 = 5, 2, 20*time.Millisecond })
	flood := func(user, id string) string {
		p := s.connect(t)
		defer p.conn.Close()
		p.write(p.requestIn("INVITE", "sip:"+user+"@127.0.0.1", id, "", id, 1))
		return p.response().status
	}
	closed := func(n int) {
		require.Eventually(t, func() bool {
			count := 0
			for e := range s.log.Events() {
				if e.Name == "sip.disconnected" {
					count++
				}
			}
			return count == n
		}, 5*time.Second, time.Millisecond)
	}
	for i := range 5 {
		require.NotEqual(t, "503", flood([]string{"302", "um"}[i%2], fmt.Sprint("f", i)))
		closed(i + 1)
	}
	require.Equal(t, "503", flood("302", "more"))
	// All is forgotten behind 64*T1, and the calls without ACK are over.
	for _, d := range []int{0, 1} {
		require.Equal(t, sip.EndNoACK, <-s.answered(d).ended)
	}
	require.Eventually(t, func() bool { return flood("302", "again") == "302" }, 5*time.Second, 50*time.Millisecond)
}

// An ACK of an earlier INVITE, said again, does not acknowledge a later one.
func TestStaleACK(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.T1 = 20 * time.Millisecond })
	p := s.connect(t)
	tag := s.call(p, "stale", "")
	p.write(p.requestIn("INVITE", "sip:um@127.0.0.1", "stale", tag, "re", 2))
	require.Equal(t, "200", p.response().status)
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "stale", tag, "staleack", 1))
	require.Equal(t, "200", p.response().status, "it is repeated")
	p.write(p.requestIn("ACK", "sip:um@127.0.0.1", "stale", tag, "ack2", 2))
}

// A call that is accepted when its connection has gone is ended behind 64*T1.
func TestAcceptOnDeadConnection(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.T1 = 10 * time.Millisecond })
	p := s.connect(t)
	p.write(p.requestIn("INVITE", "sip:wait@127.0.0.1", "dead", "", "dead", 1))
	s.await(t, func() bool { return len(s.waiting) == 1 })
	p.conn.Close()
	require.Eventually(t, func() bool {
		for e := range s.log.Events() {
			if e.Name == "sip.disconnected" {
				return true
			}
		}
		return false
	}, 5*time.Second, time.Millisecond)
	s.accept(s.deferred(0))
	require.Equal(t, sip.EndNoACK, <-s.answered(0).ended)
}

// A refresh that the peer refuses is sent again, with its Min-SE or behind a
// glare; one that it refuses for good lets the session run out.
func TestRefreshRefused(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	s.call(p, "refused", "")
	d := s.answered(0)
	send := func(ctx context.Context, headers []string) (sip.Reply, error) {
		return d.dialog.Request(ctx, "UPDATE", headers, nil)
	}
	d.dialog.KeepSession(sip.SessionTimer{Interval: 6 * time.Second, Ours: true}, send)
	update := p.response()
	require.Equal(t, "6;refresher=uac", update.header.Get("Session-Expires"))
	p.answer(update, "491 Request Pending", "", "sip:gw@127.0.0.1:9")
	update = p.response()
	p.answer(withMinSE(update, 8), "422 Session Interval Too Small", "", "sip:gw@127.0.0.1:9")
	update = p.response()
	require.Equal(t, "8;refresher=uac", update.header.Get("Session-Expires"))
	p.answer(update, "500 Server Internal Error", "", "sip:gw@127.0.0.1:9")
	bye := p.response()
	require.Contains(t, bye.start, "BYE ")
	p.answer(bye, "200 OK", "", "sip:gw@127.0.0.1:9")
	require.Equal(t, sip.EndExpired, <-d.ended)
}

// A BYE of the peer that crosses our refresh ends the call as a BYE does.
func TestByeCrossesRefresh(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	tag := s.call(p, "crossed", "")
	d := s.answered(0)
	d.dialog.KeepSession(sip.SessionTimer{Interval: 2 * time.Second, Ours: true}, func(ctx context.Context, headers []string) (sip.Reply, error) {
		return d.dialog.Request(ctx, "UPDATE", headers, nil)
	})
	update := p.response()
	p.write(p.requestIn("BYE", "sip:um@127.0.0.1", "crossed", tag, "bye", 9))
	require.Equal(t, "200", p.response().status)
	p.answer(update, "481 Call/Transaction Does Not Exist", "", "sip:gw@127.0.0.1:9")
	require.Equal(t, sip.EndBye, <-d.ended)
	p.wantAlive()
	for e := range s.log.Events() {
		require.NotEqual(t, "sip.timeout", e.Name)
	}
}

// An INVITE that waits for its answer when the endpoint is closed is refused,
// and its owner told.
func TestCloseRefusesDeferred(t *testing.T) {
	s := newTestServer(t)
	p := s.connect(t)
	p.write(p.requestIn("INVITE", "sip:wait@127.0.0.1", "late", "", "late", 1))
	s.await(t, func() bool { return len(s.waiting) == 1 })
	require.NoError(t, s.ep.Close())
	require.Equal(t, "503", p.response().status)
	s.await(t, func() bool { return slices.Contains(s.order, "cancelled") })
}

// A 2xx that comes as the caller gives up is acknowledged, whoever is first.
func TestGiveUpCrosses2xx(t *testing.T) {
	s := newTestServer(t, func(c *sip.Config) { c.T1 = 50 * time.Millisecond })
	ep := sip.New(sip.Config{Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	}})
	defer ep.Close()
	to := netip.MustParseAddrPort(s.addr)
	const calls = 200
	for i := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan struct{})
		go func() {
			s.await(t, func() bool { return len(s.dialogs) > i })
			cancel()
			close(answered)
		}()
		a, err := ep.Invite(ctx, &sip.Invite{To: to, URI: "sip:um@" + s.addr, From: "<sip:gw@127.0.0.1>", ToURI: "<sip:um@127.0.0.1>", Contact: "<sip:gw@127.0.0.1:9>", Body: []byte(offer), Handler: &testDialog{s: s, acked: make(chan struct{}), ended: make(chan sip.End, 1)}})
		if err == nil {
			a.Dialog.Bye()
		}
		<-answered
	}
	for i := range calls {
		require.Equal(t, sip.EndBye, <-s.answered(i).ended, "call %d", i)
	}
}

// withMinSE lets the answer to a request carry Min-SE: it is written behind
// the CSeq.
func withMinSE(req message, seconds int) message {
	req.header.Set("Cseq", fmt.Sprintf("%s\r\nMin-SE: %d", req.header.Get("Cseq"), seconds))
	return req
}
