package sim_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// Redirects by name can be followed: Go's own resolver, and dig, find the names
// of the servers and where SIP and mail are.
func TestNamesAreAnswered(t *testing.T) {
	t.Parallel()
	const n = 165
	at := netip.MustParseAddrPort(fmt.Sprintf("127.0.%d.53:53", n))
	l := startLab(t, "2016", n, "", func(o *org.Organisation) {
		o.DNS = at
		o.Redirect.Router = "server-fqdn"
	})
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.DNS().String())
	}}
	addrs, err := r.LookupNetIP(t.Context(), "ip4", "EX1.contoso.lab")
	require.NoError(t, err)
	require.Equal(t, l.addr(10), addrs[0].Unmap().String())
	_, srv, err := r.LookupSRV(t.Context(), "sip", "tcp", "contoso.lab")
	require.NoError(t, err)
	require.Equal(t, l.at("call-router").Port(), srv[0].Port)
	mx, err := r.LookupMX(t.Context(), "contoso.lab")
	require.NoError(t, err)
	require.Len(t, mx, 1, "the server that takes mail from everybody, once")
	require.Equal(t, "ex1.contoso.lab.", mx[0].Host)
	for _, unknown := range []string{"ex9.contoso.lab", "example.com"} {
		_, err = r.LookupNetIP(t.Context(), "ip4", unknown)
		require.Error(t, err, unknown)
	}
	require.Equal(t, "NXDOMAIN", l.awaitNth(1, "dns.asked", "name=ex9.contoso.lab").Text("result"))
	require.Equal(t, "REFUSED", l.awaitNth(1, "dns.asked", "name=example.com").Text("result"))

	verdictOn(t, l, 0, "4000", nobody)
	require.Contains(t, l.await("um.redirected", time.Second).Text("contact"), "@ex1.contoso.lab:")

	dig := needPeer(t, "dig")
	for _, how := range []string{"+notcp", "+tcp"} {
		out, err := command(t, t.TempDir(), 10*time.Second, dig, "@"+l.DNS().Addr().String(), "-p", fmt.Sprint(l.DNS().Port()), how, "+short", "ex1.contoso.lab", "A")
		require.NoError(t, err, out)
		require.Equal(t, l.addr(10)+"\n", out)
	}
}
