package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/gateway"
)

const guidedScenario = `version: 1
name: guided
summary: A voice message from whatever device stands there.
vars: {device: 127.0.0.41}
organisation:
  gateways: [{name: gw1, address: "${device}", dial-plan: Lab}]
actors: {gw: {role: ip-gateway, address: "${device}"}}
steps:
  - call: {id: c1, from: gw, dial: "4000", diverted: "4021"}
  - expect: {event: um.greeting, call: c1, where: {mailbox: ada@contoso.lab}}
  - talk: {call: c1, for: 500ms}
  - hangup: {call: c1}
  - mail: {to: "4021", call: c1, audio: same, where: {content_class: voice-ca}}
catches:
  - {actor: gw, do: no-diversion, cause: no-diversion}
`

// SIPp is the device, set up by the sheet alone: it calls when the run says so,
// and the verdict is that of a simulated device; a saved trace is judged alike.
func TestExternalDevice(t *testing.T) {
	sipp := needPeer(t, "sipp")
	dir := t.TempDir()
	file := filepath.Join(dir, "guided.yaml")
	require.NoError(t, os.WriteFile(file, []byte(guidedScenario), 0o600))
	speech, err := gateway.Speech(2 * time.Second)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "speech.ul"), speech, 0o600))

	code, out, errs := runExsim(t, "run", file, "--free-ports", "--prove")
	require.Zero(t, code, out+errs)

	offset := []string{"--port-offset", "23000"}
	code, sheet, errs := runExsim(t, append([]string{"check", file, "--setup"}, offset...)...)
	require.Zero(t, code, errs)
	for _, want := range []string{"the device calls from  127.0.0.41", "the number 4000", "call extension 4021", "Diversion"} {
		require.Contains(t, sheet, want)
	}
	router := regexp.MustCompile(`the trunk goes to +(\S+)`).FindStringSubmatch(sheet)
	require.NotNil(t, router, sheet)

	for _, tt := range []struct {
		name, from, to string
		code           int
		want           string
	}{
		{"right", "", "", 0, "passed     guided"},
		{"answers in pieces", "", "", 0, "passed     guided"},
		{"no Diversion", "Diversion: <tel:4021>;reason=no-answer;counter=1\n", "", 1, "no INVITE of the call has a Diversion"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			traces := filepath.Join(dir, "traces")
			text := guidedScenario
			if tt.name == "answers in pieces" {
				text = strings.Replace(text, "steps:", "faults: [{actor: CAS1, do: split, octet: 40, for: 30ms}, {actor: MBX1, do: split, octet: 200, for: 30ms}]\nsteps:", 1)
			}
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			code, out := external(t, append([]string{"run", file, "--device", "external", "--save", traces}, offset...), func(now string) *exec.Cmd {
				if !strings.Contains(now, "call extension 4021") {
					return nil
				}
				text, err := template.ParseFiles("../../sim/testdata/peers/gateway.xml.tmpl")
				require.NoError(t, err)
				var b bytes.Buffer
				require.NoError(t, text.Execute(&b, map[string]any{"Before": 1900, "Talk": 2300, "Speech": "speech.ul", "Digit": "", "Late": false}))
				script := strings.Replace(b.String(), tt.from, tt.to, 1)
				require.NoError(t, os.WriteFile(filepath.Join(dir, "gateway.xml"), []byte(script), 0o600))
				c := exec.CommandContext(t.Context(), sipp, router[1], "-t", "tn", "-max_socket", "1000", "-sf", "gateway.xml",
					"-i", "127.0.0.41", "-mi", "127.0.0.41", "-mp", "16000", "-m", "1", "-nostdin")
				c.Dir = dir
				return c
			})
			require.Equal(t, tt.code, code, out)
			require.Contains(t, out, tt.want)
			judged, _, errs := runExsim(t, "check", file, "--trace", filepath.Join(traces, "guided.jsonl"))
			require.Equal(t, tt.code, judged, errs)
		})
	}
}

// external runs exsim and starts what each instruction calls for.
func external(t *testing.T, args []string, start func(now string) *exec.Cmd) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exsim(ctx, args...)
	var said bytes.Buffer
	c.Stdout = &said
	errs, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(errs)
	var device *exec.Cmd
	for lines.Scan() {
		if d := start(lines.Text()); d != nil {
			device = d
			require.NoError(t, device.Start())
		}
	}
	err = c.Wait()
	if device != nil {
		_ = device.Process.Kill()
		_ = device.Wait()
	}
	if err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	return c.ProcessState.ExitCode(), said.String()
}

