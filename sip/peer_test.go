package sip_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

// testServer answers INVITEs to "302..." with a redirect, those to "wait..."
// when told to, and all others with 200.
type testServer struct {
	ep   *sip.Endpoint
	addr string
	log  *trace.Log

	mu      sync.Mutex
	waiting []*sip.ServerTx
	dialogs []*testDialog
	order   []string
	changed chan struct{}
}

type testDialog struct {
	s      *testServer
	dialog *sip.Dialog
	acked  chan struct{}
	ended  chan sip.End
	once   sync.Once
}

func (d *testDialog) Acknowledged([]byte) { d.once.Do(func() { close(d.acked) }) }
func (d *testDialog) Ended(how sip.End)   { d.ended <- how }

// Request answers, or holds what is for "hold...".
func (d *testDialog) Request(tx *sip.ServerTx) {
	if strings.HasPrefix(tx.RequestURI(), "sip:hold") {
		tx.Defer()
		d.s.mu.Lock()
		d.s.waiting = append(d.s.waiting, tx)
		d.s.mu.Unlock()
		d.s.note(tx.Method())
		return
	}
	d.s.note(tx.Method())
	tx.Respond(ok(tx))
}

func ok(tx *sip.ServerTx) sip.Response {
	r := sip.Response{Status: 200, Reason: "OK"}
	if tx.Method() == "INVITE" {
		r.Contact, r.Body = "<sip:um@127.0.0.1>", []byte(offer)
	}
	return r
}

func (s *testServer) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, what)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *testServer) ServeSIP(tx *sip.ServerTx) {
	s.note(tx.Method())
	switch {
	case tx.Method() != "INVITE":
		tx.Respond(ok(tx))
	case strings.HasPrefix(tx.RequestURI(), "sip:302"):
		tx.Respond(sip.Response{Status: 302, Reason: "Moved Temporarily", Contact: "<sip:x@127.0.0.1:5062>"})
	case strings.HasPrefix(tx.RequestURI(), "sip:timer"):
		timer, headers, no := tx.SessionTimer(30 * time.Minute)
		if no == nil {
			no = &sip.Response{Status: 480, Reason: "Temporarily Unavailable", Headers: []string{fmt.Sprintf("X-Timer: %s %t %v", timer.Interval, timer.Ours, headers)}}
		}
		tx.Respond(*no)
	case strings.HasPrefix(tx.RequestURI(), "sip:ring"):
		tx.Defer()
		tx.RespondReliably(sip.Response{Status: 180, Reason: "Ringing"}, func(acknowledged bool) {
			if acknowledged {
				s.accept(tx)
			} else {
				tx.Respond(sip.Response{Status: 504, Reason: "Server Time-out"})
			}
		})
	case strings.HasPrefix(tx.RequestURI(), "sip:wait"):
		tx.Defer()
		tx.OnCancel(func() { s.note("cancelled") })
		s.mu.Lock()
		s.waiting = append(s.waiting, tx)
		s.mu.Unlock()
	default:
		s.accept(tx)
	}
}

func (s *testServer) accept(tx *sip.ServerTx) {
	d := &testDialog{s: s, acked: make(chan struct{}), ended: make(chan sip.End, 1)}
	d.dialog = tx.Accept(ok(tx), d)
	s.mu.Lock()
	s.dialogs = append(s.dialogs, d)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// answered is the dialog of the i-th call that was answered.
func (s *testServer) answered(i int) *testDialog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialogs[i]
}

// deferred is the i-th INVITE that waits for its answer.
func (s *testServer) deferred(i int) *sip.ServerTx {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[i]
}

func (s *testServer) await(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		done, changed := cond(), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("it did not happen")
		}
	}
}

func newTestServer(t *testing.T, change ...func(*sip.Config)) *testServer {
	t.Helper()
	s := &testServer{changed: make(chan struct{}), log: trace.New(trace.Config{})}
	conf := sip.Config{
		Handler:   s,
		Allow:     []string{"ACK", "CANCEL", "BYE", "INVITE", "MESSAGE", "INFO", "OPTIONS", "NOTIFY", "PRACK", "UPDATE"},
		Supported: []string{"replaces", "timer", "100rel"},
		Trace:     s.log.Source("um", "worker"),
	}
	for _, c := range change {
		c(&conf)
	}
	s.ep = sip.New(conf)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = ln.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.ep.Serve(ln) })
	t.Cleanup(func() {
		require.NoError(t, s.ep.Close())
		wg.Wait()
		require.NoError(t, s.log.Close())
		if t.Failed() {
			for e := range s.log.Events() {
				fmt.Fprintf(os.Stderr, "%s %s %s\n%s\n", e.Session, e.Name, e.Text("why"), e.Raw)
			}
		}
	})
	return s
}

// peer is the raw other side of a connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func (s *testServer) connect(t *testing.T) *peer {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, conn: c, r: bufio.NewReader(c)}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_, err := p.conn.Write(b)
	require.NoError(p.t, err)
}

type message struct {
	start, status string
	header        textproto.MIMEHeader
	body          string
}

func (p *peer) line() string {
	p.t.Helper()
	l, err := p.r.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimRight(l, "\r\n")
}

// response reads one message.
func (p *peer) response() message {
	p.t.Helper()
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	line := ""
	for line == "" { // a pong may stand before it
		line = p.line()
	}
	h := textproto.MIMEHeader{}
	for l := p.line(); l != ""; l = p.line() {
		name, value, _ := strings.Cut(l, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	n, err := strconv.Atoi(h.Get("Content-Length"))
	require.NoError(p.t, err)
	body := make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	require.NoError(p.t, err)
	m := message{start: line, header: h, body: string(body)}
	if rest, ok := strings.CutPrefix(line, "SIP/2.0 "); ok {
		m.status, _, _ = strings.Cut(rest, " ")
	}
	return m
}

func (p *peer) wantClosed() {
	p.t.Helper()
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	rest, err := io.ReadAll(p.r)
	require.NoError(p.t, err)
	require.Empty(p.t, string(rest))
}

// wantAlive proves that the next OPTIONS is answered, and nothing before it.
func (p *peer) wantAlive() {
	p.t.Helper()
	p.write(p.request("OPTIONS", "sip:alive@127.0.0.1", "alive", ""))
	m := p.response()
	require.Equal(p.t, "200", m.status)
	require.Contains(p.t, m.header.Get("Cseq"), "OPTIONS")
	require.Equal(p.t, "alive", m.header.Get("Call-Id"))
}

// request builds a request of a fresh transaction.
func (p *peer) request(method, uri, callID, toTag string) []byte {
	p.n++
	return p.requestIn(method, uri, callID, toTag, fmt.Sprintf("b%d-%s", p.n, callID), p.n)
}

func (p *peer) requestIn(method, uri, callID, toTag, branch string, seq int) []byte {
	body := ""
	if method == "INVITE" {
		body = "Content-Type: application/sdp\r\n"
	}
	sdp := ""
	if body != "" {
		sdp = offer
	}
	if toTag != "" {
		toTag = ";tag=" + toTag
	}
	return []byte(method + " " + uri + " SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK" + branch +
		"\r\nFrom: <sip:gw@127.0.0.1>;tag=gw1\r\nTo: <" + uri + ">" + toTag + "\r\nCall-ID: " + callID +
		"\r\nCSeq: " + strconv.Itoa(seq) + " " + method + "\r\nMax-Forwards: 70\r\nContact: <sip:gw@127.0.0.1:9>\r\n" +
		body + "Content-Length: " + strconv.Itoa(len(sdp)) + "\r\n\r\n" + sdp)
}
