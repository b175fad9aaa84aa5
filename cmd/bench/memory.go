package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// heldCalls is large enough that what does not grow with calls vanishes.
const heldCalls = 20000

// memoryRow measures live memory (heap and stacks after a collection) of the
// organisation in this process, while calls are held, behind their BYE, and
// 50 s later. The driver is in this process too: what it keeps for a call is
// measured first, against a server that keeps nothing, and taken off.
func (b *bench) memoryRow(ctx context.Context) error {
	o, err := org.Load("bench", []byte(organisation))
	if err != nil {
		return err
	}
	// A small log in memory, so that it has spilled.
	log := trace.New(trace.Config{Memory: 1 << 20, Dir: b.dir})
	x, err := sim.Start(sim.Config{Org: o, Dir: filepath.Join(b.dir, "memory"), Ports: sim.Ports{Free: true}, SignallingOnly: true, Trace: log})
	if err != nil {
		return err
	}
	defer func() { _ = x.Close(); _ = log.Close() }()
	l := b.load()
	for i, row := range []string{"call-router", "um-service", "um-worker"} {
		l.targets[i] = x.Listener("EX1", row).Addr()
	}
	l.calls, l.window = 4000, 50
	if _, err := l.drive(ctx); err != nil { // warm
		return err
	}
	return b.hold(ctx, &held{x}, l)
}

// held is the organisation whose memory is measured.
type held struct{ *sim.Exchange }

// quiesce waits until the driver's connections are gone: their buffers are no
// cost of a call.
func (h *held) quiesce() {
	for range 100 {
		open := 0
		for e := range h.Trace().Events() {
			switch e.Name {
			case "sip.connected":
				open++
			case "sip.disconnected":
				open--
			}
		}
		if open <= 2 { // the router's own, to the UM service
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *bench) hold(ctx context.Context, x *held, l load) error {
	l.calls, l.window = heldCalls, heldCalls
	l.hold, l.held = make(chan struct{}), &sync.WaitGroup{}
	l.held.Add(heldCalls)
	base := live()
	driver := driverCost(heldCalls)
	done := make(chan error, 1)
	go func() {
		_, err := l.drive(ctx)
		done <- err
	}()
	up := make(chan struct{})
	go func() { l.held.Wait(); close(up) }()
	select {
	case <-up:
	case err := <-done:
		return err
	}
	during := live()
	close(l.hold)
	if err := <-done; err != nil {
		return err
	}
	x.quiesce()
	after := live()
	fmt.Printf("Memory of a call, log spilled, %d calls held (live heap and stacks)\n", heldCalls)
	fmt.Printf("  held: %.1f KB with the driver's own %.1f KB, %.1f KB without (target at most 6)\n",
		per(during-base)/1024, per(driver)/1024, per(during-base-driver)/1024)
	fmt.Printf("  behind BYE: %.0f octets (target under 200)\n", per(after-base))
	select {
	case <-time.After(66 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Printf("  66 s later: %.0f octets (target nothing)\n", per(live()-base))
	_ = os.Stdout.Sync()
	return nil
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

// driverCost is what n waiting callers of the driver keep: a goroutine with
// its stack, a channel and a timer each.
func driverCost(n int) int64 {
	base := live()
	release := make(chan struct{})
	var ready, gone sync.WaitGroup
	ready.Add(n)
	slots := make([]chan answer, n)
	for i := range n {
		slots[i] = make(chan answer, 2)
		gone.Go(func() {
			tag := fmt.Sprintf(";epid=0123456789;tag=%010d", i)
			select { // as the driver waits for an answer
			case slots[i] <- answer{200, tag}:
			case <-time.After(20 * time.Second):
			}
			grown([64]uint64{})
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	cost := live() - base
	close(release)
	gone.Wait()
	runtime.KeepAlive(slots)
	return cost
}

// grown makes a stack as deep as formatting a request does.
//
//go:noinline
func grown(pad [64]uint64) int {
	return len(fmt.Sprintf("%v %d", pad[:4], len(pad)))
}
