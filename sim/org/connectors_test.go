package org

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/exsim/exsim/sim/profile"
	"github.com/stretchr/testify/require"
)

// What Set-ReceiveConnector refuses is refused, with its place.
func TestConnectorMistakes(t *testing.T) {
	_, good, err := Default("2016")
	require.NoError(t, err)
	for settings, want := range map[string]string{
		"server: EX2": `connector "Relay": no server "EX2"`,
		"server: EX1, auth-mechanism: [Tls, Basic]":             `unknown mechanism "Basic"`,
		"server: EX1, permission-groups: [Everybody]":           `unknown group "Everybody"`,
		"server: EX1, anonymous-rights: [ms-Exch-SMTP-Submitt]": `did you mean "ms-Exch-SMTP-Submit"?`,
		"server: EX1, usage: Relay":                             `usage: "Relay" is not known`,
		"server: EX1, remote-ip-ranges: [10.0.0]":               `"10.0.0" is no address, network`,
		"server: EX1, remote-ip-ranges: [10.0.0.9-10.0.0.1]":    `is no address, network`,
		"server: EX1": `connector "Relay" has the port and the range of "Default Frontend EX1"`,
		"server: EX1, port: 26, auth-mechanism: [BasicAuth, BasicAuthRequireTLS]":                                         "BasicAuthRequireTLS needs BasicAuth and Tls",
		"server: EX1, port: 26, auth-mechanism: [], require-tls: true":                                                    "require-tls needs Tls",
		"server: EX1, port: 26, auth-mechanism: [ExternalAuthoritative]":                                                  "ExternalAuthoritative needs the group ExchangeServers",
		"server: EX1, port: 26, auth-mechanism: [ExternalAuthoritative, BasicAuth], permission-groups: [ExchangeServers]": "ExternalAuthoritative goes with Tls alone",
		"server: EX1, port: 26, banner: hello":                                                                            "a banner begins with 220",
		"server: EX1, port: 26, max-mesage-size: 1":                                                                       `did you mean "max-message-size"?`,
		"server: EX1, port: 26, remote-ip-ranges: [" + strings.Repeat("10.0.0.1,", 1201) + "]":                            "1201 ranges; Exchange takes about 1200",
	} {
		_, err := Load("org.yaml", append(good[:len(good):len(good)], "receive-connectors: [{name: Relay, "+settings+"}]\n"...))
		require.ErrorContains(t, err, want, settings)
		require.Regexp(t, `org.yaml:\d+:\d+: `, err.Error())
	}
}

// A connector of Setup's moves to another port, with a listener of its own, or
// beside another connector.
func TestMovedConnectors(t *testing.T) {
	_, good, err := Default("2016")
	require.NoError(t, err)
	p, err := profile.Load("2016")
	require.NoError(t, err)
	rows := func(settings string) (ids []string, ports []uint16, o *Organisation) {
		o, err := Load("org.yaml", append(good[:len(good):len(good)], "receive-connectors: [{name: Client Frontend EX1, server: EX1, "+settings+"}]\n"...))
		require.NoError(t, err)
		for _, r := range o.Rows(p, &o.Servers[0]) {
			if r.Service == "front-end-transport" {
				ids, ports = append(ids, r.ID), append(ports, r.Port)
			}
		}
		return ids, ports, o
	}
	ids, ports, _ := rows("port: 2587")
	require.Equal(t, []string{"default-frontend", "client-frontend", "outbound-proxy-frontend"}, ids)
	require.Equal(t, []uint16{25, 2587, 717}, ports)
	ids, ports, o := rows("port: 25, remote-ip-ranges: [10.0.0.0/8]")
	require.Equal(t, []string{"default-frontend", "outbound-proxy-frontend"}, ids)
	require.Equal(t, []uint16{25, 717}, ports)
	list := o.ConnectorsOf(p, &o.Servers[0])
	require.Equal(t, "client-frontend", Serving(list, 25, netip.MustParseAddr("10.1.1.1")).ID)
	require.Equal(t, "default-frontend", Serving(list, 25, netip.MustParseAddr("192.0.2.1")).ID)
	require.Nil(t, Serving(list, 587, netip.MustParseAddr("10.1.1.1")))
}
