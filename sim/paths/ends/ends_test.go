package ends

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the secret of both ends"

// twoEnds are the ends of a plan on addresses of their own, 127.0.<net>.x.
func twoEnds(t *testing.T, n int, change func(near, far *Config)) (near, far *End, p *paths.Plan) {
	t.Helper()
	return planEnds(t, n, "", change)
}

// planEnds are those with more in their plan.
func planEnds(t *testing.T, n int, more string, change func(near, far *Config)) (near, far *End, p *paths.Plan) {
	t.Helper()
	text := fmt.Sprintf(`plan: 1
name: two
exchange: "2013"
contact: test
zones: [{name: a, kind: internet}, {name: b, kind: internal}]
hosts:
  - {name: gw, zone: a, roles: [voip-gateway, internet], addresses: [127.0.%[1]d.2], rtp: {low: 30000, high: 30009}}
  - {name: ex, zone: b, roles: [client-access, mailbox], addresses: [127.0.%[1]d.3]}
rtp: {low: 31000, high: 31499}
closed: {sample: 2}
%[2]s`, n, more)
	load := func() *paths.Plan {
		p, err := paths.Load("plan.yaml", []byte(text))
		require.NoError(t, err)
		return p
	}
	a, b := load(), load()
	conf := func(p *paths.Plan, host string) Config {
		return Config{Plan: p, Host: p.Host(host), Secret: []byte(secret), Offset: 2000, Log: record.NewLog(nil), Limits: Limits{Timeout: 2 * time.Second}}
	}
	x, y := conf(a, "gw"), conf(b, "ex")
	if change != nil {
		change(&x, &y)
	}
	near, err := New(x)
	require.NoError(t, err)
	far, err = New(y)
	require.NoError(t, err)
	return near, far, a
}

// listen lets an end be asked until the test ends.
func listen(t *testing.T, e *End) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- e.Listen(ctx, true, nil, func([]string) { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// recorded is what an end knows of each flow.
func recorded(e *End) (sent map[string]*record.Sent, got map[string]*record.Got) {
	sent, got = map[string]*record.Sent{}, map[string]*record.Got{}
	for _, l := range e.conf.Log.Lines() {
		if l.Sent != nil {
			sent[l.Sent.Flow] = l.Sent
		}
		if l.Got != nil {
			got[l.Got.Flow] = l.Got
		}
	}
	return sent, got
}

// Everything arrives where nothing filters: tokens, calls, mail, both ways.
func TestBetween(t *testing.T) {
	near, far, p := twoEnds(t, 123, nil)
	listen(t, far)
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), false, nil))
	sent, got := recorded(near)
	for _, l := range near.conf.Log.Lines() {
		if l.Head != nil { // one machine has one clock
			require.LessOrEqual(t, l.Head.Clock.Offset.Abs(), l.Head.Clock.Within+time.Microsecond)
		}
	}
	flows := append(Flows(p, "gw", "ex"), Flows(p, "ex", "gw")...)
	require.Len(t, sent, len(flows))
	for _, f := range flows {
		require.Equal(t, f.Sample().String(), sent[f.ID].Answered.String(), f.ID)
		require.Equal(t, f.Sample().String(), got[f.ID].Arrived.String(), f.ID)
		require.Empty(t, got[f.ID].Strange, f.ID)
		if dialogue(f) != "" {
			require.Empty(t, sent[f.ID].Stream.Error, f.ID)
			require.NotEmpty(t, got[f.ID].Stream.Received, f.ID)
		}
	}
	require.Equal(t, "call", sent["gw>ex tcp/5060"].Stream.Stage)
	require.Contains(t, string(got["gw>ex tcp/5060"].Stream.Received), "INVITE sip:probe@")
	require.Contains(t, string(got["gw>ex tcp/25"].Stream.Received), "STARTTLS")
	require.NotEmpty(t, sent["gw>ex tcp/25"].Stream.TLS.Peer)
	require.Equal(t, got["gw>ex tcp/25"].Stream.TLS.Own, sent["gw>ex tcp/25"].Stream.TLS.Peer)
}

// Whoever does not know the secret, or has another plan, is told so; and gets
// nothing.
func TestRefused(t *testing.T) {
	near, far, p := twoEnds(t, 124, func(near, _ *Config) { near.Secret = []byte("not the secret of both") })
	listen(t, far)
	require.ErrorContains(t, near.Between(t.Context(), p.Host("ex"), false, nil), "does not know the secret of this plan")

	_, err := New(Config{Plan: p, Host: p.Host("gw"), Secret: []byte("short")})
	require.ErrorContains(t, err, "16 at least")
	_, err = New(Config{Plan: p, Host: p.Host("gw")})
	require.ErrorContains(t, err, "how are the ends to know one another")
}

