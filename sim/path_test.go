package sim_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// Tests that are parallel mostly wait.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "12")
	goleak.VerifyTestMain(m)
}

func params(l *lab) gateway.CallParams {
	return gateway.CallParams{Routers: []netip.AddrPort{l.at(l.Profile().Front())}, Dial: "4000", Caller: "7125550123", Diverted: "4021", Reason: "no-answer"}
}

// Silence ends a recording, and Unified Messaging hangs up.
func TestSilenceEndsRecording(t *testing.T) {
	l := startLab(t, "2013", 51, "", func(o *org.Organisation) { o.Limits.RecordingIdleTimeout = 600 * time.Millisecond })
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), 300*time.Millisecond))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "silence", l.await("um.recorded", time.Second).Text("by"))
	require.Equal(t, "local", l.await("um.ended", time.Second).Text("how"))
	require.Equal(t, "voice-ca", l.await("mail.delivered", 10*time.Second).Text("content_class"))
}

// So does the longest recording; what was said until then is mailed.
func TestLongestRecording(t *testing.T) {
	l := startLab(t, "2016", 52, "", func(o *org.Organisation) { o.Limits.MaxRecordingDuration = 700 * time.Millisecond })
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	go func() { _ = c.Talk(t.Context(), 3*time.Second) }()
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "length", l.await("um.recorded", time.Second).Text("by"))
	require.Equal(t, "voice-ca", l.await("mail.delivered", 10*time.Second).Text("content_class"))
}

// A message nobody spoke is a missed call.
func TestSilentMessage(t *testing.T) {
	l := startLab(t, "2016", 53, "")
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Digits(t.Context(), "#"))
	require.NoError(t, c.Hangup(t.Context()))
	require.Equal(t, "missedcall", l.await("mail.delivered", 10*time.Second).Text("content_class"))
}

// Without diversion the pilot's greeting is heard, the event says why, and
// nothing is mailed.
func TestPilotGreeting(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2013", 54, quick, short(t))
	p := params(l)
	p.Diverted = ""
	c, err := startGateway(t, l).Call(t.Context(), p)
	require.NoError(t, err)
	require.Contains(t, l.await("um.pilot_greeting", 5*time.Second).Text("why"), "no Diversion")
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "no mailbox was named", l.await("um.hang_up", time.Second).Text("why"))
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.submitted" }))
}

// Two UM servers: the mailbox's own takes the call, the other while that one
// is dead, and again the own when it is back.
func TestDeadServerIsPassedOver(t *testing.T) {
	l := startLab(t, "2013", 55, "facts: {um.probe-interval: {value: 50ms}}", func(o *org.Organisation) {
		o.Servers = append(o.Servers, org.Server{Name: "MBX2", FQDN: "mbx2.contoso.lab", Address: netip.MustParseAddr("127.0.55.12"), Roles: []org.Role{org.MailboxRole}})
	})
	g := startGateway(t, l)
	answeredBy := func() string {
		c, err := g.Call(t.Context(), params(l))
		require.NoError(t, err)
		require.NoError(t, c.Hangup(t.Context()))
		host := ""
		for e := range l.Trace().Events() {
			if e.Name == "um.answered" {
				host = e.Host
			}
		}
		return host
	}
	require.Equal(t, "MBX1", answeredBy())
	require.NoError(t, l.StopListener("MBX1", "um-service"))
	require.Equal(t, "MBX1", l.await("um.server_down", 10*time.Second).Text("server"))
	require.Equal(t, "MBX2", answeredBy())
	require.NoError(t, l.StopListener("MBX2", "um-service"))
	require.Eventually(t, func() bool {
		return l.count(func(e *trace.Event) bool { return e.Name == "um.server_down" }) == 2
	}, 10*time.Second, 10*time.Millisecond)
	_, err := g.Call(t.Context(), params(l))
	require.ErrorContains(t, err, "answered 503")
	require.Equal(t, "um-server", l.await("um.refused", time.Second).Text("check"))
}

