package sim_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// secured is a default organisation whose services listen for both and whose
// dial plan asks for TLS.
func secured(o *org.Organisation) {
	o.Router.UMStartupMode = org.ModeDual
	for i := range o.Servers {
		o.Servers[i].UMStartupMode = org.ModeDual
	}
	o.DialPlans[0].VoIPSecurity = org.SIPSecured
	o.Gateways[0].FQDN = "gw1.contoso.lab"
}

// papers writes a gateway's certificate with its key, and the authority.
func papers(t *testing.T, l *lab) (bundle, ca string) { return papersOf(t, l, "gw1.contoso.lab") }

// papersOf writes a certificate with its key, and the authority.
func papersOf(t *testing.T, l *lab, name string) (bundle, ca string) {
	t.Helper()
	mutual, err := l.MutualTLS(name)
	require.NoError(t, err)
	var text []byte
	for _, der := range mutual.Cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(mutual.Cert.PrivateKey)
	require.NoError(t, err)
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	dir := t.TempDir()
	bundle, ca = filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(bundle, text, 0o600))
	require.NoError(t, os.WriteFile(ca, l.LabCA(), 0o600))
	return bundle, ca
}

var tlsRows = []string{"call-router-tls", "um-service-tls", "um-worker-tls"}

// sipsak through stunnel, which verifies our certificate by chain and name, is
// answered at every TLS listener.
func TestSipsakThroughStunnel(t *testing.T) {
	sipsak, stunnel := needPeer(t, "sipsak"), needPeer(t, "stunnel4")
	l := startLab(t, "2013", 71, "", secured)
	bundle, ca := papers(t, l)
	for i, row := range tlsRows {
		name := map[bool]string{true: "cas1.contoso.lab", false: "mbx1.contoso.lab"}[i == 0]
		local := net.JoinHostPort(l.addr(50), strconv.Itoa(26360+i))
		conf := filepath.Join(t.TempDir(), "stunnel.conf")
		text := fmt.Sprintf("foreground = yes\npid =\n[sip]\nclient = yes\naccept = %s\nconnect = %s\ncert = %s\nCAfile = %s\nverifyChain = yes\ncheckHost = %s\n",
			local, l.at(row), bundle, ca, name)
		require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
		runPeer(t, stunnel, conf)
		awaitListening(t, local)
		out, err := command(t, "", 20*time.Second, sipsak, "-E", "tcp", "-v", "-s", "sip:um@"+local)
		require.NoError(t, err, "%s: %s", row, out)
	}
}

// openssl verifies what each TLS listener shows; without a certificate of its
// own it is refused, and the event says so.
func TestOpenSSLAtTLSListeners(t *testing.T) {
	openssl := needPeer(t, "openssl")
	l := startLab(t, "2013", 72, "", secured)
	bundle, ca := papers(t, l)
	for i, row := range tlsRows {
		name := map[bool]string{true: "cas1.contoso.lab", false: "mbx1.contoso.lab"}[i == 0]
		args := []string{"s_client", "-connect", l.at(row).String(), "-CAfile", ca, "-verify_hostname", name, "-verify_return_error", "-brief"}
		out, err := command(t, "", 20*time.Second, openssl, append(args, "-cert", bundle, "-key", bundle)...)
		require.NoError(t, err, out)
		require.Contains(t, out, "Verification: OK")
		_, _ = command(t, "", 20*time.Second, openssl, append(args, "-tls1_2")...)
	}
	require.Eventually(t, func() bool {
		return len(tlsRows) == l.count(func(e *trace.Event) bool {
			return e.Name == "tls.refused" && e.Text("why") == "no certificate was shown"
		})
	}, 10*time.Second, 20*time.Millisecond)
}

