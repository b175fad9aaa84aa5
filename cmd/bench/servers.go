package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim"
)

// servers are the processes of one peer.
type servers struct {
	cmds []*exec.Cmd
	errs []*bytes.Buffer
}

// start runs the processes and waits until every target accepts connections.
func start(ctx context.Context, targets []netip.AddrPort, cmds ...*exec.Cmd) (*servers, error) {
	s := &servers{cmds: cmds}
	for _, c := range cmds {
		var out bytes.Buffer
		c.Stderr = &out
		s.errs = append(s.errs, &out)
		if err := c.Start(); err != nil {
			s.stop()
			return nil, err
		}
	}
	for _, t := range targets {
		if err := s.await(ctx, t); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *servers) await(ctx context.Context, at netip.AddrPort) error {
	for range 500 {
		c, err := sim.Dial(ctx, driverAddr, at)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("nothing listens on %s: %s %s", at, s.cmds[0].Path, s.errs[0])
}

func (s *servers) stop() {
	for _, c := range s.cmds {
		if c.Process != nil {
			_ = c.Process.Signal(syscall.SIGINT)
		}
	}
	for _, c := range s.cmds {
		if c.Process == nil {
			continue
		}
		timer := time.AfterFunc(5*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait() // its exit code says nothing here
		timer.Stop()
	}
}

// clockTick is the unit of CPU times in /proc, 10 ms on Linux.
const clockTick = 10 * time.Millisecond

// cpu is the user and system time of all processes so far.
func (s *servers) cpu() time.Duration {
	var sum time.Duration
	for _, c := range s.cmds {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, i := range []int{11, 12} { // utime and stime
			n, _ := strconv.ParseInt(f[i], 10, 64)
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}