// Each refusal names its check, its standing and the fix; there is no media
// and no mail.
func TestRefusals(t *testing.T) {
	l := startLab(t, "2013", 56, "")
	g := startGateway(t, l)
	for _, tt := range []struct {
		check, status string
		change        func(p *gateway.CallParams)
	}{
		{"hunt-group", "404", func(p *gateway.CallParams) { p.Dial = "4999" }},
		{"mailbox", "404", func(p *gateway.CallParams) { p.Diverted = "4099" }},
		{"diverting-party", "404", func(p *gateway.CallParams) { p.Diverted = "40211" }},
		{"calling-party", "404", func(p *gateway.CallParams) { p.Caller = "bob" }},
		{"headers", "400", func(p *gateway.CallParams) { p.Reason = `no-answer;text="x` }},
	} {
		t.Run(tt.check, func(t *testing.T) {
			p := params(l)
			tt.change(&p)
			_, err := g.Call(t.Context(), p)
			require.ErrorContains(t, err, "answered "+tt.status)
			var last trace.Event
			for e := range l.Trace().Events() {
				if e.Name == "um.refused" {
					last = e
				}
			}
			require.Equal(t, tt.check, last.Text("check"))
			require.Equal(t, "assumed", last.Text("standing"))
			require.NotEmpty(t, last.Text("fix"))
		})
	}
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.answered" || e.Name == "mail.delivered" }))
}

func TestGatewayDisabled(t *testing.T) {
	l := startLab(t, "2013", 57, "", func(o *org.Organisation) { o.Gateways[0].Status = org.NoNewCalls })
	_, err := startGateway(t, l).Call(t.Context(), params(l))
	require.ErrorContains(t, err, "answered 403")
	require.Equal(t, "gateway-status", l.await("um.refused", time.Second).Text("check"))
}

// When no port pair is left the call is answered 503, and the next one is
// taken when the pair is free again.
func TestPortsExhausted(t *testing.T) {
	l := startLab(t, "2016", 58, "", func(o *org.Organisation) { o.RTP = org.PortRange{Low: 40000, High: 40001} })
	g := startGateway(t, l)
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	_, err = g.Call(t.Context(), params(l))
	require.ErrorContains(t, err, "answered 503")
	require.Equal(t, "ports", l.await("um.refused", time.Second).Text("check"))
	require.NoError(t, c.Hangup(t.Context()))
	c, err = g.Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, c.Hangup(t.Context()))
}

// The call router opens no UDP port, also while a call runs.
func TestRouterHasNoUDP(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/net/udp")
	}
	l := startLab(t, "2013", 59, "")
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	table, err := os.ReadFile("/proc/net/udp")
	require.NoError(t, err)
	require.NotContains(t, string(table), "0A3B007F:", "127.0.59.10 is the call router")
	require.Contains(t, string(table), "0B3B007F:", "127.0.59.11 is the worker")
	require.NoError(t, c.Hangup(t.Context()))
}

// A call over IPv6, from the redirects to the recording.
func TestCallOverIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6 loopback: " + err.Error())
	} else {
		ln.Close()
	}
	loopback := netip.IPv6Loopback()
	l := startLab(t, "2016", 94, "", func(o *org.Organisation) {
		o.Servers[0].Address, o.Gateways[0].Address = loopback, loopback
	})
	g := startGateway(t, l, func(c *gateway.Config) { c.Address = loopback })
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), time.Second))
	require.NoError(t, c.Digits(t.Context(), "#"))
	l.await("um.recorded", 10*time.Second)
	require.NoError(t, c.Hangup(t.Context()))
	speech, err := gateway.Speech(time.Second)
	require.NoError(t, err)
	require.True(t, bytes.Contains(recordingIn(t, l.await("mail.delivered", 10*time.Second).Text("path")), speech))
	require.Regexp(t, `<sip:4000@\[::1\]:\d+`, l.await("um.redirected", time.Second).Text("contact"))
}

