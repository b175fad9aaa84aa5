package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sweepPlan is two hosts with the whole range of media between them.
const sweepPlan = `plan: 1
name: sweep
exchange: "2013"
zones: [{name: a, kind: internal}, {name: b, kind: internal}]
hosts:
  - {name: x, zone: a, roles: [voip-gateway], addresses: [10.99.0.1]}
  - {name: y, zone: b, roles: [mailbox], addresses: [10.99.0.2]}
closed: {sample: 0}
`

// A filter of the far end: nothing; or every twentieth port or so is dropped in
// silence. What nmap asks is answered by one raw socket, from which the kernel
// must be kept.
const (
	dropSome = "table netdev some {\n chain in {\n  type filter hook ingress device v1 priority 0\n  udp dport & 31 == 7 drop\n  udp dport & 63 == 9 drop\n }\n}\n"
	dropAll  = "table ip rest {\n chain in {\n  type filter hook prerouting priority -300\n  udp dport 1024-65535 drop\n }\n}\n"
)

// sweepReps is enough for a part that takes seconds.
const sweepReps = 3

// sweepRow sweeps all media ports between two network namespaces: exsim with
// and without privileges, and nmap -sU against a responder that answers
// everything.
func (b *bench) sweepRow(ctx context.Context) error {
	for _, tool := range []string{"ip", "nft", "nmap", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			fmt.Println("sweep of all media ports: skipped, needs root and " + tool + " (sudo make peers)")
			return nil
		}
	}
	s := &sweep{b: b, near: fmt.Sprintf("bench%da", os.Getpid()), far: fmt.Sprintf("bench%db", os.Getpid()), plan: filepath.Join(b.dir, "sweep.yaml")}
	defer s.down()
	if err := s.up(ctx); err != nil {
		return err
	}
	for _, kind := range []struct{ name, rules string }{{"all ports answering", ""}, {"5 % dropped in silence", dropSome}} {
		var ours, bare, nmap, naive []swept
		for range min(b.reps, sweepReps) {
			for _, m := range []struct {
				into *[]swept
				do   func(context.Context, string) (swept, error)
			}{{&nmap, s.nmap}, {&ours, s.exsim}, {&bare, s.unprivileged}, {&naive, s.naive}} {
				r, err := m.do(ctx, kind.rules)
				if err != nil {
					return err
				}
				*m.into = append(*m.into, r)
			}
		}
		o, u, n, e := middle(ours), middle(bare), middle(nmap), middle(naive)
		fmt.Printf("sweep of 64,512 media ports, %s: seconds exsim %.2f, without privileges %.2f, nmap -sU %.2f, a socket and a goroutine a port %.2f; ratio to nmap %.2f and %.2f, to the latter %.2f and %.2f; memory of the ends %d and %d MB\n",
			kind.name, o.seconds, u.seconds, n.seconds, e.seconds, o.seconds/n.seconds, u.seconds/n.seconds, o.seconds/e.seconds, u.seconds/e.seconds, o.memory>>10, u.memory>>10)
	}
	return nil
}

// swept is one sweep: its time, and the memory of the larger end in KB.
type swept struct {
	seconds float64
	memory  int64
}

// middle is the run of the median time, with the most memory of any.
func middle(list []swept) swept {
	slices.SortFunc(list, func(a, b swept) int { return int(1e6 * (a.seconds - b.seconds)) })
	m := list[len(list)/2]
	for _, r := range list {
		m.memory = max(m.memory, r.memory)
	}
	return m
}

type sweep struct {
	b               *bench
	near, far, plan string
}

func (s *sweep) up(ctx context.Context) error {
	if err := os.WriteFile(s.plan, []byte(sweepPlan), 0o644); err != nil { //nolint:gosec // read by another user
		return err
	}
	if err := os.Chmod(s.b.dir, 0o755); err != nil { //nolint:gosec // of a folder of ours
		return err
	}
	for _, line := range []string{
		"ip netns add " + s.near, "ip netns add " + s.far, "ip -n " + s.near + " link add v0 type veth peer name v1 netns " + s.far,
		"ip -n " + s.near + " addr add 10.99.0.1/24 dev v0", "ip -n " + s.far + " addr add 10.99.0.2/24 dev v1",
		"ip -n " + s.near + " link set v0 up", "ip -n " + s.far + " link set v1 up",
	} {
		args := strings.Fields(line)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // our own lines
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

func (s *sweep) down() {
	for _, ns := range []string{s.near, s.far} {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
}

func (s *sweep) in(ctx context.Context, ns string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...)
	c.Env = append(os.Environ(), "EXSIM_SECRET=a secret of the bench")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	return c
}

// filter puts rules into the far end.
func (s *sweep) filter(ctx context.Context, rules string) error {
	c := s.in(ctx, s.far, "nft", "-f", "-")
	c.Stdin = strings.NewReader("flush ruleset\n" + rules)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// timed runs a far end, and times the near one once the far one is ready.
func timed(far, near *exec.Cmd) (swept, error) {
	said, err := far.StdoutPipe()
	if err != nil {
		return swept{}, err
	}
	if err := far.Start(); err != nil {
		return swept{}, err
	}
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil { // it says when it is ready
		return swept{}, fmt.Errorf("the far end: %w", err)
	}
	begin := time.Now()
	out, err := near.CombinedOutput()
	r := swept{seconds: time.Since(begin).Seconds()}
	_ = far.Process.Signal(syscall.SIGTERM)
	_ = far.Wait()
	if code := near.ProcessState.ExitCode(); err != nil && code > 1 {
		return r, fmt.Errorf("%w: %s", err, out)
	}
	for _, c := range []*exec.Cmd{far, near} {
		if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r.memory = max(r.memory, u.Maxrss)
		}
	}
	return r, nil
}

func (s *sweep) nmap(ctx context.Context, rules string) (swept, error) {
	if err := s.filter(ctx, rules+dropAll); err != nil {
		return swept{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return swept{}, err
	}
	return timed(s.in(ctx, s.far, self, "-respond", "v1"), s.in(ctx, s.near, "nmap", "-n", "-Pn", "-sU", "-p1024-65535", "10.99.0.2"))
}

func (s *sweep) exsim(ctx context.Context, rules string) (swept, error) { return s.ends(ctx, rules) }

func (s *sweep) unprivileged(ctx context.Context, rules string) (swept, error) {
	return s.ends(ctx, rules, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all")
}

func (s *sweep) ends(ctx context.Context, rules string, as ...string) (swept, error) {
	if err := s.filter(ctx, rules); err != nil {
		return swept{}, err
	}
	listen := append(slices.Clone(as), s.b.exsim, "listen", s.plan, "--as", "y")
	probe := append(slices.Clone(as), s.b.exsim, "probe", s.plan, "--from", "x", "--to", "y", "--one-way", "--full", "--rate", "-1", "--format", "csv")
	return timed(s.in(ctx, s.far, listen...), s.in(ctx, s.near, probe...))
}
