package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// heldCalls is large enough that what does not grow with calls vanishes.
const heldCalls = 20000

// memoryRow measures live memory (heap and stacks behind a collection) of the
// organisation in this process while a driver in another one holds calls,
// behind their BYE, and when 64*T1 is over.
func (b *bench) memoryRow(ctx context.Context) error {
	o, err := org.Load("bench", []byte(organisation))
	if err != nil {
		return err
	}
	// As little of the log in memory as can be, so that it has spilled.
	log := trace.New(trace.Config{Memory: 1, Dir: b.dir})
	x, err := sim.Start(sim.Config{Org: o, Dir: filepath.Join(b.dir, "memory"), Ports: sim.Ports{Free: true}, SignallingOnly: true, Trace: log})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	defer func() { _ = x.Close(); _ = log.Close() }()
	m := &memory{x: x, log: log}
	for _, row := range []string{"call-router", "um-service", "um-worker"} {
		m.targets = append(m.targets, x.Listener("EX1", row).Addr().String())
	}
	// A first load of the same size: what the runtime keeps for the most calls
	// at once, as its array of timers, is no memory of a call.
	if err := m.hold(ctx, heldCalls, func() {}); err != nil {
		return err
	}
	if err := forgotten(ctx); err != nil {
		return err
	}
	return m.measure(ctx)
}

type memory struct {
	x       *sim.Exchange
	log     *trace.Log
	targets []string
	drivers int // that have come and gone
}

func (m *memory) measure(ctx context.Context) error {
	base := live()
	var during int64
	if err := m.hold(ctx, heldCalls, func() { during = live() }); err != nil {
		return err
	}
	after := live()
	fmt.Printf("Memory of a call, log spilled, %d calls held (live heap and stacks)\n", heldCalls)
	fmt.Printf("  held: %.1f KB (target at most 6)\n  behind BYE: %.0f octets (target under 200)\n", per(during-base)/1024, per(after-base))
	if err := forgotten(ctx); err != nil {
		return err
	}
	fmt.Printf("  66 s later: %.0f octets (target nothing)\n\n", per(live()-base))
	return nil
}

// forgotten waits until nothing of an ended call is remembered: 64*T1, and half
// as long again for what ages in generations.
func forgotten(ctx context.Context) error {
	select {
	case <-time.After(66 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func per(octets int64) float64 { return float64(octets) / heldCalls }

// live is heap and stack in use behind a collection.
func live() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// hold lets a driver process place calls, runs held while all are up, and
// returns when they are gone and the driver's connections too: their buffers
// are no cost of a call.
func (m *memory) hold(ctx context.Context, calls int, held func()) error {
	cmd := exec.CommandContext(ctx, os.Args[0], "-hold", fmt.Sprint(calls), "-targets", strings.Join(m.targets, ","))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line == "held\n" {
		held()
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil || line != "held\n" {
		return fmt.Errorf("driver: %w", errors.Join(err, errors.New(line)))
	}
	return m.quiet(ctx)
}

// quiet waits for the end of every connection of every driver so far.
func (m *memory) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m.drivers++
	open := m.drivers * driverConns * len(m.targets)
	for e := range m.log.Follow(ctx) {
		if e.Name == "sip.disconnected" {
			if open--; open == 0 {
				return nil
			}
		}
	}
	return errors.New("the driver's connections did not end")
}

// holdCalls is the driver process: it places the calls, says so, and hangs up
// when its input ends.
func holdCalls(ctx context.Context, calls int, targets string) error {
	l := load{from: driverAddr, calls: calls, window: calls, conns: driverConns, body: offer, hold: make(chan struct{}), held: &sync.WaitGroup{}}
	for i, t := range strings.Split(targets, ",") {
		ap, err := netip.ParseAddrPort(t)
		if err != nil {
			return err
		}
		l.targets[i] = ap
	}
	l.held.Add(calls)
	go func() {
		l.held.Wait()
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(l.hold)
	}()
	_, err := l.drive(ctx)
	return err
}
