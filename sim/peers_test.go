package sim_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/voicemail"
)

// needPeer finds a real program. Without it the test is skipped by name on a
// developer's machine and fails where CI is true.
func needPeer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("peer %s is not installed: sudo make peers", name)
	}
	t.Skipf("peer %s is not installed: sudo make peers", name)
	return ""
}

// lab is an organisation on addresses of its own, 127.0.<net>.x.
type lab struct {
	*sim.Exchange
	t   *testing.T
	net int
}

func startLab(t *testing.T, version string, n int, facts string, change ...func(*org.Organisation)) *lab {
	t.Helper()
	name, text, err := org.Default(version)
	require.NoError(t, err)
	text = bytes.ReplaceAll(text, []byte("127.0.0."), fmt.Appendf(nil, "127.0.%d.", n))
	o, err := org.Load(name, text)
	require.NoError(t, err)
	for _, c := range change {
		c(o)
	}
	conf := sim.Config{Org: o, Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 7}
	if facts != "" {
		conf.Overrides = []profile.Override{{Name: "facts.yaml", Data: []byte(facts)}}
	}
	x, err := sim.Start(conf)
	require.NoError(t, err)
	l := &lab{x, t, n}
	t.Cleanup(func() {
		require.NoError(t, x.Close())
		if t.Failed() {
			_ = trace.WriteJSON(os.Stderr, x.Trace().Events())
		}
	})
	return l
}

func (l *lab) addr(host int) string { return fmt.Sprintf("127.0.%d.%d", l.net, host) }

// at is the address of a row, wherever it is.
func (l *lab) at(row string) netip.AddrPort {
	for _, k := range l.Listeners() {
		if k.Row.ID == row {
			return k.Addr()
		}
	}
	l.t.Fatalf("no listener %s", row)
	return netip.AddrPort{}
}

// await waits for an event.
func (l *lab) await(name string, within time.Duration) *trace.Event {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	for e := range l.Trace().Follow(ctx) {
		if e.Name == name {
			return &e
		}
	}
	l.t.Fatalf("no %s within %s", name, within)
	return nil
}

func (l *lab) count(match func(e *trace.Event) bool) (n int) {
	for e := range l.Trace().Events() {
		if match(&e) {
			n++
		}
	}
	return n
}

// command runs a program to its end, in a folder of its own.
func command(t *testing.T, dir string, within time.Duration, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	return string(out), err
}

// recordingIn is the attached recording of a stored message, in mu-law.
func recordingIn(t *testing.T, path string) []byte {
	t.Helper()
	wav, err := voicemail.Recording(path)
	require.NoError(t, err)
	octets, err := rtp.ReadWAV(wav, rtp.PCMU)
	require.NoError(t, err)
	return octets
}

// SIPp as the gateway follows both redirects, plays speech, presses the pound
// key and hangs up; the mailed recording is what it sent, octet for octet.
func TestSIPpGateway(t *testing.T) { testSIPp(t, "2013", 41, false, "call-router", "um-service") }

// Exchange 2007 has one redirect.
func TestSIPpOneRedirect(t *testing.T) { testSIPp(t, "2007-rtm", 118, false, "um-service") }

// The same with the offer left to us, in the INVITE and in a re-INVITE, a
// provisional answer that is acknowledged by PRACK, and a refresh of the session
// by UPDATE.
func TestSIPpLateOffer(t *testing.T) { testSIPp(t, "2013", 90, true, "call-router", "um-service") }

func testSIPp(t *testing.T, version string, net int, late bool, redirects ...string) {
	l := startLab(t, version, net, "")
	speech, by := callBySIPp(t, l, late)
	mailed := l.await("mail.delivered", 10*time.Second)
	require.Equal(t, "voice-ca", mailed.Text("content_class"))
	require.Equal(t, by, l.await("um.recorded", time.Second).Text("by"))
	for _, row := range redirects {
		require.Equal(t, 1, l.count(func(e *trace.Event) bool {
			return e.Name == "sip.sent" && e.Listener == row && e.Int("status") == 302
		}), "redirects by %s", row)
	}
	if late {
		for _, method := range []string{"PRACK", "UPDATE"} {
			require.Equal(t, 1, l.count(func(e *trace.Event) bool {
				return e.Name == "sip.sent" && e.Text("method") == method && e.Int("status") == 200
			}), method)
		}
	}
	got := recordingIn(t, mailed.Text("path"))
	require.GreaterOrEqual(t, len(got), 8000, "at least a second is recorded")
	require.True(t, bytes.HasSuffix(speech, got) || bytes.HasPrefix(speech, got), "%d octets recorded are not those of the %d sent", len(got), len(speech))
}

