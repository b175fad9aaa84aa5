package rtp

import "time"

// beat is a clock that ticks until it is stopped.
type beat interface {
	wait() // for the next tick
	stop()
}

// runtimeTicker ticks by the runtime's timers.
type runtimeTicker struct{ *time.Ticker }

func newRuntimeTicker(d time.Duration) beat { return runtimeTicker{time.NewTicker(d)} }

func (t runtimeTicker) wait() { <-t.C }

func (t runtimeTicker) stop() { t.Stop() }
