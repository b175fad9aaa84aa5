package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
)

// mediaTime is how long media flow in one measurement.
const mediaTime = 10 * time.Second

// mediaEnd is what one end of the media part saw: a process with a port pair for
// each call, which sends 50 packets a second and receives as many.
type mediaEnd struct {
	Sent, Received, Lost int64
	Jitter               []time.Duration // of each stream, as RFC 3550 has it
	Late                 time.Duration   // p99 of its own sending
	cpu                  time.Duration
}

// us is the CPU time for one packet sent or received.
func (m mediaEnd) us() float64 {
	return float64(m.cpu) / float64(time.Microsecond) / float64(m.Sent+m.Received)
}

func (m mediaEnd) loss() float64 { return 100 * float64(m.Lost) / float64(m.Received+m.Lost) }

func (m mediaEnd) p99() time.Duration {
	slices.Sort(m.Jitter)
	return m.Jitter[len(m.Jitter)*99/100]
}

// mediaRow runs calls between two engines, and the same number against SIPp's
// echo, which has one port for all.
func (b *bench) mediaRow(ctx context.Context) error {
	for _, calls := range []int{200, 1000} {
		near, far, err := b.mediaPair(ctx, calls)
		if err != nil {
			return err
		}
		fmt.Printf("media of %d calls of 50 packets a second, a port pair each, sent and received: jitter p99 %.2f ms, loss %.3f %%, own sending p99 %.2f ms, CPU %.1f us a packet\n",
			calls, ms(max(near.p99(), far.p99())), max(near.loss(), far.loss()), ms(max(near.Late, far.Late)), (near.us()+far.us())/2)
		if _, err := exec.LookPath("sipp"); err != nil {
			fmt.Println("  beside SIPp's echo: skipped, sipp is not there (sudo make peers)")
			continue
		}
		through, echo, err := b.mediaEcho(ctx, calls)
		if err != nil {
			return err
		}
		fmt.Printf("  through sipp -rtp_echo (one port for all): jitter p99 %.2f ms, loss %.3f %%, CPU %.1f us a packet; ratio %.2f\n",
			ms(through.p99()), through.loss(), echo, (near.us()+far.us())/2/echo)
	}
	return nil
}

// end starts one end; it prints its ports, reads those of the other, and prints
// what it saw.
func (b *bench) end(ctx context.Context, at netip.Addr, calls int) (*exec.Cmd, io.WriteCloser, *bufio.Scanner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-media", strconv.Itoa(calls), "-targets", at.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 8<<20)
	if err := cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	if !lines.Scan() {
		return nil, nil, nil, errors.Join(errors.New("an end of the media part did not begin"), cmd.Wait())
	}
	return cmd, in, lines, nil
}

func result(cmd *exec.Cmd, lines *bufio.Scanner) (m mediaEnd, err error) {
	if !lines.Scan() {
		return m, errors.Join(errors.New("an end of the media part has no result"), cmd.Wait())
	}
	if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
		return m, err
	}
	err = cmd.Wait()
	m.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return m, err
}

func (b *bench) mediaPair(ctx context.Context, calls int) (near, far mediaEnd, err error) {
	a, toA, fromA, err := b.end(ctx, driverAddr, calls)
	if err != nil {
		return near, far, err
	}
	z, toZ, fromZ, err := b.end(ctx, serverAddr, calls)
	if err != nil {
		return near, far, errors.Join(err, a.Process.Kill())
	}
	_, err = fmt.Fprintln(toA, fromZ.Text())
	_, err2 := fmt.Fprintln(toZ, fromA.Text())
	if err = errors.Join(err, err2); err != nil {
		return near, far, err
	}
	near, err = result(a, fromA)
	far, err2 = result(z, fromZ)
	return near, far, errors.Join(err, err2)
}

// echoPort is where SIPp echoes.
const echoPort = 26000

// mediaEcho sends through SIPp's echo, and says what a packet costs it: one
// taken and one sent are two.
func (b *bench) mediaEcho(ctx context.Context, calls int) (through mediaEnd, us float64, err error) {
	sipp := exec.CommandContext(ctx, "sipp", "-sn", "uas", "-rtp_echo", "-nostdin", "-i", serverAddr.String(), "-mi", serverAddr.String(), "-p", "26100", "-mp", strconv.Itoa(echoPort))
	sipp.Dir = b.dir
	if err := sipp.Start(); err != nil {
		return through, 0, err
	}
	s := &servers{cmds: []*exec.Cmd{sipp}}
	defer s.stop()
	cmd, to, from, err := b.end(ctx, driverAddr, calls)
	if err != nil {
		return through, 0, err
	}
	one := fmt.Sprintf("%s:%d", serverAddr, echoPort)
	before := s.cpu()
	if _, err := fmt.Fprintln(to, strings.TrimSpace(strings.Repeat(one+" ", calls))); err != nil {
		return through, 0, err
	}
	if through, err = result(cmd, from); err != nil {
		return through, 0, err
	}
	through.Lost = max(0, through.Sent-through.Received)
	if through.Received == 0 {
		return through, 0, errors.New("SIPp echoed nothing")
	}
	return through, float64(s.cpu()-before) / float64(time.Microsecond) / float64(through.Sent+through.Received), nil
}

// holdMedia is one end.
func holdMedia(ctx context.Context, calls int, at string) error {
	addr, err := netip.ParseAddr(at)
	if err != nil {
		return err
	}
	log := trace.New(trace.Config{})
	engine, err := rtp.New(rtp.Config{})
	if err != nil {
		return err
	}
	src := log.Source("bench", "media")
	streams := make([]*rtp.Stream, calls)
	ports := make([]string, calls)
	for i := range streams {
		if streams[i], err = engine.Open(addr, trace.Session{Kind: "call", N: uint32(i + 1)}, src); err != nil {
			return err
		}
		ports[i] = streams[i].Addr().String()
	}
	fmt.Println(strings.Join(ports, " "))
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 8<<20)
	if !in.Scan() {
		return errors.New("nobody said where the other end is")
	}
	for i, remote := range strings.Fields(in.Text()) {
		to, err := netip.ParseAddrPort(remote)
		if err != nil {
			return err
		}
		if err := streams[i].Start(rtp.Params{Remote: to, Codec: rtp.PCMU, Send: true, Receive: true, Continuous: true}); err != nil {
			return err
		}
		// Calls begin at any moment: without this all packets would leave at one.
		if err := pause(ctx, 20*time.Millisecond/time.Duration(calls)); err != nil {
			return err
		}
	}
	if err := pause(ctx, mediaTime); err != nil {
		return err
	}
	seen := mediaEnd{Late: engine.Exactness().P99}
	if err := errors.Join(engine.Close(), log.Close()); err != nil {
		return err
	}
	for e := range log.Events() {
		switch {
		case e.Name != "rtp.ended":
		case e.Text("direction") == "sent":
			seen.Sent += e.Int("packets")
		default:
			seen.Received += e.Int("packets")
			seen.Lost += e.Int("lost")
			v, _ := e.Get("jitter")
			d, _ := v.(time.Duration)
			seen.Jitter = append(seen.Jitter, d)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
