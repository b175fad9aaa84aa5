package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A connector of the file's own is named by scenarios: at a port of its own, and
// where it shares one.
func TestOwnConnectors(t *testing.T) {
	text := `version: 1
name: own
summary: own connectors
organisation:
  version: "2019"
  receive-connectors:
    - {name: My Relay, server: EX1, port: 2526, usage: Internet}
    - {name: Printers, server: EX1, usage: Internet, remote-ip-ranges: [127.0.0.60], banner: 220 printers only}
    - {name: Default Frontend EX1, server: EX1, tarpit-interval: 0s}
actors:
  mx: {role: mail-host, address: 127.0.0.60}
steps:
  - session: {from: mx, at: my-relay, script: [{read: "^220 ex1"}, {say: QUIT}, {read: "^221"}]}
  - session: {from: mx, at: printers, script: [{read: "^220 printers only"}, {say: QUIT}, {read: "^221"}]}
  - expect: {event: smtp.connected, at: printers, where: {connector: Printers}}
  - connect: {from: mx, server: EX1, at: my-relay}
`
	list, err := Load("own.yaml", []byte(text), nil)
	require.NoError(t, err)
	for _, v := range runTest(t, list[0], nil).Verdicts {
		require.Equal(t, Passed, v.Result, "%d %s: %s", v.Step, v.Text, v.Got)
	}
	_, err = Load("own.yaml", []byte(text+"  - connect: {from: mx, server: EX1, at: default-frontend-ex1}\n"), nil)
	require.ErrorContains(t, err, `no listener is named "default-frontend-ex1"`)
}