// callBySIPp leaves a message, and tells what was said and how the recording ends.
func callBySIPp(t *testing.T, l *lab, late bool) (speech []byte, by string) {
	t.Helper()
	sipp := needPeer(t, "sipp")
	dir := t.TempDir()
	speech, err := gateway.Speech(2 * time.Second)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "speech.ul"), speech, 0o600))
	params := map[string]any{"Before": 1900, "Talk": 2300, "Speech": "speech.ul", "Digit": "", "Late": late}
	by = "hang-up"
	if os.Geteuid() == 0 { // SIPp plays captures through a raw socket
		params["Digit"], by = "/usr/share/sip-tester/dtmf_2833_pound.pcap", "key"
	}
	writeTemplate(t, filepath.Join(dir, "gateway.xml"), "testdata/peers/gateway.xml.tmpl", params)
	gw := l.addr(30)
	out, err := command(t, dir, 30*time.Second, sipp, l.at(l.Profile().Front()).String(), "-t", "tn", "-max_socket", "1000",
		"-sf", "gateway.xml", "-i", gw, "-mi", gw, "-mp", "16000", "-m", "1", "-nostdin", "-trace_err")
	require.NoError(t, err, out)
	return speech, by
}

func writeTemplate(t *testing.T, to, from string, params any) {
	t.Helper()
	text, err := template.ParseFiles(from)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, text.Execute(&b, params))
	require.NoError(t, os.WriteFile(to, b.Bytes(), 0o600))
}

// baresip follows both redirects by itself, plays speech, presses the pound key
// and hangs up. It cannot send Diversion: a relay in front of the listeners adds
// it, as a PBX would.
func TestBaresipGateway(t *testing.T) {
	baresip := needPeer(t, "baresip")
	// Its requests in the dialog come from the machine's own address.
	l := startLab(t, "2016", 42, "facts: {redirect.router-host: {value: echo}}", alsoLoopback)
	front := l.addr(40)
	for _, row := range []string{"call-router", "um-service", "um-worker"} {
		divertingRelay(t, front, l.addr(30), l.at(row))
	}
	stream := append(rtp.Quiet(rtp.PCMU, time.Second), speechOf(t, 20*time.Second)...)
	ctl := startBaresip(t, baresip, l, stream, "tcp", "", "")
	router := netip.AddrPortFrom(netip.MustParseAddr(front), l.at("call-router").Port())
	ctl.send("dial", fmt.Sprintf("sip:4000@%s;transport=tcp", router))
	l.await("um.recording", 15*time.Second)
	waitForOctets(t, l, 12000)
	ctl.send("sndcode", "#")
	require.Equal(t, "key", l.await("um.recorded", 10*time.Second).Text("by"))
	ctl.send("hangup", "")
	require.Equal(t, "bye", l.await("um.ended", 10*time.Second).Text("how"))

	got := recordingIn(t, l.await("mail.delivered", 10*time.Second).Text("path"))
	require.GreaterOrEqual(t, len(got), 8000)
	require.True(t, bytes.Contains(stream, got), "%d octets recorded are no stretch of what was played", len(got))
}

// startBaresip brings up a baresip at .30 that plays a stream of mu-law.
func startBaresip(t *testing.T, baresip string, l *lab, stream []byte, transport, account, more string) *control {
	t.Helper()
	dir := t.TempDir()
	writePCM(t, filepath.Join(dir, "speech.wav"), stream)
	control := l.addr(30) + ":4444"
	config := filepath.Join(dir, "config")
	writeTemplate(t, config, "testdata/peers/baresip.tmpl", map[string]string{"Addr": l.addr(30), "Dir": dir, "Control": control, "More": more, "Port": baresipPort(l)})
	if !strings.Contains(account, "audio_codecs=") {
		account += ";audio_codecs=PCMU/8000/1"
	}
	account = fmt.Sprintf("<sip:7125550123@%s;transport=%s>;regint=0;catchall=yes%s\n", l.addr(30), transport, account)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts"), []byte(account), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "contacts"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rec"), 0o700))
	runPeer(t, baresip, "-f", dir, "-v")
	ctl := dialControl(t, control)
	ctl.dir = dir
	return ctl
}

