package ends

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths/record"
)

// told records lines of this end, which are also told to the other.
func (e *End) told(lines []record.Line) []record.Line {
	for i := range lines {
		lines[i].Host = e.conf.Host.Name
		e.add(lines[i])
	}
	return lines
}

// openAll listens on parts of flows.
func (e *End) openAll(parts []part, open map[string]*inbox) []record.Line {
	var lines []record.Line
	for _, p := range parts {
		in, bound := e.open(p.flow, p.Ports)
		open[p.Flow] = in
		lines = append(lines, record.Line{Bound: bound})
	}
	return lines
}

// closeAll ends listening and returns what arrived.
func (e *End) closeAll(ctx context.Context, open map[string]*inbox) []record.Line {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var lines []record.Line
	half := halfOpen()
	for id, in := range open {
		in.settle(ctx)
		in.half(half)
		got := in.close()
		lines = append(lines, record.Line{Got: &got})
		delete(open, id)
	}
	return lines
}

// probeAll probes parts of flows at the same time, at the common pace.
func (e *End) probeAll(ctx context.Context, parts []part) error {
	begin := time.Now()
	defer func() { e.busy += time.Since(begin) }()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		if !p.Aside {
			wg.Go(func() { errs[i] = e.probe(ctx, p.flow, p.Ports, p.Held) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