// The 302 of the router and the service, line by line in the form of the public
// trace of Exchange 2010 SP1: order, spelling, echoed user=phone, epid and tag.
func TestRedirectForm(t *testing.T) {
	l := startLab(t, "2013", 60, "")
	conn, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(30)), l.at("call-router"))
	require.NoError(t, err)
	defer conn.Close()
	ask := func(uri string) string {
		const body = "v=0\r\no=- 1 1 IN IP4 127.0.60.30\r\ns=-\r\nc=IN IP4 127.0.60.30\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
		_, err := fmt.Fprintf(conn, "INVITE %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%x\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKq\r\n"+
			"From: <sip:7125550123@gw.lab>;tag=1\r\nTo: <sip:4000@um.lab;user=phone>\r\nCall-ID: form%d\r\nCSeq: 1 INVITE\r\nContact: <sip:gw@127.0.60.30>\r\nDiversion: <tel:4021>;reason=no-answer\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			uri, conn.LocalAddr(), uri, len(uri), len(body), body)
		require.NoError(t, err)
		b := make([]byte, 4096)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := conn.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	port := l.at("um-service").Port()
	got := strings.Split(ask("sip:4000@um.lab;user=phone"), "\r\n")
	want := []string{
		`SIP/2\.0 302 Moved Temporarily`,
		`FROM: <sip:7125550123@gw\.lab>;tag=1`,
		`TO: <sip:4000@um\.lab;user=phone>;epid=[0-9A-F]{10};tag=[0-9a-f]{10}`,
		`CSEQ: 1 INVITE`,
		`CALL-ID: form\d+`,
		`VIA: SIP/2\.0/TCP 127\.0\.60\.30:\d+;branch=z9hG4bK[0-9a-f]+,SIP/2\.0/UDP 192\.0\.2\.7;branch=z9hG4bKq`,
		fmt.Sprintf(`CONTACT: <sip:4000@127\.0\.60\.11:%d;user=phone;transport=Tcp>`, port),
		`CONTENT-LENGTH: 0`,
		`SERVER: RTCC/4\.0\.0\.0 `,
		``, ``,
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.Regexp(t, "^"+want[i]+"$", got[i])
	}
	require.Contains(t, ask("sip:4000@um.lab;user=phone;maddr=um.lab"), fmt.Sprintf("CONTACT: <sip:4000@127.0.60.11:%d;user=phone;transport=Tcp;maddr=127.0.60.11>", port), "maddr only where it was asked for")
}

// A message that transport does not take stays on disk, over a restart, and
// arrives once.
func TestMailSurvives(t *testing.T) {
	dir := t.TempDir()
	name, text, err := org.Default("2013")
	require.NoError(t, err)
	o, err := org.Load(name, bytes.ReplaceAll(text, []byte("127.0.0."), []byte("127.0.61.")))
	require.NoError(t, err)
	start := func() *lab {
		x, err := sim.Start(sim.Config{Org: o, Dir: dir, Ports: sim.Ports{Free: true}})
		require.NoError(t, err)
		return &lab{x, t, 61}
	}
	l := start()
	require.NoError(t, l.StopListener("MBX1", "default"))
	g := startGateway(t, l)
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), 300*time.Millisecond))
	require.NoError(t, c.Hangup(t.Context()))
	require.Contains(t, l.await("um.submit_failed", 10*time.Second).Text("why"), "refused")
	require.NoError(t, l.Close())

	l = start()
	l.await("mail.delivered", 10*time.Second)
	require.NoError(t, l.Close())
	l = start()
	require.NoError(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "mailboxes", "ada@contoso.lab", "*.eml"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	waiting, err := filepath.Glob(filepath.Join(dir, "MBX1", "UnifiedMessaging", "voicemail", "*"))
	require.NoError(t, err)
	require.Empty(t, waiting)
}

// What cannot start leaves nothing behind, and says what, where and what to do.
func TestStartFails(t *testing.T) {
	load := func(change func(o *org.Organisation)) *org.Organisation {
		name, text, err := org.Default("2016")
		require.NoError(t, err)
		o, err := org.Load(name, bytes.ReplaceAll(text, []byte("127.0.0."), []byte("127.0.62.")))
		require.NoError(t, err)
		if change != nil {
			change(o)
		}
		return o
	}
	dir := t.TempDir()
	_, err := sim.Start(sim.Config{Org: load(func(o *org.Organisation) { o.Servers[0].Address = netip.MustParseAddr("192.0.2.1") }), Dir: dir, Ports: sim.Ports{Free: true}})
	require.ErrorContains(t, err, "192.0.2.1 is no address of this machine")
	_, err = sim.Start(sim.Config{Org: load(func(o *org.Organisation) { o.Prompts = org.Prompts{"greeting": "nowhere.wav"} }), Dir: dir, Ports: sim.Ports{Free: true}})
	require.ErrorContains(t, err, "nowhere.wav")
	_, err = sim.Start(sim.Config{Org: load(func(o *org.Organisation) { o.Facts = "nowhere.yaml" }), Dir: dir, Ports: sim.Ports{Free: true}})
	require.ErrorContains(t, err, "nowhere.yaml")

	held, err := net.Listen("tcp", "127.0.62.10:25062")
	require.NoError(t, err)
	defer held.Close()
	_, err = sim.Start(sim.Config{Org: load(nil), Dir: dir, Ports: sim.Ports{Offset: 20000}})
	require.ErrorContains(t, err, "um-service of EX1: port 127.0.62.10:25062 is taken")
	require.ErrorContains(t, err, "--port-offset")
	free, err := net.Listen("tcp", "127.0.62.10:25060")
	require.NoError(t, err, "nothing is half started")
	require.NoError(t, free.Close())

	x, err := sim.Start(sim.Config{Org: load(nil), Dir: dir, Ports: sim.Ports{Free: true}})
	require.NoError(t, err)
	defer x.Close()
	_, err = sim.Start(sim.Config{Org: load(nil), Dir: dir, Ports: sim.Ports{Free: true}})
	require.ErrorContains(t, err, "in use by another exsim")
}

