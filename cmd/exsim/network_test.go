package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is two zones with a router between them, in network namespaces of
// its own: A (10.77.1.0/24, fd77:1::/64), the router, B (10.77.2.0/24,
// fd77:2::/64).
type network struct {
	t       *testing.T
	A, B, R string // namespaces
}

var networks atomic.Int32

// newNetwork makes a network; the addresses are those that hosts get in either
// zone, beside .1 of the router.
func newNetwork(t *testing.T, a, b []string) *network {
	t.Helper()
	needPeer(t, "ip")
	needPeer(t, "nft")
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	prefix := fmt.Sprintf("ex%d-%d", os.Getpid(), networks.Add(1))
	n := &network{t, prefix + "a", prefix + "b", prefix + "r"}
	for _, ns := range []string{n.A, n.B, n.R} {
		n.must("ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		n.must("ip", "-n", ns, "link", "set", "lo", "up")
		n.must("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0") // usable at once
	}
	for i, end := range []struct {
		ns    string
		addrs []string
	}{{n.A, a}, {n.B, b}} {
		side := fmt.Sprint(i + 1)
		n.must("ip", "link", "add", "e0", "netns", end.ns, "type", "veth", "peer", "name", "r"+side, "netns", n.R)
		n.must("ip", "-n", n.R, "addr", "add", "10.77."+side+".1/24", "dev", "r"+side)
		n.must("ip", "-n", n.R, "addr", "add", "fd77:"+side+"::1/64", "dev", "r"+side, "nodad")
		n.must("ip", "-n", n.R, "link", "set", "r"+side, "up")
		for _, addr := range end.addrs {
			bits, nodad := "/24", []string(nil)
			if strings.Contains(addr, ":") {
				bits, nodad = "/64", []string{"nodad"}
			}
			n.must("ip", append([]string{"-n", end.ns, "addr", "add", addr + bits, "dev", "e0"}, nodad...)...)
		}
		n.must("ip", "-n", end.ns, "link", "set", "e0", "up")
		n.must("ip", "-n", end.ns, "route", "add", "default", "via", "10.77."+side+".1")
		if strings.Contains(strings.Join(end.addrs, " "), ":") {
			n.must("ip", "-n", end.ns, "-6", "route", "add", "default", "via", "fd77:"+side+"::1")
		}
	}
	n.must("ip", "netns", "exec", n.R, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	return n
}

func (n *network) must(name string, args ...string) string {
	n.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(n.t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// rules puts a ruleset into the router, in place of the one before, and forgets
// the flows that it knows.
func (n *network) rules(text string) {
	n.t.Helper()
	c := exec.Command("ip", "netns", "exec", n.R, "nft", "-f", "-")
	c.Stdin = strings.NewReader("flush ruleset\n" + text)
	out, err := c.CombinedOutput()
	require.NoError(n.t, err, "%s\n%s", out, text)
	if _, err := exec.LookPath("conntrack"); err == nil {
		_ = exec.Command("ip", "netns", "exec", n.R, "conntrack", "-F").Run()
	}
}

// forward is a table that passes what the lines accept, and the control
// connection; all else meets policy.
func forward(policy string, lines ...string) string {
	return "table inet f {\n chain forward {\n  type filter hook forward priority 0; policy " + policy + ";\n" +
		"  tcp dport 7800 accept\n  tcp sport 7800 accept\n  " + strings.Join(lines, "\n  ") + "\n }\n}\n"
}

const pathSecret = "a secret of both ends"

// in runs exsim in a namespace.
func (n *network) in(ctx context.Context, ns string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), beExsim+"=1", secretVariable+"="+pathSecret)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	return c
}

// listen begins exsim listen in a namespace and returns once it waits; stop
// interrupts it.
func (n *network) listen(ns, plan, as string, more ...string) (stop func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := n.in(ctx, ns, append([]string{"listen", plan, "--as", as}, more...)...)
	out, err := c.StdoutPipe()
	require.NoError(n.t, err)
	var errs bytes.Buffer
	c.Stderr = &errs
	require.NoError(n.t, c.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			_, _ = io.Copy(io.Discard, out)
			_ = c.Wait()
		}
	}
	n.t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop() // then what it said is whole
		require.NoError(n.t, err, errs.String())
	}
	require.Contains(n.t, line, "until interrupted")
	return stop
}

// truthRow is a line of the truth table in JSON.
type truthRow struct {
	From, To, Target, Port, Protocol, Kind, Expected, Found, Level, Side, Cause, Next, Rule string
	Evidence                                                                                []string
	Parts                                                                                   []struct{ Found, Ports string }
	Changes                                                                                 []struct{ What, Way, Sent, Got, Rating string }
}

// probe probes between two hosts and returns what was found, by from, to and
// port.
func (n *network) probe(ns, plan, from, to string, more ...string) (code int, rows map[string]truthRow, errs string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := n.in(ctx, ns, append([]string{"probe", plan, "--from", from, "--to", to, "--format", "json", "--rate", "-1", "--timeout", "1s"}, more...)...)
	var out, e bytes.Buffer
	c.Stdout, c.Stderr = &out, &e
	_ = c.Run()
	return c.ProcessState.ExitCode(), truthRows(n.t, out.Bytes(), e.String()), e.String()
}

func truthRows(t *testing.T, out []byte, errs string) map[string]truthRow {
	t.Helper()
	var table struct{ Flows []truthRow }
	require.NoError(t, json.Unmarshal(out, &table), "%s%s", out, errs)
	rows := map[string]truthRow{}
	for _, r := range table.Flows {
		key := r.From + ">" + r.To + " " + r.Port
		if strings.Contains(r.Target, ":") {
			key += " v6"
		}
		rows[key] = r
	}
	return rows
}

// planFile writes a plan file.
func planFile(t *testing.T, text string) string {
	t.Helper()
	name := t.TempDir() + "/plan.yaml"
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// Waiting for what another process does.
const (
	waitLong = 20 * time.Second
	tick     = 20 * time.Millisecond
)

var interrupt = os.Interrupt
