package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const voicePlan = `plan: 1
name: voice
exchange: "2013"
contact: noc@example.net
zones: [{name: voice, kind: internal}, {name: inside, kind: internal}]
hosts:
  - {name: gw, zone: voice, roles: [voip-gateway], addresses: [10.77.1.2, "fd77:1::2"], rtp: {low: 30000, high: 30019}}
  - {name: mbx, zone: inside, roles: [client-access, mailbox], addresses: [10.77.2.2, "fd77:2::2"]}
rtp: {low: 20000, high: 20499}
uses: [um-calls, um-outgoing]
closed: {sample: 4}
`

func voiceNetwork(t *testing.T) *network {
	t.Parallel()
	return newNetwork(t, []string{"10.77.1.2", "fd77:1::2"}, []string{"10.77.2.2", "fd77:2::2"})
}

// What our own rules let through is found open, and nothing else is: the plan
// is proven against a real firewall, both ways and in both families.
func TestPathsThroughOwnRules(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	code, rules, errs := runExsim(t, "ports", "--plan", plan, "--format", "nft")
	require.Zero(t, code, errs)
	n.rules(strings.Replace(rules, "ct state invalid drop", "ct state invalid drop\n\t\ttcp dport 7800 accept", 1))
	n.listen(n.B, plan, "mbx")
	code, rows, errs := n.probe(n.A, plan, "gw", "mbx")
	for key, r := range rows {
		require.Equal(t, "pass", r.Level, "%s: %+v", key, r)
	}
	require.Zero(t, code, errs)
	require.Equal(t, "open", rows["gw>mbx tcp/5060"].Found)
	require.Equal(t, "open", rows["gw>mbx tcp/5061 v6"].Found)
	require.Equal(t, "open", rows["gw>mbx udp/20000-20499 v6"].Found)
	require.Equal(t, "open", rows["mbx>gw udp/30000-30019"].Found)
	require.Equal(t, "dropped", rows["gw>mbx udp/5060"].Found)

	json := n.must("ip", "netns", "exec", n.R, "nft", "-j", "list", "ruleset")
	file := planFile(t, json)
	code, out, errs := runExsim(t, "ports", "--plan", plan, "--check", file)
	require.Contains(t, out, "needed by the plan: none\n", errs)
	require.Contains(t, out, "not in the plan: none\n")
	require.Zero(t, code, "the control connection's own port is not held against the rules")
}

// Each way of closing a path has its name, its side and its rule.
func TestPathsClosed(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.rules(forward("accept",
		"tcp dport 5060 ip version 4 drop",
		"tcp dport 5061 ip version 4 reject with tcp reset",
		"tcp dport 5062 ip version 4 reject with icmp type admin-prohibited",
		"udp dport 20100-20199 ip version 4 drop",
		"udp sport 20250-20349 ip version 4 drop",
		"udp dport 30000-30019 ip version 4 reject",
		"tcp dport 5067 ip version 4 tcp flags & psh == psh reject with tcp reset",
		"udp dport 20000-20499 ip6 version 6 @th,16,16 & 1 == 1 drop",
		"tcp sport 5065 tcp flags & (syn | rst) == 0 ip version 4 drop",
		"tcp sport 5066 tcp flags & (syn | ack) == (syn | ack) drop",
		"tcp sport 5061 ip6 version 6 ip6 daddr fd77:2::2 drop", // on the way back of calls to the gateway
	))
	code, rows, _ := n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, 1, code)
	for key, want := range map[string]string{
		"gw>mbx tcp/5060": "dropped", "gw>mbx tcp/5061": "refused", "gw>mbx tcp/5062": "refused", "gw>mbx tcp/5063": "open",
		"gw>mbx tcp/5066": "dropped in one direction", "gw>mbx tcp/5066 v6": "dropped in one direction", "mbx>gw tcp/5061 v6": "dropped in one direction",
		"gw>mbx tcp/5067": "reset", "gw>mbx tcp/5065": "silent at the protocol level", "gw>mbx udp/20000-20499": "partly open", "mbx>gw udp/30000-30019": "refused",
		"gw>mbx tcp/5060 v6": "open", "gw>mbx udp/20000-20499 v6": "partly open", "mbx>gw udp/30000-30019 v6": "open",
	} {
		require.Equal(t, want, rows[key].Found, "%s: %+v", key, rows[key])
		require.Equal(t, "network", rows[key].Side)
	}
	require.Equal(t, "add: accept tcp from 10.77.1.2 to 10.77.2.2 port 5060; and let answers pass: state established", rows["gw>mbx tcp/5060"].Rule)
	require.Contains(t, rows["gw>mbx tcp/5060"].Cause, "no connection was completed at mbx, which listened")
	require.Contains(t, rows["gw>mbx udp/20000-20499 v6"].Cause, "dropped: the odd ports of 20000-20499")
	parts := map[string]string{}
	for _, p := range rows["gw>mbx udp/20000-20499"].Parts {
		parts[p.Found] = p.Ports
	}
	require.NotEmpty(t, parts["dropped in one direction"])
	junit := t.TempDir() + "/junit.xml"
	code, rows, _ = n.probe(n.A, plan, "gw", "mbx", "--full", "--junit", junit)
	out, err := exec.Command(needPeer(t, "xmllint"), "--noout", "--schema", "../../scenarios/report/testdata/junit-10.xsd", junit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 1, code)
	for _, p := range rows["gw>mbx udp/20000-20499"].Parts {
		parts[p.Found] = p.Ports
	}
	require.Equal(t, map[string]string{"open": "20000-20099,20200-20249,20350-20499", "dropped": "20100-20199", "dropped in one direction": "20250-20349"}, parts)
	require.Equal(t, "open", rows["gw>mbx tcp/5062 v6"].Found)
	require.Contains(t, rows["gw>mbx udp/20000-20499 v6"].Cause, "dropped: the odd ports of 20000-20499", "every port, by one socket")
}

