package rtp

import "time"

// runtimeTicker ticks by the runtime's timers.
type runtimeTicker struct{ *time.Ticker }

func newRuntimeTicker(d time.Duration) runtimeTicker { return runtimeTicker{time.NewTicker(d)} }

func (t runtimeTicker) wait() { <-t.C }

func (t runtimeTicker) stop() { t.Stop() }
