// Command bench measures exsim beside the tools that people use today, on one
// machine and in turns, and prints ratios: other jobs on the machine move the
// absolute figures, hardly the ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one session of measurements.
type bench struct {
	dir   string
	exsim string // built program
	reps  int
	calls int
}

func main() {
	reps := flag.Int("reps", 21, "repetitions; each runs every peer in turn")
	calls := flag.Int("calls", 5000, "calls in one repetition")
	only := flag.String("only", "", "run the parts whose name contains this: calls, hops, ports, tls, mail, media, memory, sweep")
	hold := flag.Int("hold", 0, "be the driver of the memory part: hold so many calls")
	at := flag.String("targets", "", "of -hold")
	media := flag.Int("media", 0, "be an end of the media part, with so many calls, at -targets")
	bare := flag.String("bare-tls", "", "be the bare listener of the TLS part, with the authority of this folder")
	device := flag.String("respond", "", "be the responder of the sweep part: answer UDP that arrives at this interface")
	ports := flag.String("echo", "", "be the far end of the naive sweep: answer UDP on ADDRESS:LOW-HIGH")
	target := flag.String("ask", "", "be the near end of the naive sweep: ask every media port of this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := error(nil)
	switch {
	case *hold > 0:
		err = holdCalls(ctx, *hold, *at)
	case *media > 0:
		err = holdMedia(ctx, *media, *at)
	case *device != "":
		err = respond(*device)
	case *ports != "":
		err = echo(*ports)
	case *target != "":
		err = ask(*target)
	case *bare != "":
		err = bareTLS(ctx, *bare)
	default:
		err = run(ctx, *reps, *calls, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, reps, calls int, only string) error {
	dir, err := os.MkdirTemp("", "exsim-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{dir: dir, exsim: filepath.Join(dir, "exsim"), reps: reps, calls: calls}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.exsim, "./cmd/exsim")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	// The sweep comes first: the kernel counts what this process has used into the
	// memory of the processes that it starts.
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"sweep", b.sweepRow}, {"calls", b.callsRow}, {"hops", b.hopsRow}, {"ports", b.portsRow}, {"tls", b.tlsRow}, {"mail", b.mailRow}, {"media", b.mediaRow}, {"memory", b.memoryRow}} {
		if !strings.Contains(part.name, only) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// The addresses of the measurement: one simulated server, one driver.
var (
	serverAddr = netip.MustParseAddr("127.0.0.60")
	driverAddr = netip.MustParseAddr("127.0.0.62")
)

// driverConns is the connections of the driver to each target.
const driverConns = 4

const organisation = `version: "2016"
domain: bench.lab
servers: [{name: EX1, fqdn: ex1.bench.lab, address: 127.0.0.60, roles: [client-access, mailbox]}]
dial-plans: [{name: Bench, digits: 4}]
gateways: [{name: driver, address: 127.0.0.62, dial-plan: Bench}, {name: hops, address: 127.0.0.1, dial-plan: Bench}]
hunt-groups: [{name: All, gateway: driver, dial-plan: Bench}, {name: Hops, gateway: hops, dial-plan: Bench}]
mailboxes: [{name: Ada, address: ada@bench.lab, extension: "4021", dial-plan: Bench, server: EX1}]
limits: {max-calls-allowed: 200}
`

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.62\r\ns=-\r\nc=IN IP4 127.0.0.62\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

func targets() [3]netip.AddrPort {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(serverAddr, port) }
	return [3]netip.AddrPort{at(5060), at(5062), at(5065)}
}

func (b *bench) load() load {
	return load{from: driverAddr, targets: targets(), calls: b.calls, window: 50, conns: driverConns, body: offer}
}

// exsimServer is exsim up on the documented ports, every event recorded.
func (b *bench) exsimServer(ctx context.Context, args ...string) (*servers, error) {
	conf := filepath.Join(b.dir, "org.yaml")
	if err := os.WriteFile(conf, []byte(organisation), 0o600); err != nil {
		return nil, err
	}
	args = append([]string{"up", "-c", conf, "--quiet", "--low-port-offset", "10000", "--dir", filepath.Join(b.dir, "data")}, args...)
	t := targets()
	return start(ctx, t[:], exec.CommandContext(ctx, b.exsim, args...))
}

// sippServer is SIPp as three servers, tuned as its manual allows.
func (b *bench) sippServer(ctx context.Context) (*servers, error) {
	t := targets()
	var cmds []*exec.Cmd
	for i, file := range []string{"redirect.xml", "redirect.xml", "answer.xml"} {
		args := []string{"-sf", filepath.Join("cmd/bench/sipp", file), "-i", serverAddr.String(), "-p", fmt.Sprint(t[i].Port()),
			"-t", "t1", "-nostdin", "-f", "60", "-deadcall_wait", "0"}
		if i < 2 {
			args = append(args, "-key", "next", t[i+1].String())
		}
		cmds = append(cmds, exec.CommandContext(ctx, "sipp", args...))
	}
	return start(ctx, t[:], cmds...)
}

var errNoSIPp = errors.New("SIPp is not installed: sudo make peers")

// sample is one server's cost of one repetition.
type sample struct {
	cpu float64 // seconds for 1000 calls
	times
}

func (b *bench) measure(ctx context.Context, l load, up func() (*servers, error)) (sample, error) {
	s, err := up()
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	warm := l
	warm.calls = 500
	if _, err := warm.drive(ctx); err != nil {
		return sample{}, err
	}
	before := s.cpu()
	t, err := l.drive(ctx)
	if err != nil {
		return sample{}, err
	}
	return sample{(s.cpu() - before).Seconds() * 1000 / float64(b.calls), t}, nil
}

// callsRow compares the full flow without media with SIPp.
func (b *bench) callsRow(ctx context.Context) error {
	return b.beside(ctx, "kept TCP connections", b.load(), " (target at most 1.0)")
}

// hopsRow is the same with a new connection for each hop, as gateways do that
// keep none.
func (b *bench) hopsRow(ctx context.Context) error {
	l := b.load()
	l.hops = true
	return b.beside(ctx, "a new TCP connection for each hop", l, "")
}

func (b *bench) beside(ctx context.Context, what string, l load, target string) error {
	if _, err := exec.LookPath("sipp"); err != nil {
		return errNoSIPp
	}
	var ours, theirs []sample
	for range b.reps {
		o, err := b.measure(ctx, l, func() (*servers, error) { return b.exsimServer(ctx, "--signalling-only") })
		if err != nil {
			return fmt.Errorf("exsim: %w", err)
		}
		t, err := b.measure(ctx, l, func() (*servers, error) { return b.sippServer(ctx) })
		if err != nil {
			return fmt.Errorf("SIPp: %w", err)
		}
		ours, theirs = append(ours, o), append(theirs, t)
	}
	fmt.Printf("Exchange flow, %s, no media, every event recorded; %d calls, %d repetitions: median (min..max)\n", what, b.calls, b.reps)
	printRow("exsim", ours)
	printRow("SIPp x 3", theirs)
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i].cpu/theirs[i].cpu)
	}
	fmt.Printf("  CPU exsim / SIPp: %s%s\n\n", spread(ratios, "%.2f"), target)
	return nil
}

