//go:build !linux

package rtp

import "time"

func newTicker(d time.Duration) runtimeTicker { return newRuntimeTicker(d) }
