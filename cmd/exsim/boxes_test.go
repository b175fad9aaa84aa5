package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/admit"
)

const mailPlan = `plan: 1
name: boxes
exchange: "2013"
contact: noc@example.net
zones: [{name: near, kind: internet}, {name: inside, kind: internal}]
hosts:
  - {name: peer, zone: near, roles: [voip-gateway, internet, client], addresses: [10.77.1.2]}
  - {name: ex, zone: inside, roles: [client-access, mailbox], addresses: [10.77.2.2]}
rtp: {low: 20000, high: 20099}
closed: {sample: 0}
`

// box is something between the two ends, what of a flow it changes, and how
// badly.
type box struct {
	name  string
	rules string // of the router
	run   func(n *network) (args []string, port string)
	key   string   // of the flow that it befalls
	found string   // its verdict
	level string   // how that is told
	what  []string // changes that must be named
}

// beBox makes the test binary a relay that rewrites what passes through it:
// LISTEN|TARGET|old=new|... for what goes to the target, old<new for what comes
// back.
const beBox = "EXSIM_TEST_BE_BOX"

func runBox(spec string) int {
	parts := strings.Split(spec, "|")
	ln, err := net.Listen("tcp", parts[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		near, err := ln.Accept()
		if err != nil {
			return 1
		}
		if parts[1] == "sink" {
			go sink(near)
			continue
		}
		far, err := net.Dial("tcp", parts[1])
		if err != nil {
			_ = near.Close()
			continue
		}
		pump := func(to, from net.Conn, sep string) {
			b := make([]byte, 64<<10)
			for {
				n, err := from.Read(b)
				out := b[:n]
				for _, p := range parts[2:] {
					if old, new, ok := strings.Cut(p, sep); ok {
						out = bytes.ReplaceAll(out, []byte(old), []byte(new))
					}
				}
				_, _ = to.Write(out)
				if err != nil {
					_ = to.Close()
					return
				}
			}
		}
		go pump(far, near, "=>")
		go pump(near, far, "<=")
	}
}

// sink is a mail server that takes everything.
func sink(nc net.Conn) {
	defer nc.Close()
	_, _ = io.WriteString(nc, "220 other ESMTP\r\n")
	data := false
	for s := bufio.NewScanner(nc); s.Scan(); {
		switch line := s.Text(); {
		case data && line != ".":
		case line == "DATA":
			data = true
			_, _ = io.WriteString(nc, "354 go on\r\n")
		default:
			data = false
			_, _ = io.WriteString(nc, "250 taken\r\n")
		}
	}
}

func redirect(port int) string {
	return fmt.Sprintf("table ip nat {\n chain pre {\n  type nat hook prerouting priority -100;\n  iifname r1 tcp dport %d redirect to :1%04d\n }\n}\n", port, port)
}

// relay is the test binary between the ends.
func relay(port int, changes ...string) func(n *network) ([]string, string) {
	return func(*network) ([]string, string) {
		at := fmt.Sprintf("1%04d", port)
		return []string{"env", beBox + "=" + strings.Join(append([]string{"10.77.1.1:" + at, fmt.Sprintf("10.77.2.2:%d", port)}, changes...), "|"), os.Args[0]}, at
	}
}

func boxes(t *testing.T) []box {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
		return p
	}
	haproxy := func(port int, bind, server string) func(n *network) ([]string, string) {
		return func(*network) ([]string, string) {
			conf := file(fmt.Sprintf("haproxy-%d%d.cfg", port, len(bind)), fmt.Sprintf("defaults\n mode tcp\n timeout connect 2s\n timeout client 10s\n timeout server 10s\nlisten x\n bind 10.77.1.1:1%04d%s\n server s 10.77.2.2:%d%s\n", port, bind, port, server))
			return []string{needPeer(t, "haproxy"), "-db", "-f", conf}, fmt.Sprintf("1%04d", port)
		}
	}
	nginx := func(port int, more string) func(n *network) ([]string, string) {
		return func(*network) ([]string, string) {
			conf := file(fmt.Sprintf("nginx-%d.conf", len(more)), fmt.Sprintf("load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off; pid %s/nginx-%d.pid; error_log stderr;\nevents {}\nstream { server { listen 10.77.1.1:1%04d; proxy_pass 10.77.2.2:%d; %s } }\n", dir, len(more), port, port, more))
			return []string{needPeer(t, "nginx"), "-p", dir, "-c", conf, "-e", "stderr"}, fmt.Sprintf("1%04d", port)
		}
	}
	alg := `table ip alg {
 ct helper siptcp { type "sip" protocol tcp; l3proto ip; }
 chain pre { type filter hook prerouting priority -150; tcp dport { 5060, 5062, 5065, 5067 } ct helper set "siptcp"; }
 chain post { type nat hook postrouting priority 100; oifname r2 masquerade; }
}
`
	proxyPEM := file("proxy.pem", selfSigned(t))
	return []box{
		{name: "clean", key: "peer>ex tcp/5060", found: "open", level: "pass"},
		{name: "masquerade", rules: "table ip nat {\n chain post {\n  type nat hook postrouting priority 100\n  oifname r2 masquerade\n }\n}\n", key: "peer>ex tcp/5060", found: "open", level: "pass"},
		{name: "the kernel's SIP helper", rules: alg, key: "peer>ex tcp/5060", found: "altered", level: "fail", what: []string{"Via of INVITE", "Contact of INVITE", "SDP c= of INVITE", "SDP o= of INVITE"}},
		{name: "haproxy", rules: redirect(5060), run: haproxy(5060, "", ""), key: "peer>ex tcp/5060", found: "open", level: "pass"},
		{name: "haproxy with a PROXY line", rules: redirect(5060), run: haproxy(5060, "", " send-proxy"), key: "peer>ex tcp/5060", found: "altered", level: "fail", what: []string{"PROXY line"}},
		{name: "haproxy that ends TLS", rules: redirect(5061), run: haproxy(5061, " ssl crt "+proxyPEM, " ssl verify none"), key: "peer>ex tcp/5061", found: "intercepted", level: "fail", what: []string{"certificate"}},
		{name: "haproxy that speaks older TLS to one side", rules: redirect(5063), run: haproxy(5063, " ssl crt "+proxyPEM+" ssl-max-ver TLSv1.2", " ssl verify none"), key: "peer>ex tcp/5063", found: "intercepted", level: "warn", what: []string{"certificate", "TLS version", "cipher suite"}},
		{name: "haproxy that takes part in ALPN", rules: redirect(443), run: haproxy(443, " ssl crt "+proxyPEM+" alpn http/1.1", " ssl verify none"), key: "peer>ex tcp/443", found: "intercepted", level: "fail", what: []string{"certificate", "ALPN"}},
		{name: "nginx stream", rules: redirect(25), run: nginx(25, ""), key: "peer>ex tcp/25", found: "open", level: "pass"},
		{name: "nginx stream with a PROXY line", rules: redirect(25), run: nginx(25, "proxy_protocol on;"), key: "peer>ex tcp/25", found: "altered", level: "fail", what: []string{"PROXY line"}},
		{name: "mitmproxy", rules: redirect(5061), run: func(*network) ([]string, string) {
			return []string{needPeer(t, "mitmdump"), "-q", "--mode", "reverse:https://10.77.2.2:5061", "--tcp-hosts", ".*", "--listen-host", "10.77.1.1", "-p", "15061", "--set", "ssl_insecure=true", "--set", "confdir=" + dir}, "15061"
		}, key: "peer>ex tcp/5061", found: "intercepted", level: "fail", what: []string{"certificate"}},
		{name: "DSCP cleared", rules: "table ip m {\n chain f {\n  type filter hook forward priority -150\n  udp dport 20000-20099 ip dscp set cs0\n }\n}\n", key: "peer>ex udp/20000-20099", found: "altered", level: "warn", what: []string{"DSCP"}},
		{name: "RTP payload changed", rules: "table ip m {\n chain f {\n  type filter hook forward priority -150\n  udp dport 20000-20099 @ih,0,8 set 0x90\n }\n}\n", key: "peer>ex udp/20000-20099", found: "altered", level: "fail"},
		{name: "relay", rules: redirect(25), run: relay(25), key: "peer>ex tcp/25", found: "open", level: "pass"},
		{name: "another mail server", rules: redirect(25), run: func(*network) ([]string, string) {
			return []string{"env", beBox + "=10.77.1.1:10025|sink", os.Args[0]}, "10025"
		}, key: "peer>ex tcp/25", found: "intercepted", level: "fail"},
		{name: "banner masked", rules: redirect(25), run: relay(25, "Microsoft ESMTP MAIL Service ready<=****************************"), key: "peer>ex tcp/25", found: "altered", level: "warn", what: []string{"banner"}},
		{name: "STARTTLS removed", rules: redirect(25), run: relay(25, "250-STARTTLS\r\n<="), key: "peer>ex tcp/25", found: "altered", level: "fail", what: []string{"EHLO STARTTLS"}},
		{name: "STARTTLS crossed out", rules: redirect(25), run: relay(25, "250-STARTTLS<=250-XXXXXXXA"), key: "peer>ex tcp/25", found: "altered", level: "fail", what: []string{"EHLO STARTTLS", "EHLO XXXXXXXA"}},
		{name: "AUTH and CHUNKING removed", rules: redirect(25), run: relay(25, "250-AUTH NTLM\r\n<=", "250-CHUNKING\r\n<="), key: "peer>ex tcp/25", found: "altered", level: "fail", what: []string{"EHLO AUTH", "EHLO CHUNKING"}},
		{name: "EHLO turned to XXXX", rules: redirect(25), run: relay(25, "EHLO=>XXXX"), key: "peer>ex tcp/25", found: "altered", level: "fail", what: []string{"command EHLO"}},
		{name: "Diversion dropped", rules: redirect(5060), run: relay(5060, "Diversion: =>X-Gone: "), key: "peer>ex tcp/5060", found: "altered", level: "fail", what: []string{"Diversion of INVITE"}},
		{name: "answer's SDP changed", rules: redirect(5060), run: relay(5060, "c=IN IP4 10.77.2.2<=c=IN IP4 10.77.2.9"), key: "peer>ex tcp/5060", found: "altered", level: "fail", what: []string{"SDP c= of 200 to 2 INVITE"}},
		{name: "Content-Length wrong", rules: redirect(5060), run: relay(5060, "CONTENT-LENGTH: 2<=CONTENT-LENGTH: 1"), key: "peer>ex tcp/5060", found: "altered", level: "fail", what: []string{"Content-Length of 200 to 2 INVITE"}},
		{name: "Max-Forwards counted", rules: redirect(5060), run: relay(5060, "Max-Forwards: 70=>Max-Forwards: 69"), key: "peer>ex tcp/5060", found: "open", level: "pass", what: []string{"Max-Forwards of INVITE"}},
	}
}

