package ends

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// maxBatch is how many ports a receiver opens at once that needs a socket for
// each, where it is not known how many it may have.
const maxBatch = 8192

// Between probes every flow between this end and a listening one, in both
// directions unless oneWay, and keeps what both record. Flows that skip names
// are left out.
func (e *End) Between(ctx context.Context, peer *paths.Host, oneWay bool, skip func(f *paths.Flow) bool) error {
	a, clock, err := e.ask(ctx, peer)
	if err != nil {
		return err
	}
	defer a.close()
	stop := context.AfterFunc(ctx, func() { _ = a.w.nc.Close() })
	defer stop()
	e.Begin(clock)
	for _, step := range []struct {
		from, to string
		most     int
		run      func(context.Context, []part) error
	}{{e.conf.Host.Name, peer.Name, a.most, a.outwards}, {peer.Name, e.conf.Host.Name, mostPorts(), a.inwards}} {
		if oneWay && step.from == peer.Name {
			break
		}
		list := e.batches(step.from, step.to, step.most, skip)
		for i, parts := range list {
			e.say("%s > %s: %d of %d, %d paths", step.from, step.to, i+1, len(list), len(parts))
			if err := step.run(ctx, parts); err != nil {
				return cmp.Or(ctx.Err(), err)
			}
		}
	}
	figures, err := a.do(order{greeting: greeting{Do: "figures"}}, controlWait)
	a.keep(figures.Lines)
	return err
}

// batches are the flows from one host to another, in lots of so many ports as
// can be open at once.
func (e *End) batches(from, to string, most int, skip func(f *paths.Flow) bool) [][]part {
	var list [][]part
	var lot []part
	n := 0
	for _, f := range Flows(e.conf.Plan, from, to) {
		if skip != nil && skip(f) {
			continue
		}
		p := part{Flow: f.ID, flow: f}
		for port := range e.Ports(f).All() {
			p.Ports.Add(port)
			if n++; n >= max(most, 1) {
				list, lot, n = append(list, append(lot, p)), nil, 0
				p.Ports = paths.PortSet{}
			}
		}
		if p.Ports.Len() > 0 {
			lot = append(lot, p)
		}
	}
	if len(lot) > 0 {
		list = append(list, lot)
	}
	for i := range list {
		list[i] = e.withSignalling(list[i])
	}
	return list
}

// withSignalling adds to a lot the paths of the calls that open its media.
func (e *End) withSignalling(lot []part) []part {
	for _, p := range lot {
		for _, by := range p.flow.Calls {
			if !slices.ContainsFunc(lot, func(o part) bool { return o.flow == by }) {
				lot = append(lot, part{Flow: by.ID, Ports: by.Ports, Aside: true, flow: by})
			}
		}
	}
	return lot
}

// outwards probes from here to there.
func (a *asker) outwards(ctx context.Context, parts []part) error {
	opened, err := a.do(order{greeting: greeting{Do: "open"}, Parts: parts}, time.Minute)
	if err != nil {
		return err
	}
	for _, l := range opened.Lines {
		for i := range parts {
			if l.Bound != nil && l.Bound.Flow == parts[i].Flow {
				parts[i].Held = l.Bound.Held
			}
		}
	}
	if err := a.e.probeAll(ctx, parts); err != nil {
		return err
	}
	closed, err := a.do(order{greeting: greeting{Do: "close"}}, time.Minute)
	a.keep(append(opened.Lines, closed.Lines...))
	return err
}

// inwards lets the other end probe from there to here.
func (a *asker) inwards(ctx context.Context, parts []part) error {
	open := map[string]*inbox{}
	lines := a.e.openAll(parts, open)
	for i, l := range lines {
		parts[i].Held = l.Bound.Held
	}
	r, err := a.do(order{greeting: greeting{Do: "probe"}, Parts: parts}, 0)
	lines = append(lines, a.e.closeAll(ctx, open)...)
	if err != nil {
		return err
	}
	a.keep(r.Lines)
	a.e.told(lines)
	return nil
}