// baresipPort is where the gateway object at .30 is asked, if that is not where
// exsim's own gateway would be.
func baresipPort(l *lab) string {
	if g := l.Organisation().GatewayAt(netip.MustParseAddr(l.addr(30))); g != nil && g.Port != 5060 {
		return strconv.Itoa(int(g.Port))
	}
	return "0"
}

// runPeer starts a program and ends it with the test.
func runPeer(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		stop()
		_ = c.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

func speechOf(t *testing.T, length time.Duration) []byte {
	t.Helper()
	b, err := gateway.Speech(length)
	require.NoError(t, err)
	// Negative zero of mu-law does not survive linear samples.
	return bytes.ReplaceAll(b, []byte{0x7f}, []byte{0xff})
}

// waitForOctets waits until the worker has received so much media by RTCP or
// by time: 8000 octets a second.
func waitForOctets(t *testing.T, l *lab, octets int) {
	t.Helper()
	begin := l.await("um.recording", time.Second).At
	want := begin + time.Duration(octets)*time.Second/8000
	select {
	case <-time.After(want - l.Trace().Now()):
	case <-t.Context().Done():
	}
}

// writePCM writes mu-law octets as a 16-bit PCM WAV.
func writePCM(t *testing.T, path string, octets []byte) {
	t.Helper()
	data := make([]byte, 0, 2*len(octets))
	for _, o := range octets {
		v := rtp.PCMU.Decode(o)
		data = append(data, byte(v), byte(uint16(v)>>8))
	}
	le := func(n, size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(n >> (8 * i))
		}
		return b
	}
	wav := bytes.Join([][]byte{[]byte("RIFF"), le(36+len(data), 4), []byte("WAVEfmt "), le(16, 4), le(1, 2), le(1, 2), le(8000, 4), le(16000, 4), le(2, 2), le(16, 2), []byte("data"), le(len(data), 4), data}, nil)
	require.NoError(t, os.WriteFile(path, wav, 0o600))
}

// divertingRelay forwards connections to a listener from the gateway's address
// and adds a Diversion to each INVITE.
func divertingRelay(t *testing.T, front, from string, to netip.AddrPort) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(front, strconv.Itoa(int(to.Port()))))
	require.NoError(t, err)
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := sim.Dial(ctx, netip.MustParseAddr(from), to)
			if err != nil {
				in.Close()
				continue
			}
			both := func() { in.Close(); out.Close() }
			context.AfterFunc(ctx, both)
			wg.Go(func() { defer both(); _, _ = io.Copy(in, out) })
			wg.Go(func() { defer both(); addDiversion(out, in) })
		}
	})
	t.Cleanup(func() { stop(); ln.Close(); wg.Wait() })
}

func addDiversion(out io.Writer, in io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := in.Read(b)
		chunk := b[:n]
		if bytes.HasPrefix(chunk, []byte("INVITE ")) {
			chunk = bytes.Replace(chunk, []byte("\r\n"), []byte("\r\nDiversion: <tel:4021>;reason=no-answer\r\n"), 1)
		}
		if _, werr := out.Write(chunk); werr != nil || err != nil {
			return
		}
	}
}

// control is baresip's ctrl_tcp: JSON in netstrings.
type control struct {
	dir  string // of the baresip that it controls
	t    *testing.T
	conn net.Conn
}

