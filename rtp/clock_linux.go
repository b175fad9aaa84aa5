package rtp

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ticker is a timer of the system's, waited for by the runtime's poller: the
// runtime's own timers are rounded up to a millisecond where nothing else goes on.
type ticker struct {
	f   *os.File
	buf [8]byte
}

// newTicker begins to tick. Where the system has no timer left it is the
// runtime's.
func newTicker(d time.Duration) beat {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return newRuntimeTicker(d)
	}
	every := unix.NsecToTimespec(d.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		_ = unix.Close(fd)
		return newRuntimeTicker(d)
	}
	return &ticker{f: os.NewFile(uintptr(fd), "timerfd")}
}

// wait waits for the next tick; those that were missed count as one.
func (t *ticker) wait() {
	if _, err := t.f.Read(t.buf[:]); err != nil {
		time.Sleep(tick)
	}
}

func (t *ticker) stop() { _ = t.f.Close() }
