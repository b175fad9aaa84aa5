package sim_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// linphonec, a softphone with many codecs that follows redirects itself, presses
// its way through an attendant's menu, is held by nobody but itself, and comes to
// a mailbox.
func TestLinphone(t *testing.T) {
	linphonec := needPeer(t, "linphonec")
	l := startLab(t, "2016", 175, "facts: {redirect.router-host: {value: address}}", short(t), alsoLoopback, func(o *org.Organisation) {
		o.HuntGroups = append(o.HuntGroups, org.HuntGroup{Name: "aa", Pilot: "4500", Gateway: "loopback", DialPlan: "Lab"})
		o.Attendants = []org.Attendant{{Name: "reception", Pilot: "4500", DialPlan: "Lab", Keys: map[string]org.Key{"3": {VoiceMail: "4021"}}}}
	})
	say, said := startLinphone(t, linphonec)
	say("call sip:4500@%s;transport=tcp", l.at("call-router"))
	l.awaitNth(1, "um.menu", "menu=reception")
	say("pause")
	l.awaitNth(2, "sip.sent", "method=INVITE", "status=200")
	require.Eventually(t, func() bool { return said.count("is now paused") > 0 }, 10*time.Second, 20*time.Millisecond)
	say("resume")
	l.awaitNth(3, "sip.sent", "method=INVITE", "status=200")
	say("3")
	require.Equal(t, "ada@contoso.lab", l.await("um.greeting", 20*time.Second).Text("mailbox"))
	l.await("um.recording", 10*time.Second)
	say("terminate")
	require.Equal(t, "bye", l.await("um.ended", 10*time.Second).Text("how"))
}

// startLinphone runs linphonec; say types a line, and said is what it prints.
func startLinphone(t *testing.T, linphonec string) (say func(format string, args ...any), said *output) {
	t.Helper()
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".local", "share", "linphone"), 0o700))
	rc := filepath.Join(home, "linphonerc")
	require.NoError(t, os.WriteFile(rc, []byte("[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nuse_ipv6=0\ncontact=\"gw\" <sip:7125550123@127.0.0.1>\nuse_rfc2833=1\n[sound]\nplayback_dev_id=none\n"), 0o600))
	c := exec.Command(linphonec, "-c", rc, "-d", "0")
	c.Env = append(os.Environ(), "HOME="+home)
	keys, err := c.StdinPipe()
	require.NoError(t, err)
	out := &output{}
	c.Stdout, c.Stderr = out, out
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_, _ = io.WriteString(keys, "quit\n")
		timer := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		timer.Stop()
		if t.Failed() {
			t.Log(out.buf.String())
		}
	})
	return func(format string, args ...any) {
		_, err := fmt.Fprintf(keys, format+"\n", args...)
		require.NoError(t, err)
	}, out
}
