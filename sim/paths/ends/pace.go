package ends

import (
	"context"
	"sync"
	"time"
)

// pacer lets new flows begin at a rate, and so many be open at once.
type pacer struct {
	every time.Duration // 0: no limit
	slots chan struct{}

	mu    sync.Mutex
	next  time.Time
	flows int
	most  int
}

// init begins anew.
func (p *pacer) init(l Limits) {
	p.every, p.flows, p.most = 0, 0, 0
	if l.Rate > 0 {
		p.every = time.Duration(float64(time.Second) / l.Rate)
	}
	p.slots = make(chan struct{}, l.Open)
}

// begin waits until a new flow may begin; slower, if not 0, is a longer time
// between two. The flow is over with end.
func (p *pacer) begin(ctx context.Context, slower time.Duration) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.wait(ctx, slower); err != nil {
		<-p.slots
		return err
	}
	return nil
}

// wait is begin for what keeps nothing open.
func (p *pacer) wait(ctx context.Context, slower time.Duration) error {
	p.mu.Lock()
	now := time.Now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(max(p.every, slower))
	p.flows++
	p.most = max(p.most, len(p.slots))
	p.mu.Unlock()
	if d := at.Sub(now); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (p *pacer) end() { <-p.slots }

func (p *pacer) figures() (flows, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows, p.most
}
