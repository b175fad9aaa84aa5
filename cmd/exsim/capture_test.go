package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// read runs one of Wireshark's programs on a file.
func readCapture(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, needPeer(t, program), args...)
	c.Stdout, c.Stderr = &out, &errs
	require.NoError(t, c.Run(), errs.String())
	return out.String()
}

// decodeAs are the arguments that the comment of a capture tells.
func decodeAs(t *testing.T, file string) []string {
	t.Helper()
	return strings.Fields(strings.Join(regexp.MustCompile(`-d \S+,(sip|smtp)\b`).FindAllString(readCapture(t, "capinfos", "-k", file), -1), " "))
}

// A call in TLS with SRTP: tshark sees SIP in clear, the streams without loss,
// sealed and plain, and the verdicts at their packets; capinfos finds the packets
// in the order of their times.
func TestCaptureOfSecuredCall(t *testing.T) {
	t.Parallel()
	needPeer(t, "tshark")
	file := filepath.Join(t.TempDir(), "x.pcapng")
	code, _, errs := runExsim(t, "run", "srtp-voice-message", "--free-ports", "--pcapng", file)
	require.Zero(t, code, errs)
	as := append([]string{"-r", file}, decodeAs(t, file)...)

	out := readCapture(t, "tshark", append(as, "-Y", "sip.Request-Line contains INVITE or sip.Status-Line contains 302")...)
	require.Equal(t, 3, strings.Count(out, "Request: INVITE"), out)
	require.Equal(t, 2, strings.Count(out, "Status: 302"), out)

	streams := readCapture(t, "tshark", append(as, "-q", "-z", "rtp,streams")...)
	require.Equal(t, 4, strings.Count(streams, " 0 (0.0%)"), streams)
	require.Equal(t, 2, strings.Count(streams, "::ffff:127.0.0.11 "), "the plain ones: %s", streams)
	require.Empty(t, readCapture(t, "tshark", append(as, "-Y", "_ws.malformed or tcp.analysis.flags")...))

	comments := readCapture(t, "tshark", append(as, "-Y", "frame.comment", "-T", "fields", "-e", "sip.Request-Line", "-e", "frame.comment")...)
	require.Regexp(t, `INVITE \S+ SIP/2.0\s+exsim: step 2 passed`, comments)
	info := readCapture(t, "capinfos", file)
	require.Regexp(t, `Strict time order:\s+True`, info)
	require.Regexp(t, `Number of decryption secrets in file: 1`, info)
}

// What a scenario calls secret, and what logs on, can be read nowhere in a
// capture, not with its keys either; neither can a PIN.
func TestCaptureHidesSecrets(t *testing.T) {
	t.Parallel()
	needPeer(t, "tshark")
	dir := t.TempDir()
	code, _, errs := runExsim(t, "run", "submission", "subscriber-access", "--free-ports", "--pcapng", dir)
	require.Zero(t, code, errs)
	for _, name := range []string{"submission", "subscriber-access"} {
		file := filepath.Join(dir, name+".pcapng")
		all := readCapture(t, "tshark", append([]string{"-r", file, "-V"}, decodeAs(t, file)...)...)
		for _, secret := range []string{"Engine-1843", base64.StdEncoding.EncodeToString([]byte("Engine-1843")), "135790"} {
			require.NotContains(t, all, secret)
		}
	}
	// Keys pressed under a prompt for the PIN have no event in the capture.
	digits := readCapture(t, "tshark", "-r", filepath.Join(dir, "subscriber-access.pcapng"), "-Y", "frame.comment contains \"digit of a secret\"", "-T", "fields", "-e", "rtpevent.event_id")
	require.NotEmpty(t, strings.TrimSpace(digits))
	require.Empty(t, strings.Trim(digits, "0\n,"), "every starred event is 0")
}

// Digits that a scenario calls secret are told by neither end, in the trace as
// in the capture, whoever knows that they are.
func TestSecretDigitsOfOneEnd(t *testing.T) {
	t.Parallel()
	needPeer(t, "tshark")
	dir := t.TempDir()
	file := filepath.Join(dir, "x.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: x
vars: {pin: "47110815"}
actors:
  gw: {role: ip-gateway, address: 127.0.0.30}
steps:
  - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
  - expect: {event: um.greeting, call: c1}
  - dtmf: {call: c1, digits: "${pin}", secret: true}
  - hangup: {call: c1}
`), 0o600))
	_, _, errs := runExsim(t, "run", file, "--free-ports", "--pcapng", filepath.Join(dir, "x.pcapng"), "--save", dir)
	require.Empty(t, errs)
	trace, err := os.ReadFile(filepath.Join(dir, "x.jsonl"))
	require.NoError(t, err)
	require.NotContains(t, string(trace), "47110815")
	require.Equal(t, 16, strings.Count(string(trace), `"digit":"?"`), "eight, told by both ends")
	digits := readCapture(t, "tshark", "-r", filepath.Join(dir, "x.pcapng"), "-Y", "rtpevent", "-T", "fields", "-e", "rtpevent.event_id")
	require.NotEmpty(t, strings.TrimSpace(digits))
	require.Empty(t, strings.Trim(digits, "0\n"))
}

// One file is not for several runs, and what cannot be written is said before
// anything runs.
func TestCaptureWhere(t *testing.T) {
	code, _, errs := runExsim(t, "run", "missed-call", "call-answering", "--free-ports", "--pcapng", filepath.Join(t.TempDir(), "x.pcapng"))
	require.Equal(t, exitInput, code)
	require.Contains(t, errs, "one file, and there are 2 runs")
	code, _, errs = runExsim(t, "demo", "--free-ports", "--pcapng", filepath.Join(t.TempDir(), "none", "x.pcapng"))
	require.Equal(t, exitInput, code)
	require.Contains(t, errs, "no such file")
	_, err := os.Stat("x.pcapng")
	require.ErrorIs(t, err, os.ErrNotExist)
}