// Real things in between: whatever they change is named, and what they leave
// alone raises no alarm.
func TestPathsBoxes(t *testing.T) {
	n := newNetwork(t, []string{"10.77.1.2"}, []string{"10.77.2.2"})
	plan := planFile(t, mailPlan)
	n.listen(n.B, plan, "ex")
	planted, found, clean, alarms := 0, 0, 0, 0
	for _, b := range boxes(t) {
		t.Run(b.name, func(t *testing.T) {
			n.t = t
			n.rules(b.rules)
			if b.run != nil {
				args, port := b.run(n)
				n.behind(n.R, port, args...)
			}
			_, rows, errs := n.probe(n.A, plan, "peer", "ex", "--one-way")
			r := rows[b.key]
			ok := r.Found == b.found && r.Level == b.level
			for _, w := range b.what {
				named := false
				for _, c := range r.Changes {
					named = named || strings.HasPrefix(c.What, w)
				}
				ok = ok && named
			}
			if b.level == "pass" {
				clean++
			} else {
				planted++
			}
			switch {
			case ok && b.level != "pass":
				found++
			case !ok && b.level == "pass":
				alarms++
			}
			require.True(t, ok, "want %s (%s) %v, got %s (%s): %s\n%+v\n%v\n%s", b.found, b.level, b.what, r.Found, r.Level, r.Cause, r.Changes, r.Evidence, errs)
			for key, o := range rows { // what the box leaves alone
				if key != b.key && o.Expected == "open" && o.Level != "unproven" && b.name != "the kernel's SIP helper" {
					require.Equal(t, "pass", o.Level, "%s: %+v", key, o)
				}
			}
			if strings.Contains(b.name, "masquerade") {
				require.Contains(t, strings.Join(r.Evidence, "\n"), "NAT: 10.77.1.2 is seen as 10.77.2.1")
			}
		})
	}
	n.t = t
	t.Logf("alterations planted %d, found %d; clean paths %d, false alarms %d", planted, found, clean, alarms)
}

// behind runs a program in a namespace until the test ends, and waits until it
// listens.
func (n *network) behind(ns, port string, args ...string) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = io.Discard, &out
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 2 * time.Second
	require.NoError(n.t, c.Start())
	n.t.Cleanup(func() {
		cancel()
		_ = c.Wait()
	})
	require.Eventually(n.t, func() bool {
		text, err := exec.Command("ip", "netns", "exec", ns, "ss", "-ltnH", "sport = :"+port).Output()
		return err == nil && strings.Contains(string(text), port)
	}, waitLong, tick, "%s does not listen: %s", args[0], &out)
}

// selfSigned is a key with a certificate that nobody signed, in PEM.
func selfSigned(t *testing.T) string {
	t.Helper()
	a, err := admit.NewAuthority()
	require.NoError(t, err)
	cert, err := a.Issue(admit.Request{Names: []string{"proxy.example"}})
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
}