// A path that must be closed and is open fails, and so does nothing else.
func TestPathsOpenBeside(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.rules("")
	code, rows, _ := n.probe(n.A, plan, "gw", "mbx")
	require.Equal(t, 1, code)
	for key, r := range rows {
		want := "pass"
		switch r.Kind {
		case "undocumented":
			want = "fail"
		case "contradictory":
			want = "warn"
		}
		require.Equal(t, want, r.Level, "%s: %+v", key, r)
		require.Equal(t, "open", r.Found, key)
	}
}

// A filter that limits new flows is named so, and not called closed.
func TestPathsLimited(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.rules(forward("accept", "udp dport 20000-20499 limit rate over 25/second burst 20 packets drop"))
	_, rows, _ := n.probe(n.A, plan, "gw", "mbx", "--full")
	r := rows["gw>mbx udp/20000-20499"]
	require.Equal(t, "slowed by a limit on new flows", r.Found, "%+v", r)
	require.Equal(t, "warn", r.Level)
}

// Without a control connection each end writes its record, and both are joined.
func TestPathsMerged(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	dir := t.TempDir()
	stop := n.listen(n.B, plan, "mbx", "--alone", "--record", dir+"/mbx.jsonl")
	n.rules(forward("drop", "ct state established accept", "udp dport 20000-20499 accept", "tcp dport 5060 accept", "udp dport 123 accept"))
	c := n.in(t.Context(), n.A, "probe", plan, "--from", "gw", "--to", "mbx", "--alone", "--record", dir+"/gw.jsonl", "--rate", "-1", "--timeout", "1s")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--merge")
	stop()
	code, text, errs := runExsim(t, "probe", plan, "--merge", dir+"/gw.jsonl", "--merge", dir+"/mbx.jsonl", "--format", "json")
	require.Equal(t, 1, code, errs)
	rows := truthRows(t, []byte(text), errs)
	require.Equal(t, "open", rows["gw>mbx udp/20000-20499"].Found)
	require.Equal(t, "open", rows["gw>mbx tcp/5060"].Found)
	require.Equal(t, "dropped", rows["gw>mbx tcp/5061"].Found)
	_, text, errs = runExsim(t, "probe", plan, "--merge", dir+"/gw.jsonl", "--format", "json")
	rows = truthRows(t, []byte(text), errs)
	require.Equal(t, "open", rows["gw>mbx tcp/5060"].Found, "the answer bears the other end's code")
	require.Equal(t, "not proven", rows["gw>mbx udp/5060"].Found, "UDP is not judged from one end")
	require.Equal(t, "not proven", rows["gw>mbx tcp/5061"].Found, "nobody knows whether the far end listened")
}

// A record that was cut short is a valid part, and a later run goes on with it.
func TestPathsResume(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.rules("")
	file := t.TempDir() + "/gw.jsonl"
	ctx := t.Context()
	c := n.in(ctx, n.A, "probe", plan, "--from", "gw", "--to", "mbx", "--record", file, "--rate", "10", "--full")
	require.NoError(t, c.Start())
	require.Eventually(t, func() bool {
		out, _ := exec.Command("grep", "-c", `"sent"`, file).Output()
		return strings.TrimSpace(string(out)) != "" && strings.TrimSpace(string(out)) != "0"
	}, waitLong, tick)
	require.NoError(t, c.Process.Signal(interrupt))
	_ = c.Wait()
	code, text, errs := runExsim(t, "probe", plan, "--merge", file)
	require.Contains(t, text, "INCOMPLETE: the record of gw was cut short", errs)
	require.NotEqual(t, 2, code)
	code, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--record", file, "--resume")
	require.Equal(t, 1, code, errs)
	require.Equal(t, "open", rows["gw>mbx udp/20000-20499"].Found, errs)
	require.Equal(t, "open", rows["mbx>gw tcp/5060"].Found)
}

// Strangers get no answer, and no order is taken from them.
func TestPathsStrangers(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.rules("")
	ctx := t.Context()
	c := n.in(ctx, n.A, "probe", plan, "--from", "gw", "--to", "mbx")
	c.Env = append(c.Env, secretVariable+"=another secret, as long")
	out, err := c.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "does not know the secret")
	other := planFile(t, voicePlan+"extra: [{from: gw, to: mbx, ports: 8443}]\n")
	out, err = n.in(ctx, n.A, "probe", other, "--from", "gw", "--to", "mbx").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "does not know the secret", "the key is of the plan")
}