// The lab's certificates serve in place of a secret, and only those.
func TestCertificates(t *testing.T) {
	lab, err := admit.NewAuthority()
	require.NoError(t, err)
	other, err := admit.NewAuthority()
	require.NoError(t, err)
	near, far, p := twoEnds(t, 125, func(near, far *Config) {
		near.Secret, far.Secret = nil, nil
		near.Authority, far.Authority = lab, lab
	})
	listen(t, far)
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), true, func(f *paths.Flow) bool { return f.ID != "gw>ex tcp/5060" }))
	stranger, _, _ := twoEnds(t, 125, func(near, far *Config) {
		near.Secret, near.Authority = nil, other
	})
	require.Error(t, stranger.Between(t.Context(), p.Host("ex"), true, nil))
}

// An order that the plan does not allow is refused: nobody uses an end to send
// elsewhere.
func TestOrders(t *testing.T) {
	near, far, p := twoEnds(t, 126, nil)
	listen(t, far)
	a, _, err := near.ask(t.Context(), p.Host("ex"))
	require.NoError(t, err)
	defer a.close()
	for want, o := range map[string]order{
		`no flow "x"`:         {greeting: greeting{Do: "open"}, Parts: []part{{Flow: "x"}}},
		"does not fit":        {greeting: greeting{Do: "probe"}, Parts: []part{{Flow: "gw>ex tcp/5060"}}},
		"has no ports 22":     {greeting: greeting{Do: "open"}, Parts: []part{{Flow: "gw>ex tcp/5060", Ports: paths.Ports(22)}}},
		`order "format"`:      {greeting: greeting{Do: "format"}},
		`"open" does not fit`: {greeting: greeting{Do: "open"}, Parts: []part{{Flow: "ex>gw tcp/5060", Ports: paths.Ports(5060)}}},
	} {
		_, err := a.do(o, controlWait)
		require.ErrorContains(t, err, want)
	}
}

// A port that another program holds is asked gently and judged from one end.
func TestHeld(t *testing.T) {
	near, far, p := twoEnds(t, 127, nil)
	ln, err := net.Listen("tcp", "127.0.127.3:7060")
	require.NoError(t, err)
	defer ln.Close()
	heard := make(chan []byte, 8)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			n, _ := nc.Read(b)
			heard <- b[:n]
			_, _ = nc.Write([]byte("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"))
			_ = nc.Close()
		}
	}()
	listen(t, far)
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), true, func(f *paths.Flow) bool { return f.ID != "gw>ex tcp/5060" }))
	for _, l := range near.conf.Log.Lines() {
		if l.Bound != nil {
			require.Equal(t, "5060", l.Bound.Held.String())
		}
		if l.Sent != nil {
			require.Equal(t, "5060", l.Sent.Served.String())
		}
	}
	require.True(t, strings.HasPrefix(string(<-heard), "OPTIONS "))
	require.Empty(t, heard, "no call is placed to a real service")
}

// Garbage on a probed port is kept short, answered by nobody, and no probe.
func TestStrangers(t *testing.T) {
	_, far, p := twoEnds(t, 128, nil)
	var f *paths.Flow
	for _, x := range Flows(p, "gw", "ex") {
		if x.Transport == "udp" {
			f = x
			break
		}
	}
	port := f.Ports.First()
	in, bound := far.open(far.flows[f.ID], paths.Ports(port))
	require.Equal(t, 1, bound.Ports.Len())
	nc, err := net.Dial("udp", far.bound(f.Target, port).String())
	require.NoError(t, err)
	defer nc.Close()
	nonce := newNonce()
	line := newMint([]byte("another key")).packet(wordProbe, f, port, nonce, "x")
	for range 100 {
		_, err = nc.Write(slices.Concat(line, bytes.Repeat([]byte("x"), 1000)))
		require.NoError(t, err)
	}
	_, err = nc.Write(far.mint.packet(wordProbe, f, port, nonce, "x"))
	require.NoError(t, err)
	b := make([]byte, 1500)
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(5*time.Second)))
	n, err := nc.Read(b)
	require.NoError(t, err)
	require.Equal(t, answered, heard(f, port, nonce, far.mint.codes(f, port, nonce), b[:n]), "%q", b[:n])
	require.LessOrEqual(t, n, len(line), "an answer is no longer than its probe")
	got := in.close()
	require.Len(t, got.Strange, maxStrange)
	require.LessOrEqual(t, len(got.Strange[0].Head), strangeOctets)
	require.Equal(t, 1, got.Arrived.Len())
}

