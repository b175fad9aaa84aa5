package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
)

// sbcScenario has both ends simulated and a real device between them.
const sbcScenario = `version: 1
name: behind-sbc
summary: A call of a telephone system passes a session border controller and becomes a voice message.
organisation:
  gateways: [{name: gw1, address: 127.0.121.41, dial-plan: Lab}]
actors:
  pbx: {role: ip-gateway, address: 127.0.121.42}
  sbc: {role: ip-gateway, address: 127.0.121.41, port: 25070, device: external}
steps:
  - call: {id: c1, from: pbx, to: sbc, dial: "4000", diverted: "4021", within: 4s}
  - talk: {call: c1, for: 1s, within: 5s}
  - dtmf: {call: c1, digits: "#"}
  - hangup: {call: c1}
  - mail: {to: "4021", call: c1, audio: same, where: {content_class: voice-ca}}
`

// Kamailio is the device, set up by the sheet alone; a telephone system of
// exsim's calls it, and behind it is exsim's Exchange. Nobody has to do
// anything, and the voice message is what was said, octet for octet.
func TestExternalSBC(t *testing.T) {
	kamailio := needPeer(t, "kamailio")
	dir := t.TempDir()
	file := filepath.Join(dir, "behind-sbc.yaml")
	require.NoError(t, os.WriteFile(file, []byte(sbcScenario), 0o600))
	offset := []string{"--port-offset", "25000"}
	code, sheet, errs := runExsim(t, append([]string{"check", file, "--setup"}, offset...)...)
	require.Zero(t, code, errs)
	said := func(line string) string {
		found := regexp.MustCompile(line).FindStringSubmatch(sheet)
		require.NotNil(t, found, "%s\n%s", line, sheet)
		return found[1]
	}
	router := said(`SET UP THE DEVICE sbc(?s:.*?)the trunk goes to +(\S+)`)
	listen := said(`SET UP THE DEVICE sbc(?s:.*?)the device calls from +(\S+)`) + ":" + said(`the device is called +at port (\d+) over TCP`)
	source := strings.Split(listen, ":")[0]
	for _, tt := range []struct {
		name, source, redirected string
		code                     int
		want                     string
	}{
		{"right", source, "", 0, "passed     behind-sbc"},
		{"drops Diversion", source, `remove_hf("Diversion");`, 1, "the INVITE behind a redirect has no Diversion"},
		{"hands redirects on", source, "exit;", 1, "the connection comes from 127.0.121.42"}, // where the telephone system goes itself
		{"calls from another address", "", "", 1, "the connection comes from 127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conf bytes.Buffer
			dir := t.TempDir()
			require.NoError(t, template.Must(template.ParseFiles("testdata/sbc.cfg.tmpl")).Execute(&conf, sbc{
				Listen: listen, Modules: kamailioModules(t), Dir: dir, Router: router, Transport: "tcp", Source: tt.source, Broken: broken{Redirected: tt.redirected},
			}))
			name := filepath.Join(dir, "kamailio.cfg")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "routers.list"), []byte("1 sip:"+router+";transport=tcp\n"), 0o600))
			require.NoError(t, os.WriteFile(name, conf.Bytes(), 0o600))
			startSBC(t, kamailio, name, listen)
			code, out, errs := runExsim(t, append([]string{"run", file}, offset...)...)
			require.Equal(t, tt.code, code, out+errs)
			require.Contains(t, out, tt.want)
		})
	}
}

// runUntilEnd runs a program with its children until the test ends, or stop.
func runUntilEnd(t *testing.T, c *exec.Cmd) (stop func()) {
	t.Helper()
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		_ = c.Wait()
		timer.Stop()
		if t.Failed() {
			t.Log(strings.TrimSpace(said.String()))
		}
	})
	t.Cleanup(stop)
	return stop
}

// kamailioModules is the folder of its modules.
func kamailioModules(t *testing.T) string {
	t.Helper()
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	require.NoError(t, err)
	require.NotEmpty(t, modules)
	return modules[0]
}

// startSBC runs Kamailio until the test ends, or stop.
func startSBC(t *testing.T, kamailio, config, listen string) (stop func()) {
	t.Helper()
	stop = runUntilEnd(t, exec.Command(kamailio, "-f", config, "-DD", "-E", "-Y", filepath.Dir(config), "-m", "32", "-M", "8"))
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", listen)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	return stop
}

// A server that is no Exchange at all is asked the same, and told apart: what it
// shows becomes no fact but where one was assumed.
func TestObserveForeign(t *testing.T) {
	kamailio := needPeer(t, "kamailio")
	dir := t.TempDir()
	const listen = "127.0.121.45:25080"
	var conf bytes.Buffer
	require.NoError(t, template.Must(template.ParseFiles("testdata/sbc.cfg.tmpl")).Execute(&conf, sbc{
		Listen: listen, Modules: kamailioModules(t), Dir: dir, Router: listen, Transport: "tcp",
		Broken: broken{Request: `if (is_method("INVITE")) { sl_send_reply("404", "Nobody Here"); exit; }`},
	}))
	name := filepath.Join(dir, "kamailio.cfg")
	require.NoError(t, os.WriteFile(name, conf.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "routers.list"), []byte("1 sip:"+listen+";transport=tcp\n"), 0o600))
	startSBC(t, kamailio, name, listen)
	seen := filepath.Join(dir, "seen.yaml")
	_, out, errs := runExsim(t, "observe", listen, "--from", "127.0.121.46", "--version", "2013", "--write", seen)
	require.Contains(t, out, "404 Nobody Here", errs)
	require.Regexp(t, `(?i)kamailio`, out)
	require.Contains(t, out, "differs")
	if _, err := os.Stat(seen); err == nil {
		code, _, errs := runExsim(t, "check", seen)
		require.Zero(t, code, errs)
	}
}