// Certificates of the lab's authority serve in place of a secret.
func TestPathsCertificates(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	dir := t.TempDir() + "/lab"
	code, out, errs := runExsim(t, "pki", "init", "--dir", dir)
	require.Zero(t, code, out+errs)
	n.rules("")
	n.listen(n.B, plan, "mbx", "--pki", dir)
	_, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--pki", dir, "--one-way")
	require.Equal(t, "open", rows["gw>mbx tcp/5060"].Found, errs)
	other := t.TempDir() + "/other"
	code, out, errs = runExsim(t, "pki", "init", "--dir", other)
	require.Zero(t, code, out+errs)
	said, err := n.in(t.Context(), n.A, "probe", plan, "--from", "gw", "--to", "mbx", "--pki", other).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), "certificate signed by unknown authority")
}

// Ports that real services hold are judged by what these say: Kamailio is a SIP
// service, and a web server in its place is not.
func TestPathsRealServices(t *testing.T) {
	kamailio, haproxy := needPeer(t, "kamailio"), needPeer(t, "haproxy")
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	dir := t.TempDir()
	write := func(name, text string) string {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(text), 0o600))
		return dir + "/" + name
	}
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	require.NoError(t, err)
	require.NotEmpty(t, modules)
	sipConf := write("kamailio.cfg", "#!KAMAILIO\nlog_stderror=yes\nchildren=1\ntcp_children=1\nlisten=tcp:10.77.2.2:5060\nmpath=\""+modules[0]+"/\"\nloadmodule \"sl.so\"\nrequest_route { sl_send_reply(\"200\", \"OK\"); }\n")
	webConf := write("haproxy.cfg", "defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\nfrontend f\n bind 10.77.2.2:5062\n http-request return status 200\n")
	for port, args := range map[string][]string{
		"5060": {kamailio, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-P", dir + "/pid", "-f", sipConf}, "5062": {haproxy, "-db", "-f", webConf},
	} {
		c := exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", n.B}, args...)...)
		c.Cancel = func() error { return c.Process.Signal(interrupt) }
		c.WaitDelay = 5 * time.Second
		require.NoError(t, c.Start())
		t.Cleanup(func() { _ = c.Wait() })
		require.Eventually(t, func() bool {
			out, _ := exec.Command("ip", "netns", "exec", n.B, "ss", "-Htln").Output()
			return strings.Contains(string(out), "10.77.2.2:"+port)
		}, waitLong, tick)
	}
	n.listen(n.B, plan, "mbx")
	n.rules("")
	_, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--one-way")
	require.Equal(t, "real service", rows["gw>mbx tcp/5060"].Found, "%+v %s", rows["gw>mbx tcp/5060"], errs)
	require.Equal(t, "wrong service", rows["gw>mbx tcp/5062"].Found, "%+v", rows["gw>mbx tcp/5062"])
	require.Equal(t, "open", rows["gw>mbx tcp/5061"].Found)
	n.rules(forward("accept", "tcp dport 5060 drop"))
	_, rows, _ = n.probe(n.A, plan, "gw", "mbx", "--one-way")
	require.Equal(t, "dropped", rows["gw>mbx tcp/5060"].Found, "%+v", rows["gw>mbx tcp/5060"])
}

// Translation that gives a sender one address and then another is called unstable.
func TestPathsUnstableNAT(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, voicePlan)
	n.listen(n.B, plan, "mbx")
	n.must("ip", "-n", n.R, "addr", "add", "10.77.2.7/24", "dev", "r2")
	n.rules("table ip n {\n chain post {\n  type nat hook postrouting priority 100\n  oifname r2 udp dport 20000-20499 snat to numgen inc mod 2 map { 0 : 10.77.2.1, 1 : 10.77.2.7 }\n }\n}\n")
	_, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--one-way")
	r := rows["gw>mbx udp/20000-20499"]
	require.Equal(t, "open", r.Found, "%+v %s", r, errs)
	require.Regexp(t, "10.77.1.2 is seen as 10.77.2.[17], 10.77.2.[17], which is not stable", strings.Join(r.Evidence, "\n"))
}

// A line slower than the sweep loses nothing: this machine waits for it.
func TestPathsSlowLine(t *testing.T) {
	n := voiceNetwork(t)
	plan := planFile(t, strings.Replace(voicePlan, "rtp: {low: 20000, high: 20499}", "rtp: {low: 20000, high: 23999}", 1))
	n.listen(n.B, plan, "mbx")
	n.rules("")
	n.must("tc", "-n", n.A, "qdisc", "add", "dev", "e0", "root", "tbf", "rate", "1mbit", "burst", "3000", "limit", "10000000")
	_, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--full", "--one-way")
	require.Equal(t, "open", rows["gw>mbx udp/20000-23999"].Found, "%+v %s", rows["gw>mbx udp/20000-23999"], errs)
}
