package sim_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// Kamailio with rtpengine as the session border controller of a SIPp telephone:
// mutual TLS both ways, both redirects followed, the telephone's RTP as SRTP.
// Its dispatcher marks a call router down that is stopped or in maintenance,
// and up again.
func TestKamailioSBC(t *testing.T) {
	kamailio, rtpengine, sipp := needPeer(t, "kamailio"), needPeer(t, "rtpengine"), needPeer(t, "sipp")
	const n = 93
	addr := fmt.Sprintf("127.0.%d.30", n)
	port, tlsPort := freePort(t, addr), freePort(t, addr)
	sbcAddr := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	l := startLab(t, "2013", n, "", secured, func(o *org.Organisation) {
		o.DialPlans[0].VoIPSecurity = org.Secured
		o.Gateways[0].Port = tlsPort
	})
	bundle, ca := papers(t, l)
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	domain := "[%s:default]\nmethod = TLSv1.2+\ncertificate = %s\nprivate_key = %s\nca_list = %s\nverify_certificate = yes\nrequire_certificate = yes\n"
	write("tls.cfg", fmt.Sprintf(domain, "server", bundle, bundle, ca)+fmt.Sprintf(domain, "client", bundle, bundle, ca))
	write("routers.list", fmt.Sprintf("1 sip:%s;transport=tls\n", l.at("call-router-tls")))
	engine := addr + ":22222"
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	require.NoError(t, err)
	require.NotEmpty(t, modules)
	writeTemplate(t, filepath.Join(dir, "kamailio.cfg"), "testdata/peers/kamailio.cfg.tmpl",
		map[string]any{"Addr": addr, "Port": port, "TLSPort": tlsPort, "Dir": dir, "Engine": engine, "Modules": modules[0]})
	media := runGroup(t, rtpengine, "--table=-1", "--interface="+addr, "--listen-ng="+engine, "--config-file=none", "--foreground", "--log-stderr", "--port-min=30000", "--port-max=30999", "--pidfile="+filepath.Join(dir, "engine.pid"))
	require.Eventually(t, func() bool { return media.count("Startup complete") > 0 }, 30*time.Second, 20*time.Millisecond)
	sbc := runGroup(t, kamailio, "-f", filepath.Join(dir, "kamailio.cfg"), "-DD", "-E", "-Y", dir, "-m", "32", "-M", "8")

	awaitListening(t, sbcAddr.String())

	speech, err := gateway.Speech(2 * time.Second)
	require.NoError(t, err)
	write("speech.ul", string(speech))
	phone, err := filepath.Abs("testdata/peers/phone.xml")
	require.NoError(t, err)
	out, err := command(t, dir, 30*time.Second, sipp, sbcAddr.String(), "-t", "t1", "-sf", phone,
		"-i", l.addr(50), "-mi", l.addr(50), "-mp", "16000", "-m", "1", "-nostdin", "-trace_err")
	require.NoError(t, err, out)
	mailed := l.await("mail.delivered", 10*time.Second)
	require.Equal(t, "voice-ca", mailed.Text("content_class"))
	got := recordingIn(t, mailed.Text("path"))
	require.GreaterOrEqual(t, len(got), 8000, "at least a second is recorded")
	require.True(t, bytes.Contains(speech, got), "%d octets recorded are not those of the %d sent", len(got), len(speech))
	require.Equal(t, "AES_CM_128_HMAC_SHA1_80", l.await("um.answered", time.Second).Text("srtp"))
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "rtp.ignored" }))

	said := func(what string, times int) {
		t.Helper()
		require.Eventually(t, func() bool { return sbc.count(what) >= times }, 30*time.Second, 50*time.Millisecond)
	}
	require.NoError(t, l.SetMaintenance("CAS1", true))
	said("SBC router DOWN", 1)
	require.NoError(t, l.SetMaintenance("CAS1", false))
	said("SBC router UP", 1)
	require.NoError(t, l.StopListener("CAS1", "call-router-tls"))
	call, err := sim.Dial(t.Context(), netip.MustParseAddr(l.addr(50)), sbcAddr)
	require.NoError(t, err)
	defer call.Close()
	fmt.Fprintf(call, "INVITE sip:4000@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKdead\r\nFrom: <sip:1@x>;tag=1\r\nTo: <sip:4000@x>\r\nCall-ID: dead\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:1@x>\r\nContent-Length: 0\r\n\r\n", addr, call.LocalAddr())
	said("SBC router DOWN", 2)
	require.NoError(t, l.StartListener("CAS1", "call-router-tls"))
	said("SBC router UP", 2)

	// Our OPTIONS, every 20 s, reach it with our certificate.
	require.Equal(t, "200", l.await("um.gateway_up", 60*time.Second).Text("status"))
	said("SBC was asked by "+l.addr(11)+" over tls", 1)
}