// The receive connectors' EHLO, word for word, in clear; what each connector
// offers is a fact.
func TestEHLO(t *testing.T) {
	for i, tt := range []struct{ version, row, want string }{
		{"2016", "default-frontend", "250-ex1.contoso.lab Hello [127.0.98.30]|250-SIZE 37748736|250-PIPELINING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|250-X-ANONYMOUSTLS|250-AUTH NTLM|250-X-EXPS GSSAPI NTLM|250-8BITMIME|250-BINARYMIME|250-CHUNKING|250 XRDST"},
		{"2007-rtm", "default", "250-hub1.contoso.lab Hello [127.0.97.30]|250-SIZE 10485760|250-PIPELINING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|250-X-ANONYMOUSTLS|250-AUTH NTLM|250-X-EXPS GSSAPI NTLM|250-8BITMIME|250-BINARYMIME|250-CHUNKING|250 XEXCH50"},
		{"2013", "default", "250-mbx1.contoso.lab Hello [127.0.96.30]|250-SIZE|250-PIPELINING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|250-X-ANONYMOUSTLS|250-AUTH NTLM|250-X-EXPS GSSAPI NTLM|250-8BITMIME|250-BINARYMIME|250-CHUNKING|250-XEXCH50|250-XRDST|250 XSHADOWREQUEST"},
	} {
		t.Run(tt.version+" "+tt.row, func(t *testing.T) {
			l := startLab(t, tt.version, 98-i, "")
			conn, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(30)), l.at(tt.row))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			read := func() string {
				b := make([]byte, 4096)
				n, err := conn.Read(b)
				require.NoError(t, err)
				return strings.ReplaceAll(strings.TrimSuffix(string(b[:n]), "\r\n"), "\r\n", "|")
			}
			require.Regexp(t, `^220 \S+ Microsoft ESMTP MAIL Service ready at \w{3}, [1-9]\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$`, read())
			_, err = conn.Write([]byte("EHLO gw.contoso.lab\r\n"))
			require.NoError(t, err)
			require.Equal(t, tt.want, read(), "one write (RFC 5321 clients read it so)")
		})
	}
}

// Close hangs up: the gateway is told, and what was said so far is mailed.
func TestCloseEndsCalls(t *testing.T) {
	l := startLab(t, "2016", 67, "")
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), 500*time.Millisecond))
	require.NoError(t, l.Close())
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, 1, l.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" && e.Text("content_class") == "voice-ca" }))
	require.Equal(t, "hang-up", l.await("um.recorded", time.Second).Text("by"))
	require.Equal(t, "local", l.await("um.ended", time.Second).Text("how"))
}

// Sixteen calls at once, each with its own ports, message and mail.
func TestManyCalls(t *testing.T) {
	l := startLab(t, "2016", 65, "")
	g := startGateway(t, l)
	errs := make(chan error, 16)
	for range 16 {
		go func() {
			errs <- func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				c, err := g.Call(ctx, params(l))
				if err != nil {
					return err
				}
				for e := range l.Trace().Follow(ctx) {
					if e.Name == "um.recording" && e.Session == c.Session() {
						break
					}
				}
				if err := c.Talk(ctx, 500*time.Millisecond); err != nil {
					return err
				}
				if err := c.Digits(ctx, "#"); err != nil {
					return err
				}
				return c.Hangup(ctx)
			}()
		}()
	}
	for range 16 {
		require.NoError(t, <-errs)
	}
	require.Eventually(t, func() bool {
		return l.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" && e.Text("content_class") == "voice-ca" }) == 16
	}, 20*time.Second, 20*time.Millisecond)
}
