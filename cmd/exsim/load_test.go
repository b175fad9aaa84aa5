package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"bytes"
	"context"
	"strconv"

	"github.com/stretchr/testify/require"
)

const fullLoad = `version: 1
name: full-load
organisation: {limits: {max-calls-allowed: 200}}
actors:
  gw: {role: ip-gateway, address: 127.0.0.30}
  mx: {role: mail-host, address: 127.0.0.60}
steps:
  - parallel:
      - repeat:
          rate: 40
          ramp: 5s
          for: 35s
          concurrency: 200
          steps:
            - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
            - talk: {call: c1, for: 3s}
            - dtmf: {call: c1, digits: "#"}
            - expect: {event: um.recorded, call: c1, where: {by: key}}
            - hangup: {call: c1}
            - mail: {to: "4021", call: c1}
      - repeat:
          rate: 50
          for: 30s
          steps:
            - send: {from: mx, to: "4022"}
goals:
  - {event: rtp.ended, at: um-worker, only: {direction: received}, where: {lost: {max: 0}}}
  - {event: rtp.ended, at: gw, only: {direction: received}, where: {lost: {max: 0}}}
  - {event: load.ended, where: {failed: 0, mail_lost: 0}}
`

// 200 calls at once with media and 50 mails a second for 30 s: nothing is lost,
// and the report says whether exsim kept up.
func TestSoakLoad(t *testing.T) {
	if os.Getenv("EXSIM_SOAK") == "" {
		t.Skip("part of make soak")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "full-load.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fullLoad), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exsim(ctx, "run", file, "--free-ports", "--ladder", "--html", filepath.Join(dir, "load.html"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	require.NoError(t, c.Run(), out.String())
	for _, line := range regexp.MustCompile(`(?m)^LOAD .*$|^  .*(call|send|mail) .*ms.*$`).FindAllString(out.String(), -1) {
		t.Log(line)
	}
	peak := regexp.MustCompile(`at most (\d+) at once`).FindAllStringSubmatch(out.String(), -1)
	require.Len(t, peak, 2)
	most := 0
	for _, p := range peak {
		n, err := strconv.Atoi(p[1])
		require.NoError(t, err)
		most = max(most, n)
	}
	require.Equal(t, 200, most)
}

// A load tells how it goes, fails by its goals, and Ctrl-C ends it.
func TestLoadFromTheCommandLine(t *testing.T) {
	t.Parallel()
	code, out, errs := runExsim(t, "run", "load-mail", "--free-ports", "--set", "taken=1us", "--set", "time=1s")
	require.Equal(t, exitFailed, code, errs)
	require.Contains(t, out, "p99 is")
	require.Contains(t, out, "LOAD     step 1: 20 of 20 begun")
	require.Contains(t, out, "exsim kept up")

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()
	c := exsim(ctx, "run", "load-mail", "--free-ports", "--set", "time=1h", "--save", dir, "--pcapng", dir)
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	b := make([]byte, 1)
	_, err = stderr.Read(b) // the first line comes a second into the load
	require.NoError(t, err)
	require.NoError(t, c.Process.Signal(os.Interrupt))
	_ = c.Wait()
	require.Equal(t, exitInterrupted, c.ProcessState.ExitCode())
	for _, name := range []string{"load-mail.jsonl", "load-mail.pcapng"} { // the evidence is kept
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Greater(t, info.Size(), int64(10_000))
	}
}