// A replayed token of another port, flow or word is no good.
func TestTokens(t *testing.T) {
	_, far, p := twoEnds(t, 129, nil)
	list := Flows(p, "gw", "ex")
	m, nonce := far.mint, newNonce()
	text := m.token(wordProbe, list[0], 25, nonce)
	require.True(t, m.good(wordProbe, list[0], 25, text))
	require.False(t, m.good(wordReply, list[0], 25, text))
	require.False(t, m.good(wordProbe, list[1], 25, text))
	require.False(t, m.good(wordProbe, list[0], 26, text))
	require.False(t, newMint([]byte("other")).good(wordProbe, list[0], 25, text))
	require.False(t, m.good(wordProbe, list[0], 25, ""))
}

// The control port survives what is no control connection.
func TestControlHostile(t *testing.T) {
	near, far, p := twoEnds(t, 130, nil)
	listen(t, far)
	at := far.bound(far.conf.Host.Addresses[0], far.conf.Plan.Control).String()
	for _, text := range []string{"", "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x00"} {
		nc, err := net.Dial("tcp", at)
		require.NoError(t, err)
		_, _ = nc.Write([]byte(text))
		_ = nc.Close()
	}
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	_, _ = c.Write([]byte("{\"do\": \"hello\"}\n"))
	b := make([]byte, 4096)
	n, _ := c.Read(b)
	require.NotContains(t, string(b[:n]), "code")
	_ = c.Close()
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), true, func(f *paths.Flow) bool { return f.ID != "gw>ex tcp/5062" }))
}

// A whole range arrives, by one socket where the privileges are there and by
// many where not, and a port that another program holds is left to it.
func TestSweep(t *testing.T) {
	near, far, p := twoEnds(t, 131, func(near, far *Config) { near.Full, far.Full = true, true })
	other, err := net.ListenPacket("udp", "127.0.131.3:33100")
	require.NoError(t, err)
	defer other.Close()
	listen(t, far)
	const flow = "gw>ex udp/31000-31499"
	require.NoError(t, near.Between(t.Context(), p.Host("ex"), true, func(f *paths.Flow) bool { return f.ID != flow }))
	for _, l := range near.conf.Log.Lines() {
		switch {
		case l.Bound != nil:
			require.Equal(t, "31100", l.Bound.Held.String())
			require.Equal(t, "31000-31099,31101-31499", l.Bound.Ports.String())
			require.Empty(t, l.Bound.Failed)
			t.Logf("sockets: %q", l.Bound.Sockets)
		case l.Sent != nil:
			require.Equal(t, "31000-31099,31101-31499", l.Sent.Tried.String())
			require.Equal(t, "31000-31099,31101-31499", l.Sent.Answered.String())
		case l.Got != nil:
			require.Equal(t, "31000-31099,31101-31499", l.Got.Arrived.String())
			if marking != 0 {
				require.Equal(t, []int{ef}, l.Got.DSCP)
			}
		}
	}
}

// A media packet whose header was changed is no probe any more.
func TestMediaHeader(t *testing.T) {
	_, far, p := twoEnds(t, 132, nil)
	i := slices.IndexFunc(Flows(p, "gw", "ex"), isMedia)
	f := Flows(p, "gw", "ex")[i]
	for _, port := range []uint16{31000, 31001} {
		nonce := newNonce()
		b := far.mint.packet(wordProbe, f, port, nonce, "c")
		if port%2 == 1 {
			require.Zero(t, len(b)%4, "RTCP is in words of four octets")
		}
		x, ok := parse(f, port, wordProbe, b)
		require.True(t, ok)
		require.Equal(t, nonce, x.nonce)
		for at := range rtpHeader {
			c := bytes.Clone(b)
			c[at] ^= 1
			_, ok := parse(f, port, wordProbe, c)
			require.False(t, ok, "octet %d", at)
		}
		_, ok = parse(f, port+2, wordProbe, b)
		require.False(t, ok)
		reply := far.mint.packet(wordReply, f, port, nonce, "")
		require.Equal(t, answered, heard(f, port, nonce, far.mint.codes(f, port, nonce), reply))
		other := newNonce()
		require.Equal(t, mangled, heard(f, port, other, far.mint.codes(f, port, other), reply), "an answer to an earlier probe proves nothing")
	}
}

