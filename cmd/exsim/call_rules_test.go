package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
)

// A real gateway, SIPp, calls Exchange through a firewall that has our own rules
// and no other, and its voice message is delivered; without the derived rule, as
// the page alone would have it, the call does not come through.
func TestCallThroughOwnRules(t *testing.T) {
	sipp := needPeer(t, "sipp")
	n := voiceNetwork(t)
	plan := planFile(t, strings.Replace(voicePlan, `exchange: "2013"`, `exchange: "2016"`, 1))
	plan16 := strings.Replace(strings.Replace(voicePlan, `exchange: "2013"`, `exchange: "2016"`, 1), "roles: [client-access, mailbox]", "roles: [mailbox]", 1)
	require.NoError(t, os.WriteFile(plan, []byte(plan16), 0o600))
	code, text, errs := runExsim(t, "ports", "--plan", plan, "--format", "nft")
	require.Zero(t, code, errs)

	code, organisation, errs := runExsim(t, "up", "--print", "--version", "2016")
	require.Zero(t, code, errs)
	organisation = strings.NewReplacer("127.0.0.10", "10.77.2.2", "127.0.0.30", "10.77.1.2").Replace(organisation) + "rtp: {low: 20000, high: 20499}\n"
	file := planFile(t, organisation)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	up := n.in(ctx, n.B, "up", "-c", file, "--json", "--dir", t.TempDir())
	out, err := up.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, up.Start())
	defer func() { _ = up.Wait() }()
	defer cancel()
	lines := make(chan string, 1<<12)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	await := func(name string, within time.Duration) bool {
		limit := time.After(within)
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					return false
				}
				if strings.Contains(l, `"name":"`+name+`"`) {
					return true
				}
			case <-limit:
				return false
			}
		}
	}
	require.True(t, await("up.ready", waitLong))

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "speech.ul"), []byte(strings.Repeat("\x80\x00", 8000)), 0o600))
	gateway, err := template.ParseFiles("../../sim/testdata/peers/gateway.xml.tmpl")
	require.NoError(t, err)
	xml, err := os.Create(filepath.Join(dir, "gateway.xml"))
	require.NoError(t, err)
	require.NoError(t, gateway.Execute(xml, map[string]any{"Before": 1900, "Talk": 2300, "Speech": "speech.ul", "Digit": "", "Late": false}))
	require.NoError(t, xml.Close())
	call := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		c := exec.CommandContext(ctx, "ip", "netns", "exec", n.A, sipp, "10.77.2.2:5060", "-t", "tn", "-max_socket", "1000",
			"-sf", "gateway.xml", "-i", "10.77.1.2", "-mi", "10.77.1.2", "-mp", "30000", "-m", "1", "-nostdin")
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %.300s", err, out)
		}
		return nil
	}

	without := ""
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "(derived)") {
			without += line
		}
	}
	require.NotEqual(t, text, without)
	n.rules(without)
	require.Error(t, call(6*time.Second), "the caller cannot follow the redirect to 5062")
	n.rules(text)
	require.NoError(t, call(30*time.Second))
	require.True(t, await("mail.delivered", 20*time.Second))
}