// A device of Exchange's time, with TLS 1.0 or 1.1 or with RSA key exchange
// alone, is refused by default, and the event says what it offered and which
// setting takes it; with that setting it is served.
func TestLegacyDevices(t *testing.T) {
	openssl := needPeer(t, "openssl")
	old := func(t *testing.T, l *lab, args ...string) (string, error) {
		bundle, ca := papers(t, l)
		return command(t, "", 20*time.Second, openssl, append([]string{"s_client", "-connect", l.at("call-router-tls").String(), "-CAfile", ca,
			"-cert", bundle, "-key", bundle, "-verify_return_error", "-brief"}, args...)...)
	}
	for i, tt := range []struct{ offer, args, version, fix string }{
		{"TLS 1.0", "-tls1 -cipher ALL:@SECLEVEL=0", "TLS 1.0", "min-version"},
		{"TLS 1.1", "-tls1_1 -cipher ALL:@SECLEVEL=0", "TLS 1.1", "min-version"},
		{"TLS_RSA_WITH_AES_128_CBC_SHA", "-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", "TLS 1.2", "legacy"},
	} {
		t.Run(tt.offer, func(t *testing.T) {
			strict := startLab(t, "2016", 110+i, "", secured)
			_, err := old(t, strict, strings.Fields(tt.args)...)
			require.Error(t, err)
			e := strict.await("tls.failed", 10*time.Second)
			require.Contains(t, e.Text("fix"), tt.fix)
			require.Contains(t, e.Text("why"), tt.offer, "what it offered")

			taking := startLab(t, "2016", 114+i, "", secured, func(o *org.Organisation) {
				o.TLS.Legacy, o.TLS.MinVersion = true, "1.0"
			})
			out, err := old(t, taking, strings.Fields(tt.args)...)
			require.NoError(t, err, out)
			require.Equal(t, tt.version, taking.await("tls.established", 10*time.Second).Text("version"))
		})
	}
}

// baresip, with a certificate, follows both redirects over TLS and hears the
// pilot's greeting, by RTP or by SRTP as the dial plan asks. Its keys are not
// in the trace.
func TestBaresipOverTLS(t *testing.T) {
	baresip := needPeer(t, "baresip")
	for i, security := range []org.VoIPSecurity{org.SIPSecured, org.Secured} {
		t.Run(string(security), func(t *testing.T) {
			l := startLab(t, "2013", 76+i, "", secured, func(o *org.Organisation) { o.DialPlans[0].VoIPSecurity = security })
			bundle, ca := papers(t, l)
			more, account := fmt.Sprintf("sip_certificate %s\nsip_cafile %s", bundle, ca), ""
			if security == org.Secured {
				more, account = more+"\nmodule srtp.so", ";mediaenc=srtp-mand"
			}
			ctl := startBaresip(t, baresip, l, append(rtp.Quiet(rtp.PCMU, time.Second), speechOf(t, 20*time.Second)...), "tls", account, more)
			ctl.send("dial", fmt.Sprintf("sip:4000@%s;transport=tls", l.at("call-router-tls")))
			l.await("um.pilot_greeting", 15*time.Second)
			l.await("rtp.started", 10*time.Second)
			ctl.send("hangup", "")
			require.Equal(t, "bye", l.await("um.ended", 10*time.Second).Text("how"))
			answered := l.await("um.answered", time.Second)
			require.Equal(t, "gw1", answered.Text("gateway"))
			require.Equal(t, security == org.Secured, answered.Text("srtp") != "")
			for _, row := range tlsRows {
				require.NotZero(t, l.count(func(e *trace.Event) bool {
					return e.Name == "sip.received" && e.Listener == row && e.Text("method") == "INVITE" && e.Session == answered.Session
				}), row)
			}
			key := regexp.MustCompile(`inline:[^*]`)
			require.Zero(t, l.count(func(e *trace.Event) bool {
				return e.Name == "rtp.ignored" && strings.HasPrefix(e.Text("why"), "SRTP:") || key.Match(e.Raw)
			}))
		})
	}
}