func FuzzParse(f *testing.F) {
	p, err := paths.Load("plan.yaml", paths.Starter())
	require.NoError(f, err)
	flows := Flows(p, "gw", "mbx")
	f.Add([]byte("EXSIM1 PROBE 0123456789abcdef0123456789abcdef-0123456789abcdef 5060 x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, x := range flows {
			if y, ok := parse(x, 5060, wordProbe, b); ok {
				if c := newMint([]byte("key")).codes(x, 5060, y.nonce); !c.is(wordProbe, y.code) {
					continue
				}
				t.Fatalf("%q passes for a probe", b)
			}
		}
	})
}

// Two senders to the same ports share what listens there, without a control
// connection.
func TestAlone(t *testing.T) {
	text := `plan: 1
name: alone
exchange: "2013"
zones: [{name: a, kind: internal}, {name: b, kind: internal}]
hosts:
  - {name: gw1, zone: a, roles: [voip-gateway], addresses: [127.0.133.2]}
  - {name: gw2, zone: a, roles: [voip-gateway], addresses: [127.0.133.3]}
  - {name: ex, zone: b, roles: [client-access, mailbox], addresses: [127.0.133.4]}
rtp: {low: 31000, high: 31999}
closed: {sample: 2}
`
	p, err := paths.Load("plan.yaml", []byte(text))
	require.NoError(t, err)
	conf := func(host string) Config {
		return Config{Plan: p, Host: p.Host(host), Secret: []byte(secret), Offset: 2000, Log: record.NewLog(nil), Limits: Limits{Timeout: 2 * time.Second}}
	}
	far, err := New(conf("ex"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- far.Listen(ctx, false, Flows(p, "", "ex"), func([]string) { close(ready) }) }()
	<-ready
	for _, name := range []string{"gw1", "gw2"} {
		e, err := New(conf(name))
		require.NoError(t, err)
		require.NoError(t, e.Alone(t.Context(), p.Host("ex"), nil))
		for _, l := range e.conf.Log.Lines() {
			if l.Sent != nil {
				require.Equal(t, l.Sent.Tried.String(), l.Sent.Answered.String(), l.Sent.Flow)
			}
		}
	}
	cancel()
	require.NoError(t, <-done)
	arrived := 0
	for _, l := range far.conf.Log.Lines() {
		if l.Bound != nil {
			require.Empty(t, l.Bound.Held.String(), l.Bound.Flow)
		}
		if l.Got != nil && strings.Contains(l.Got.Flow, ">ex ") {
			arrived++
			require.Equal(t, far.Ports(far.flows[l.Got.Flow]).String(), l.Got.Arrived.String(), l.Got.Flow)
			require.Empty(t, l.Got.Strange, l.Got.Flow)
		}
	}
	require.Equal(t, len(Flows(p, "", "ex")), arrived)

	conf1 := conf("ex")
	conf1.Secret = nil
	conf1.Authority, err = admit.NewAuthority()
	require.NoError(t, err)
	bare, err := New(conf1)
	require.NoError(t, err)
	require.ErrorContains(t, bare.Listen(t.Context(), false, Flows(p, "", "ex"), nil), "certificates alone make no tokens")
}

// Outside the loopback 200 new flows a second, 2,000 open at most; a slower
// pace is kept, too.
func TestPace(t *testing.T) {
	require.Equal(t, Limits{Rate: 200, Open: 2000, Timeout: 3 * time.Second, Tries: 3}, Limits{}.filled(false))
	require.Negative(t, Limits{}.filled(true).Rate)
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		p.init(Limits{Rate: 200, Open: 3})
		begin := time.Now()
		for range 401 {
			require.NoError(t, p.begin(t.Context(), 0))
			p.end()
		}
		require.Equal(t, 2*time.Second, time.Since(begin))
		for range 3 {
			require.NoError(t, p.begin(t.Context(), 50*time.Millisecond))
		}
		require.Equal(t, 2*time.Second+105*time.Millisecond, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, p.begin(ctx, 0), "three are open")
		flows, most := p.figures()
		require.Equal(t, 404, flows)
		require.Equal(t, 3, most)
	})
}