// keep takes what the other end recorded.
func (a *asker) keep(lines []record.Line) {
	for _, l := range lines {
		l.Host = a.peer.Name
		a.e.add(l)
	}
}

// Alone probes every flow from this end to a host without asking it: what
// arrives there is in that host's own record.
func (e *End) Alone(ctx context.Context, peer *paths.Host, skip func(f *paths.Flow) bool) error {
	if e.key == nil {
		return errors.New("without a control connection the ends need a secret: certificates alone make no tokens")
	}
	e.Begin(nil)
	list := e.batches(e.conf.Host.Name, peer.Name, 1<<20, skip)
	for i, parts := range list {
		e.say("%s > %s: %d of %d, %d paths", e.conf.Host.Name, peer.Name, i+1, len(list), len(parts))
		if err := e.probeAll(ctx, parts); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
	}
	return nil
}

// controlAddrs are where this end is asked: its own control address, or its
// addresses.
func (e *End) controlAddrs() []netip.AddrPort {
	if a, err := netip.ParseAddrPort(e.conf.Host.Control); err == nil {
		return []netip.AddrPort{a}
	}
	var list []netip.AddrPort
	for _, a := range e.conf.Host.Addresses {
		list = append(list, e.bound(a, e.conf.Plan.Control))
	}
	return list
}

// Listen answers control connections, and with flows open from the start those
// of ends that have none, until the context is over. ready is called once it
// listens.
func (e *End) Listen(ctx context.Context, control bool, flows []*paths.Flow, ready func(at []string)) error {
	e.Begin(nil)
	var at []string
	var open []*inbox
	defer func() {
		half := halfOpen()
		for _, in := range open {
			in.half(half)
			got := in.close()
			e.add(record.Line{Got: &got})
		}
	}()
	if len(flows) > 0 {
		if e.key == nil {
			return errors.New("without a control connection the ends need a secret: certificates alone make no tokens")
		}
		e.inboxes = map[string]*inbox{}
	}
	for _, f := range flows {
		in, bound := e.open(f, e.Ports(f))
		for p := range bound.Ports.All() {
			if key := f.Transport + " " + e.bound(f.Listen, p).String(); e.inboxes[key] == nil {
				e.inboxes[key] = in
			}
		}
		open = append(open, in)
		e.add(record.Line{Bound: bound})
	}
	if !control {
		ready(nil)
		<-ctx.Done()
		return nil
	}
	served := make(chan error, len(e.controlAddrs()))
	n := 0
	for _, addr := range e.controlAddrs() {
		ln, err := net.Listen("tcp", addr.String())
		if err != nil {
			return fmt.Errorf("the control connection of %s: %s: %s", e.conf.Host.Name, addr, reason(err))
		}
		defer ln.Close()
		at = append(at, ln.Addr().String())
		n++
		go func() { served <- e.Serve(ctx, ln) }()
	}
	ready(at)
	var first error
	for range n {
		if err := <-served; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Done says of which flows records tell all that a run of this end would: what
// was sent, on every port, and, where the far end was asked, what arrived.
func (e *End) Done(lines []record.Line, asked bool) func(f *paths.Flow) bool {
	tried, told := map[string]paths.PortSet{}, map[string]int{}
	for _, l := range lines {
		switch {
		case l.Sent != nil:
			set := tried[l.Sent.Flow]
			set.AddSet(l.Sent.Tried)
			tried[l.Sent.Flow] = set
		case l.Bound != nil:
			told[l.Bound.Flow] |= 1
			set := tried[l.Bound.Flow]
			set.AddSet(l.Bound.Held)
			tried[l.Bound.Flow] = set
		case l.Got != nil:
			told[l.Got.Flow] |= 2
		}
	}
	return func(f *paths.Flow) bool {
		return e.Ports(f).Minus(tried[f.ID]).Len() == 0 && (!asked || told[f.ID] == 3)
	}
}