// portsRow is the same flow with a port pair for each call.
func (b *bench) portsRow(ctx context.Context) error {
	l := b.load()
	l.pilot = true // a diverted call that ends at once would be mailed as missed
	var with, without []sample
	for range b.reps {
		w, err := b.measure(ctx, l, func() (*servers, error) { return b.exsimServer(ctx) })
		if err != nil {
			return err
		}
		o, err := b.measure(ctx, l, func() (*servers, error) { return b.exsimServer(ctx, "--signalling-only") })
		if err != nil {
			return err
		}
		with, without = append(with, w), append(without, o)
	}
	fmt.Println("The price of a port pair a call (bound, greeting begun, freed)")
	printRow("with ports", with)
	printRow("signalling only", without)
	fmt.Println()
	return nil
}

func printRow(name string, s []sample) {
	pick := func(f func(sample) float64) []float64 {
		var v []float64
		for _, x := range s {
			v = append(v, f(x))
		}
		return v
	}
	fmt.Printf("  %-16s CPU s/1000 calls %s   calls/s %s   first answer p50 ms %s   p99 ms %s\n", name,
		spread(pick(func(x sample) float64 { return x.cpu }), "%.3f"),
		spread(pick(func(x sample) float64 { return float64(x.calls) / x.elapsed.Seconds() }), "%.0f"),
		spread(pick(func(x sample) float64 { return ms(x.p50) }), "%.2f"),
		spread(pick(func(x sample) float64 { return ms(x.p99) }), "%.2f"))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// spread prints median (min..max).
func spread(v []float64, format string) string {
	v = slices.Sorted(slices.Values(v))
	return fmt.Sprintf(format+" ("+format+".."+format+")", v[len(v)/2], v[0], v[len(v)-1])
}
