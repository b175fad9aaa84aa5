package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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

// sbcConfig is a proxy that follows redirects. A Go template.
const sbcConfig = `#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
listen=tcp:{{.Listen}}
{{.Source}}
mpath="{{.Modules}}/"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "acc.so"
loadmodule "uac_redirect.so"
modparam("tm", "failure_reply_mode", 3)
modparam("tm", "fr_timer", 3000)
modparam("uac_redirect", "default_filter", "accept")
modparam("uac_redirect", "acc_function", "acc_log_request")
request_route {
	if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
	if (has_totag()) {
		loose_route();
		t_relay();
		exit;
	}
	record_route();
	$du = "sip:{{.Router}};transport=tcp";
	t_on_failure("REDIRECT");
	t_relay();
}
failure_route[REDIRECT] {
	if (!t_check_status("302")) exit;
	get_redirects("1:1");
	$du = $null;
	{{.Redirected}}
	t_on_failure("REDIRECT");
	t_relay();
}
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
	source := "tcp_source_ipv4=" + strings.Split(listen, ":")[0]
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	require.NoError(t, err)
	require.NotEmpty(t, modules)
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
			require.NoError(t, template.Must(template.New("").Parse(sbcConfig)).Execute(&conf,
				map[string]any{"Listen": listen, "Modules": modules[0], "Router": router, "Source": tt.source, "Redirected": tt.redirected}))
			name := filepath.Join(t.TempDir(), "kamailio.cfg")
			require.NoError(t, os.WriteFile(name, conf.Bytes(), 0o600))
			startSBC(t, kamailio, name, listen)
			code, out, errs := runExsim(t, append([]string{"run", file}, offset...)...)
			require.Equal(t, tt.code, code, out+errs)
			require.Contains(t, out, tt.want)
		})
	}
}

// startSBC runs Kamailio until the test ends.
func startSBC(t *testing.T, kamailio, config, listen string) {
	t.Helper()
	var said bytes.Buffer
	c := exec.CommandContext(context.WithoutCancel(t.Context()), kamailio, "-f", config, "-DD", "-E", "-Y", filepath.Dir(config), "-m", "32", "-M", "8")
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		_ = c.Wait()
		timer.Stop()
		if t.Failed() {
			t.Log(strings.TrimSpace(said.String()))
		}
	})
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", listen)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
}
