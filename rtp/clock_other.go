//go:build !linux

package rtp

import "time"

func newTicker(d time.Duration) beat { return newRuntimeTicker(d) }
