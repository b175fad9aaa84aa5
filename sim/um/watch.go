package um

import (
	"context"
	"time"
)

// watch does something at once and then in turn until ctx is done; each time
// it may take as long as the turn, and is not broken off by the end of ctx.
func watch(ctx context.Context, every time.Duration, do func(ctx context.Context)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), every)
		do(once)
		cancel()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}
