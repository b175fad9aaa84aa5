package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inspecting is a filter that has no rule for media, and reads SIP over TCP on
// some ports (the kernel's own helper): what a session description names is
// open for the call.
func inspecting(ports string) string {
	helper := ""
	if ports != "" {
		helper = fmt.Sprintf(" ct helper siptcp { type \"sip\" protocol tcp; l3proto ip; }\n chain pre { type filter hook prerouting priority -150; tcp dport { %s } ct helper set \"siptcp\"; }\n", ports)
	}
	return "table ip f {\n" + helper + ` chain forward {
  type filter hook forward priority 0; policy drop;
  ct state established,related accept
  tcp dport { 7800, 5060, 5062, 5065, 5067 } accept
 }
}
`
}

// A filter that opens media for each call by the SIP that it reads: every port
// of media passes inside calls, and none where the filter does not read SIP on
// the port on which calls are answered.
func TestPinholes(t *testing.T) {
	n := voiceNetwork(t)
	text := strings.NewReplacer(`, "fd77:1::2"`, "", `, "fd77:2::2"`, "", "roles: [client-access, mailbox]", "roles: [mailbox]").Replace(voicePlan) +
		"sip: tcp\nmedia: signalled\n"
	plan := planFile(t, text)
	n.listen(n.B, plan, "mbx")
	const media, back = "gw>mbx udp/20000-20499", "mbx>gw udp/30000-30019"

	code, own, errs := runExsim(t, "ports", "--plan", plan, "--format", "nft")
	require.Zero(t, code, errs)
	n.rules(strings.Replace(own, "ct state invalid drop", "ct state invalid drop\n\t\ttcp dport 7800 accept", 1))
	code, rows, errs := n.probe(n.A, plan, "gw", "mbx")
	for key, r := range rows {
		require.Equal(t, "pass", r.Level, "our own rules: %s: %+v", key, r)
	}
	require.Zero(t, code, errs)

	n.rules(inspecting("5065, 5067"))
	_, rows, errs = n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, "open", rows[media].Found, "%+v %s", rows[media], errs)
	require.Contains(t, strings.Join(rows[media].Evidence, " "), "inside a call over tcp/5065,5067")
	require.Equal(t, "dropped", rows[back].Found, "calls to the gateway are not read: %+v", rows[back])

	n.rules(inspecting("5060, 5065, 5067"))
	_, rows, errs = n.probe(n.A, plan, "gw", "mbx", "--full")
	require.Equal(t, "open", rows[media].Found, "%+v %s", rows[media], errs)
	require.Equal(t, "open", rows[back].Found, "%+v", rows[back])
	require.Equal(t, "open", rows["gw>mbx tcp/5065"].Found, "%+v", rows["gw>mbx tcp/5065"])

	n.rules(inspecting("5060, 5065"))
	_, rows, _ = n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, "partly open", rows[media].Found, "%+v", rows[media])
	require.Contains(t, rows[media].Next, "read SIP on tcp/5067", "of the second worker process")

	n.rules(inspecting("5060"))
	code, rows, _ = n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "dropped", rows[media].Found, "%+v", rows[media])
	require.Contains(t, rows[media].Next, "read SIP on tcp/5065,5067")

	n.rules(inspecting("5060, 5065, 5067") + "table ip n {\n chain post { type nat hook postrouting priority 100; oifname r2 masquerade; }\n}\n")
	_, rows, errs = n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, "open", rows[media].Found, "the helper translates what the descriptions name: %+v %s", rows[media], errs)

	n.rules(inspecting("") + "table ip shut {\n chain forward {\n  type filter hook forward priority -1\n  tcp dport { 5065, 5067 } drop\n }\n}\n")
	_, rows, _ = n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, "not proven", rows[media].Found, "%+v", rows[media])
	require.Contains(t, rows[media].Cause, "no call could be placed over tcp/5065")
}
