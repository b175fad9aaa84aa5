package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// Exchange 2007 RTM redirects once, and hands its mail to Hub Transport on
// another server.
func TestOneRedirect(t *testing.T) {
	l := startLab(t, "2007-rtm", 99, "")
	p := params(l)
	p.Caller, p.Name = "ada.byron", "Ada Byron"
	c, err := startGateway(t, l).Call(t.Context(), p)
	require.NoError(t, err, "a caller without number is taken")
	l.await("um.recording", 10*time.Second)
	require.NoError(t, c.Talk(t.Context(), 300*time.Millisecond))
	require.NoError(t, c.Hangup(t.Context()))
	mail := l.await("mail.delivered", 10*time.Second)
	require.Equal(t, "HUB1", mail.Host)
	require.Equal(t, "voice-ca", mail.Text("content_class"))
	var rows []string
	for e := range l.Trace().Events() {
		if e.Name == "um.redirected" {
			rows = append(rows, e.Listener+" to "+e.Text("row"))
		}
	}
	require.Equal(t, []string{"um-service to um-worker"}, rows)
}

// It listens on 5060 or on 5061, as its mode says; later versions on both, too.
func TestOneMode(t *testing.T) {
	for i, tt := range []struct {
		mode org.StartupMode
		want []uint16
	}{{org.ModeTCP, []uint16{5060, 5065, 25}}, {org.ModeTLS, []uint16{5061, 5066, 25}}} {
		l := startLab(t, "2007-rtm", 100+i, "", func(o *org.Organisation) {
			o.Servers[0].UMStartupMode = tt.mode
			if tt.mode == org.ModeTLS {
				o.Gateways[0].FQDN = "gw1.contoso.lab"
				o.DialPlans[0].VoIPSecurity = org.SIPSecured
			}
		})
		var ports []uint16
		for _, k := range l.Listeners() {
			ports = append(ports, k.Documented)
		}
		require.ElementsMatch(t, tt.want, ports)
	}
}
