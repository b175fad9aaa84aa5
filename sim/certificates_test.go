package sim_test

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
)

// An organisation with an authority's folder shows the certificate that the
// folder keeps for a server, and takes those of its devices; a check that is
// set to warn lets a device in and says so.
func TestAuthorityFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := admit.CreateAuthority(dir)
	require.NoError(t, err)
	own, err := a.Issue(admit.Request{Names: []string{"cas1.contoso.lab"}, RSA: true})
	require.NoError(t, err)
	_, err = a.Keep("cas1.contoso.lab", own, false)
	require.NoError(t, err)
	l := startLab(t, "2013", 74, "", secured, func(o *org.Organisation) {
		o.TLS = org.TLS{Authority: dir, Checks: map[string]string{"dates": "warn"}}
	})
	device, err := a.IssueBad(admit.Expired, admit.Request{Names: []string{"gw1.contoso.lab"}})
	require.NoError(t, err)
	c, err := tls.Dial("tcp", l.at("call-router-tls").String(), &tls.Config{RootCAs: a.Pool(), ServerName: "cas1.contoso.lab", Certificates: []tls.Certificate{device}})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, x509.RSA, c.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm)
	e := l.await("tls.warned", 10*time.Second)
	require.Equal(t, "dates", e.Text("check"))
	require.Contains(t, e.Text("why"), "expired")
}

// Whoever changes a port that Exchange does not let be changed, or misspells
// the policy, is told so at load.
func TestSecurityMistakes(t *testing.T) {
	name, text, err := org.Default("2013")
	require.NoError(t, err)
	for add, want := range map[string]string{
		"um-service: {sip-tcp-listening-port: 5070}":  "Exchange does not let this port be changed",
		"um-worker: {sip-tls-listening-port: 5070}":   "--port-offset",
		"call-router: {um-startup-mode: Tls}":         "TCP, TLS, Dual",
		"worker-ports: most":                          "documented or majority",
		"tls: {checks: {date: warn}}":                 `did you mean "dates"?`,
		"tls: {checks: {name: off}}":                  "require, warn or ignore",
		`tls: {min-version: "1.4"}`:                   "unknown min-version",
		"um-service: {sip-tcp-listening-ports: 5070}": "sip-tcp-listening-port",
	} {
		_, err := org.Load(name, append([]byte(add+"\n"), text...))
		require.ErrorContains(t, err, want, add)
	}
}

// A TLS-only server has its worker where the reading that was picked says.
func TestWorkerPorts(t *testing.T) {
	for reading, want := range map[org.WorkerPorts]uint16{org.WorkerPortsDocumented: 5065, org.WorkerPortsMajority: 5066} {
		l := startLab(t, "2013", 75, "", secured, func(o *org.Organisation) {
			o.WorkerPorts = reading
			o.Servers[1].UMStartupMode = org.ModeTLS
			o.Router.UMStartupMode = org.ModeTLS
			o.Router.SipTLSListeningPort = 5161
		})
		got := map[string]uint16{}
		for _, k := range l.Listeners() {
			if k.Row.Protocol == "sip" {
				got[k.Row.ID] = k.Documented
			}
		}
		require.Equal(t, map[string]uint16{"call-router-tls": 5161, "um-service-tls": 5063, "um-worker-tls": want}, got)
	}
}
