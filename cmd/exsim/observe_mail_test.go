package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
)

// A receive connector is held against the profile: of its own version it is as
// known, of another one it differs, and what was assumed becomes a file of facts
// that exsim takes.
func TestObserveMail(t *testing.T) {
	dir := t.TempDir()
	org := filepath.Join(dir, "org.yaml")
	require.NoError(t, os.WriteFile(org, []byte(`version: "2019"
domain: contoso.lab
servers: [{name: EX1, fqdn: ex1.contoso.lab, address: 127.0.181.10, roles: [client-access, mailbox]}]
receive-connectors: [{name: Default Frontend EX1, server: EX1, tarpit-interval: 0s}]
`), 0o600))
	c := exsim(t.Context(), "up", "-c", org, "--json", "--free-ports", "--dir", filepath.Join(dir, "data"))
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = in.Close(); _ = c.Process.Kill(); _ = c.Wait() })
	d := json.NewDecoder(out)
	var ready readyLine
	require.NoError(t, d.Decode(&ready))
	go func() {
		for d.Decode(&struct{}{}) == nil {
		}
	}()
	at := ""
	for _, l := range ready.Listeners {
		if l.Row == "default-frontend" {
			at = l.Address
		}
	}
	seen := filepath.Join(dir, "seen.yaml")
	code, said, errs := runExsim(t, "observe", at, "--connector", "default-frontend", "--version", "2019", "--write", seen)
	require.Equal(t, 0, code, errs)
	require.NotContains(t, said, "DIFFERS")
	require.Contains(t, said, "certificate of CN=ex1.contoso.lab")
	text, err := os.ReadFile(seen)
	require.NoError(t, err)
	p, err := profile.Load("2019", profile.Override{Name: "seen.yaml", Data: text})
	require.NoError(t, err, string(text))
	f, _ := p.Fact("smtp.reply.reset")
	require.Equal(t, profile.Observed, f.Standing)

	code, said, errs = runExsim(t, "observe", at, "--connector", "default-frontend", "--version", "2013", "--format", "csv")
	require.Equal(t, 0, code, errs)
	require.Regexp(t, `(?m)^ehlo in clear,.*DIFFERS`, said)
	require.Regexp(t, `(?m)^smtp.reply.unrecognized,.*DIFFERS`, said)
	code, _, errs = runExsim(t, "observe", at, "--connector", "nothing")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "has no such receive connector")
}