// sipsak is the device that watches its trunk.
func TestExternalOptions(t *testing.T) {
	sipsak := needPeer(t, "sipsak")
	file := filepath.Join(t.TempDir(), "options.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: watched
organisation:
  gateways: [{name: gw1, address: 127.0.0.1, dial-plan: Lab}]
actors: {gw: {role: ip-gateway, address: 127.0.0.1, device: external}}
steps:
  - options: {from: gw}
`), 0o600))
	code, out := external(t, []string{"run", file, "--port-offset", "24000", "--patience", "20s"}, func(now string) *exec.Cmd {
		if !strings.Contains(now, "wait until the device asks for OPTIONS") {
			return nil
		}
		return exec.CommandContext(t.Context(), sipsak, "-s", "sip:x@127.0.0.10:29060", "-E", "tcp")
	})
	require.Zero(t, code, out)
	code, out, errs := runExsim(t, "run", file, "--prove", "--free-ports", "--patience", "10ms")
	require.Equal(t, 1, code, errs)
	require.Contains(t, out, "no OPTIONS came from 127.0.0.1")
	require.Regexp(t, `the trunk goes to 127\.0\.0\.10:\d+ over TCP`, errs)
}

// swaks is the mail host, set up by the sheet alone: it is told what to send,
// and that a message to nobody is to be refused.
func TestExternalMailHost(t *testing.T) {
	swaks := needPeer(t, "swaks")
	file := filepath.Join(t.TempDir(), "mail.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: relayed
actors: {relay: {role: mail-host, address: 127.0.121.60, device: external}}
steps:
  - send: {from: relay, to: "4021", subject: hello, tls: required}
  - mail: {to: "4021", header: {Subject: hello}, within: 3s}
  - send: {from: relay, to: nobody@contoso.lab, subject: hello, outcome: refused}
goals:
  - {event: smtp.tls, at: default-frontend, where: {version: {matches: TLS}}}
`), 0o600))
	offset := []string{"--port-offset", "26000"}
	code, sheet, errs := runExsim(t, append([]string{"check", file, "--setup"}, offset...)...)
	require.Zero(t, code, errs)
	connector := regexp.MustCompile(`it sends to +([0-9.:]+)`).FindStringSubmatch(sheet)
	require.NotNil(t, connector, sheet)
	for _, tt := range []struct {
		name, subject string
		code          int
		want          string
	}{
		{"right", "hello", 0, "passed     relayed"},
		{"another subject", "good bye", 1, `Subject is "good bye"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := external(t, append([]string{"run", file, "--patience", "20s"}, offset...), func(now string) *exec.Cmd {
				m := regexp.MustCompile(`send a message from (\S+) to (\S+), subject`).FindStringSubmatch(now)
				if m == nil {
					return nil
				}
				return exec.CommandContext(t.Context(), swaks, "--server", connector[1], "--local-interface", "127.0.121.60",
					"--from", m[1], "--to", m[2], "--header", "Subject: "+tt.subject, "--tls", "--helo", "relay.fabrikam.example")
			})
			require.Equal(t, tt.code, code, out)
			require.Contains(t, out, tt.want)
		})
	}
}

// swaks meets a connector that refuses it for now, and is judged by whether it
// comes again.
func TestExternalRetry(t *testing.T) {
	swaks := needPeer(t, "swaks")
	file := filepath.Join(t.TempDir(), "retry.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: retry
actors: {relay: {role: mail-host, address: 127.0.121.61, device: external}}
faults: [{actor: CAS1, do: reply, at: default-frontend, of: message, nth: 1, reply: 452 4.3.1 Insufficient system resources}]
steps:
  - send: {from: relay, to: "4021", subject: hello}
  - mail: {to: "4021", header: {Subject: hello}, within: 3s}
`), 0o600))
	for _, tt := range []struct {
		name, script string
		code         int
		want         string
	}{
		{"again", swaksOnce + " || " + swaksOnce, 0, "passed     retry"},
		{"once", swaksOnce, 1, "did not send the message again in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := external(t, []string{"run", file, "--patience", "5s", "--port-offset", "27000"}, func(now string) *exec.Cmd {
				if !strings.Contains(now, "send a message") {
					return nil
				}
				return exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(tt.script, "swaks ", swaks+" "))
			})
			require.Equal(t, tt.code, code, out)
			require.Contains(t, out, tt.want)
		})
	}
}

const swaksOnce = "swaks --server 127.0.0.10:27025 --local-interface 127.0.121.61 --from bob@fabrikam.example --to ada@contoso.lab --header 'Subject: hello' --helo relay.fabrikam.example"