func dialControl(t *testing.T, addr string) *control {
	t.Helper()
	var conn net.Conn
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		conn = c
		return err == nil
	}, 10*time.Second, 20*time.Millisecond, "baresip does not listen on %s", addr)
	t.Cleanup(func() { conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return &control{t: t, conn: conn}
}

func (c *control) send(command, params string) {
	c.t.Helper()
	b, err := json.Marshal(map[string]string{"command": command, "params": params, "token": command})
	require.NoError(c.t, err)
	_, err = fmt.Fprintf(c.conn, "%d:%s,", len(b), b)
	require.NoError(c.t, err)
}

// alsoLoopback makes 127.0.0.1 a gateway, for programs that cannot choose the
// address that they call from.
func alsoLoopback(o *org.Organisation) {
	o.Gateways = append(o.Gateways, org.UMIPGateway{Name: "loopback", Address: netip.MustParseAddr("127.0.0.1"), Status: org.Enabled, DialPlan: "Lab"})
}

// sipsak's OPTIONS is answered 200 at every SIP listener.
func TestSipsakOptions(t *testing.T) {
	sipsak := needPeer(t, "sipsak")
	l := startLab(t, "2013", 43, "", alsoLoopback)
	for _, row := range []string{"call-router", "um-service", "um-worker"} {
		out, err := command(t, "", 20*time.Second, sipsak, "-E", "tcp", "-v", "-s", "sip:um@"+l.at(row).String())
		require.NoError(t, err, "%s: %s", row, out)
	}
}

// swaks at the receive connectors: what each lets in, over STARTTLS verified
// against the lab's authority.
func TestSwaks(t *testing.T) {
	swaks := needPeer(t, "swaks")
	l := startLab(t, "2013", 44, "")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, l.LabCA(), 0o600))
	alan := []string{"--from", "alan@contoso.lab"}
	tests := []struct {
		name, row string
		args      []string
		exit      int
		want      string
	}{
		{"anonymous to the front end", "default-frontend", nil, 0, "Queued mail for delivery"},
		{"with STARTTLS", "default-frontend", []string{"--tls", "--tls-verify", "--tls-ca-path", ca, "--tls-sni", "cas1.contoso.lab"}, 0, "Queued mail for delivery"},
		{"pipelined", "default-frontend", []string{"--pipeline"}, 0, "Queued mail for delivery"},
		{"unknown user", "default-frontend", []string{"--to", "nobody@contoso.lab"}, 26, "550 5.1.1 User unknown"},
		{"relay", "default-frontend", []string{"--to", "x@fabrikam.lab"}, 24, "550 5.7.1 Unable to relay"},
		{"anonymous to Default", "default", nil, 23, "530 5.7.1 Client was not authenticated"},
		{"AUTH wrong", "client-frontend", []string{"--tls", "--auth", "LOGIN", "-au", "ada", "-ap", "secret-word"}, 28, "535 5.7.3 Authentication unsuccessful"},
		{"AUTH LOGIN", "client-frontend", append([]string{"--tls", "--auth", "LOGIN", "-au", `CONTOSO\alan`, "-ap", "Enigma-1940"}, alan...), 0, "235 2.7.0 Authentication successful"},
		{"AUTH LOGIN by address", "client-frontend", append([]string{"--tls", "--auth", "LOGIN", "-au", "alan@contoso.lab", "-ap", "Enigma-1940"}, alan...), 0, "Queued mail for delivery"},
		{"no LOGIN in clear", "client-frontend", []string{"--auth", "LOGIN", "-au", "alan", "-ap", "Enigma-1940"}, 28, "AUTH GSSAPI NTLM"},
		{"anonymous to 587", "client-frontend", nil, 23, "530 5.7.1 Client was not authenticated"},
		{"as another", "client-frontend", []string{"--tls", "--auth", "LOGIN", "-au", "alan", "-ap", "Enigma-1940", "--from", "ada@contoso.lab"}, 23, "550 5.7.1 Client does not have permissions to send as this sender"},
		{"no users at the front end", "default-frontend", []string{"--tls", "--auth", "LOGIN", "-au", "alan", "-ap", "Enigma-1940"}, 28, "535 5.7.3 Authentication unsuccessful"},
	}
	t.Run("sessions", func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel() // refusals take five seconds each
				at := l.at(tt.row)
				args := append([]string{"--server", at.Addr().String(), "--port", strconv.Itoa(int(at.Port())), "--ehlo", "relay.fabrikam.lab",
					"--from", "a@fabrikam.lab", "--to", "ada@contoso.lab", "--header", "Message-Id: <x@fabrikam.lab>", "--timeout", "10"}, tt.args...)
				out, err := command(t, "", 30*time.Second, swaks, args...)
				code := 0
				if err != nil {
					var exit *exec.ExitError
					require.ErrorAs(t, err, &exit, out)
					code = exit.ExitCode()
				}
				require.Equal(t, tt.exit, code, out)
				require.Contains(t, out, tt.want)
			})
		}
	})
	for e := range l.Trace().Events() {
		for _, secret := range []string{"secret-word", "Enigma-1940"} {
			require.NotContains(t, string(e.Raw), secret, "a secret is in the trace")
			require.NotContains(t, string(e.Raw), base64.StdEncoding.EncodeToString([]byte(secret)), "a secret is in the trace")
		}
	}
}

