package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// networkScenario is a scenario of paths alone, between a gateway beyond a
// filter and Exchange.
const networkScenario = `version: 1
name: window
organisation:
  rtp: {low: 20000, high: 20999}
  servers: [{name: ex, fqdn: ex.contoso.lab, address: 10.77.2.2, roles: [client-access, mailbox]}]
  mailboxes: []
actors:
  gw: {role: ip-gateway, address: 10.77.1.2, device: external}
path:
  closed: undocumented
  sweep: all
  intact: [sip, sdp, addresses]
  hosts: {gw: {rtp: {low: 30000, high: 30099}}}
`

// runWindow runs the scenario where Exchange would stand, while exsim listen
// stands in the gateway's place.
func runWindow(t *testing.T, n *network, file string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := n.in(ctx, n.B, "run", file, "--ladder", "--dir", t.TempDir(), "--patience", "20s")
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	_ = c.Run()
	return c.ProcessState.ExitCode(), b.String()
}

// A scenario proves the paths to a gateway through a real filter that has the
// rules made of the scenario itself; with one of them closed, one open beside or
// what passes translated it fails, and says which path.
func TestRunProvesPaths(t *testing.T) {
	n := voiceNetwork(t)
	file := t.TempDir() + "/window.yaml"
	require.NoError(t, os.WriteFile(file, []byte(networkScenario), 0o600))
	code, own, errs := runExsim(t, "ports", "--plan", file, "--format", "nft")
	require.Zero(t, code, errs)
	control := "\t\tct state established,related accept\n\t\ttcp dport 7800 accept\n"
	own = strings.Replace(own, "\t\tct state established,related accept\n", control, 1)
	stop := n.listen(n.A, file, "gw")

	n.rules(own)
	code, out := runWindow(t, n, file)
	require.Zero(t, code, out)
	require.Contains(t, out, "NOW: run exsim listen")
	require.Contains(t, out, "paths gw > ex: 5 open, as must be")
	require.Contains(t, out, "paths: sip arrives as it left")

	without := ""
	for line := range strings.Lines(own) {
		if !strings.Contains(line, "{ 5062 }") {
			without += line
		}
	}
	require.NotEqual(t, own, without)
	n.rules(without)
	code, out = runWindow(t, n, file)
	require.Equal(t, exitFailed, code, out)
	require.Contains(t, out, "FAIL     path gw>ex tcp/5062: open")
	require.Equal(t, 1, strings.Count(out, "FAIL "), out)

	n.rules(strings.Replace(own, control, control+"\t\tmeta l4proto udp accept\n", 1))
	code, out = runWindow(t, n, file)
	require.Equal(t, exitFailed, code, out)
	require.Regexp(t, `FAIL     path gw>ex udp/others: closed`, out)
	require.Contains(t, out, "gw>ex udp/5060 is open") // contradictory: a warning

	n.rules(own + "table ip masks {\n chain out {\n  type nat hook postrouting priority 100\n  oifname r2 masquerade\n }\n}\n")
	code, out = runWindow(t, n, file)
	require.Equal(t, exitFailed, code, out)
	require.Contains(t, out, "10.77.1.2 is seen as 10.77.2.1")

	stop()
	n.rules(own)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := n.in(ctx, n.B, "run", file, "--patience", "1s", "--dir", t.TempDir())
	nobody, _ := c.CombinedOutput()
	require.Equal(t, exitFailed, c.ProcessState.ExitCode())
	require.Contains(t, string(nobody), "no control connection to gw")
}

// What exsim listen would need at the other end is asked for before anything
// runs.
func TestRunPathsNeedsSecret(t *testing.T) {
	file := t.TempDir() + "/window.yaml"
	require.NoError(t, os.WriteFile(file, []byte(networkScenario), 0o600))
	for secret, want := range map[string]string{"": "set EXSIM_SECRET to the same text at both ends", "short": "EXSIM_SECRET has 5 characters; 16 at least"} {
		t.Setenv(secretVariable, secret)
		code, out, errs := runExsim(t, "run", file)
		require.Equal(t, exitInput, code, errs)
		require.Contains(t, errs, want)
		require.Empty(t, out)
	}
}
