package sim_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// A gateway that is known by its name alone is let in from the address that
// the name has, also over TCP. An address belongs to one gateway.
func TestGatewayByName(t *testing.T) {
	o := startLab(t, "2016", 87, "", func(o *org.Organisation) {
		own := o.Gateways[0]
		own.Address, own.FQDN = netip.Addr{}, "gw1.contoso.lab"
		twin := own
		twin.Name, twin.FQDN = "gw2", "gw2.contoso.lab"
		o.Gateways = []org.UMIPGateway{own, twin}
	}).Organisation()
	ask := make(chan struct{})
	x, err := sim.Start(sim.Config{Org: o, Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Net: sim.Net{
		Lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
			require.Equal(t, "ip4", network)
			if host == "gw2.contoso.lab" {
				<-ask
			}
			return []netip.Addr{netip.MustParseAddr("127.0.87.30")}, nil
		},
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, x.Close()) }()
	l := &lab{x, t, 87}
	require.Equal(t, "127.0.87.30", l.await("um.gateway_resolved", 5*time.Second).Text("addresses"))
	close(ask)
	require.Contains(t, l.await("um.gateway_unresolved", 5*time.Second).Text("why"), "127.0.87.30 has the address of gateway gw1")
	c, err := startGateway(t, l).Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, c.Hangup(t.Context()))
	require.Equal(t, "gw1", l.await("um.answered", time.Second).Text("gateway"))
}

// NoNewCalls refuses new calls and lets the running one be; Disabled ends it.
func TestGatewayStatus(t *testing.T) {
	l := startLab(t, "2016", 88, "")
	g := startGateway(t, l)
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, l.SetGatewayStatus("gw1", org.NoNewCalls))
	_, err = g.Call(t.Context(), params(l))
	require.ErrorContains(t, err, "403")
	require.Contains(t, l.await("um.refused", time.Second).Text("why"), "NoNewCalls")
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.ended" }))

	require.NoError(t, l.SetGatewayStatus("gw1", org.Disabled))
	require.NoError(t, c.Wait(t.Context()))
	require.Contains(t, l.await("um.hang_up", time.Second).Text("why"), "gw1 was disabled")

	require.NoError(t, l.SetGatewayStatus("gw1", org.Enabled))
	c, err = g.Call(t.Context(), params(l))
	require.NoError(t, err)
	require.NoError(t, c.Hangup(t.Context()))
	require.ErrorContains(t, l.SetGatewayStatus("gw9", org.Enabled), "gw9")
	require.ErrorContains(t, l.SetGatewayStatus("gw1", "Off"), "Enabled, Disabled")
}

// A UM service in maintenance refuses OPTIONS: the router passes it over, and
// takes it again behind the maintenance.
func TestMaintenance(t *testing.T) {
	l := startLab(t, "2013", 89, "facts: {um.probe-interval: {value: 50ms}}", func(o *org.Organisation) {
		o.Servers = append(o.Servers, org.Server{Name: "MBX2", FQDN: "mbx2.contoso.lab", Address: netip.MustParseAddr("127.0.89.12"), Roles: []org.Role{org.MailboxRole}})
	})
	g := startGateway(t, l)
	answeredBy := func() (host string) {
		c, err := g.Call(t.Context(), params(l))
		require.NoError(t, err)
		require.NoError(t, c.Hangup(t.Context()))
		for e := range l.Trace().Events() {
			if e.Name == "um.answered" {
				host = e.Host
			}
		}
		return host
	}
	require.NoError(t, l.SetMaintenance("MBX1", true))
	require.Contains(t, l.await("um.server_down", 5*time.Second).Text("why"), "503")
	require.Equal(t, "MBX2", answeredBy())
	require.NoError(t, l.SetMaintenance("MBX1", false))
	l.await("um.server_up", 5*time.Second)
	require.Equal(t, "MBX1", answeredBy())

	require.NoError(t, l.SetMaintenance("CAS1", true))
	_, err := g.Call(t.Context(), params(l))
	require.ErrorContains(t, err, "503")
	require.Equal(t, "maintenance", l.await("um.refused", time.Second).Text("check"))
	require.ErrorContains(t, l.SetMaintenance("CAS9", true), "CAS9")
}