// openssl verifies the certificate behind STARTTLS by chain and name.
func TestOpenSSLStartTLS(t *testing.T) {
	openssl := needPeer(t, "openssl")
	l := startLab(t, "2016", 45, "")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, l.LabCA(), 0o600))
	for _, row := range []string{"default-frontend", "default"} {
		out, err := command(t, "", 20*time.Second, openssl, "s_client", "-starttls", "smtp", "-connect", l.at(row).String(),
			"-CAfile", ca, "-verify_hostname", "ex1.contoso.lab", "-verify_return_error", "-brief")
		require.NoError(t, err, out)
		require.Contains(t, out, "Verification: OK")
	}
}

// tshark reads a capture of the call as two redirects and one answer, media
// both ways, and nothing malformed.
func TestTsharkSeesTheCall(t *testing.T) {
	tshark := needPeer(t, "tshark")
	if os.Geteuid() != 0 {
		t.Skip("capturing needs root")
	}
	l := startLab(t, "2013", 46, "")
	file := filepath.Join(t.TempDir(), "call.pcapng")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := exec.CommandContext(ctx, tshark, "-i", "lo", "-w", file, "-f", fmt.Sprintf("net 127.0.%d.0/24", l.net))
	started, err := c.StderrPipe()
	require.NoError(t, err)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	require.NoError(t, c.Start())
	awaitText(t, started, "Capture started")

	placeCall(t, l)
	stop()
	_ = c.Wait()

	args := []string{"-r", file}
	for _, row := range []string{"call-router", "um-service", "um-worker"} {
		args = append(args, "-d", fmt.Sprintf("tcp.port==%d,sip", l.at(row).Port()))
	}
	read := func(filter string, fields ...string) []string {
		a := append(append([]string{}, args...), "-Y", filter, "-T", "fields")
		for _, f := range fields {
			a = append(a, "-e", f)
		}
		out, err := exec.CommandContext(t.Context(), tshark, a...).Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	require.Equal(t, []string{"302", "302", "200"}, read(`sip.Status-Code && sip.CSeq.method == "INVITE"`, "sip.Status-Code"))
	require.Empty(t, read("_ws.malformed", "frame.number"))
	for _, from := range []int{11, 30} {
		require.NotEmpty(t, read(fmt.Sprintf("rtp && ip.src == %s", l.addr(from)), "frame.number"), "RTP from %s", l.addr(from))
	}
}

// awaitText reads until a text comes, and goes on reading in the background.
func awaitText(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var seen bytes.Buffer
	b := make([]byte, 512)
	for !strings.Contains(seen.String(), text) {
		n, err := r.Read(b)
		require.NoError(t, err, seen.String())
		seen.Write(b[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
}

// placeCall lets our own gateway leave a message.
func placeCall(t *testing.T, l *lab) {
	t.Helper()
	g := startGateway(t, l)
	c, err := g.Call(t.Context(), gateway.CallParams{Routers: []netip.AddrPort{l.at("call-router")}, Dial: "4000", Caller: "7125550123", Diverted: "4021", Reason: "no-answer"})
	require.NoError(t, err)
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), 500*time.Millisecond))
	require.NoError(t, c.Digits(t.Context(), "#"))
	require.NoError(t, c.Hangup(t.Context()))
	l.await("mail.delivered", 10*time.Second)
}

func startGateway(t *testing.T, l *lab, change ...func(*gateway.Config)) *gateway.Gateway {
	t.Helper()
	conf := gateway.Config{
		Name: "gw", Address: netip.MustParseAddr(l.addr(30)), Calls: l.Calls(), Trace: l.Trace(), Rand: sim.Chance(3), Dial: sim.Dial,
		Listen: func(at netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", at.String()) },
		ListenPacket: func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		},
	}
	for _, c := range change {
		c(&conf)
	}
	g, err := gateway.Start(conf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}
