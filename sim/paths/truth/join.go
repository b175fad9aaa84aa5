// Package truth joins what the two ends of a probe recorded and says of each
// flow of a plan what the network did to it: the verdict, which side it lies
// on, the evidence, and what to do.
package truth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// facts are all that both ends recorded of a flow.
type facts struct {
	sent  *record.Sent
	got   *record.Got
	bound *record.Bound
}

// run is what the records say beside the flows.
type run struct {
	flows  map[string]*facts
	hosts  []string
	clocks []Clock
	rates  []Rate
	// interrupted are the hosts whose record has no end.
	interrupted []string
	started     time.Time
	offset      uint16 // that was added to every port
	// asked are the hosts that were asked over a control connection: what they
	// do not tell was lost with it.
	asked map[string]bool
}

// Clock is how far two hosts' clocks differ.
type Clock struct {
	Host, Peer     string
	Offset, Within time.Duration
}

// Rate is what a host asked of the network.
type Rate struct {
	Host string
	record.Rate
}

// join sorts the lines of records by flow. All must be of this plan.
func join(p *paths.Plan, lines []record.Line) (*run, error) {
	r := &run{flows: map[string]*facts{}, asked: map[string]bool{}}
	ended := map[string]bool{}
	at := func(flow string) *facts {
		if r.flows[flow] == nil {
			r.flows[flow] = &facts{}
		}
		return r.flows[flow]
	}
	seen := map[string]bool{}
	for _, l := range lines {
		if b, err := json.Marshal(l); err == nil && l.Head == nil && l.End == nil {
			if seen[string(b)] {
				continue // one record given twice
			}
			seen[string(b)] = true
		}
		if !slices.Contains(r.hosts, l.Host) {
			r.hosts = append(r.hosts, l.Host)
		}
		switch {
		case l.Head != nil:
			if l.Head.Digest != p.Digest() {
				return nil, fmt.Errorf("the record of %s is of another plan than this file (%s)", l.Host, l.Head.Plan)
			}
			r.offset = max(r.offset, l.Head.Offset)
			if r.started.IsZero() || l.Head.Started.Before(r.started) {
				r.started = l.Head.Started
			}
			if _, known := ended[l.Host]; !known {
				ended[l.Host] = false
			}
			if c := l.Head.Clock; c != nil {
				r.asked[l.Host], r.asked[c.Peer] = true, true
				r.clocks = append(r.clocks, Clock{l.Host, c.Peer, c.Offset, c.Within})
			}
		case l.Bound != nil:
			f := at(l.Bound.Flow)
			f.bound = addBound(f.bound, l.Bound)
		case l.Sent != nil:
			f := at(l.Sent.Flow)
			f.sent = addSent(f.sent, l.Sent)
		case l.Got != nil:
			f := at(l.Got.Flow)
			f.got = addGot(f.got, l.Got)
		case l.Rate != nil:
			r.rates = append(r.rates, Rate{l.Host, *l.Rate})
		case l.End != nil:
			ended[l.Host] = ended[l.Host] || l.End.How == "done"
		}
	}
	for h, whole := range ended {
		if !whole {
			r.interrupted = append(r.interrupted, h)
		}
	}
	slices.Sort(r.interrupted)
	return r, nil
}

func addBound(a, b *record.Bound) *record.Bound {
	if a == nil {
		c := *b
		c.Failed = addSets(nil, b.Failed)
		return &c
	}
	a.Ports.AddSet(b.Ports)
	a.Held.AddSet(b.Held)
	a.Sockets = cmp.Or(a.Sockets, b.Sockets)
	a.Failed = addSets(a.Failed, b.Failed)
	return a
}

// addSent takes a later probe of some ports in the place of an earlier one.
func addSent(a, b *record.Sent) *record.Sent {
	if a == nil {
		c := *b
		c.Failed = addSets(nil, b.Failed)
		return &c
	}
	if b.At.Before(a.At) {
		c := *b
		c.Failed = addSets(nil, b.Failed)
		a, b = &c, a
	}
	for _, s := range []struct{ to, from *paths.PortSet }{{&a.Tried, &b.Tried}, {&a.Answered, &b.Answered}, {&a.Served, &b.Served}, {&a.Refused, &b.Refused},
		{&a.Barred, &b.Barred}, {&a.Reset, &b.Reset}, {&a.Cut, &b.Cut}, {&a.Silent, &b.Silent}, {&a.Mangled, &b.Mangled}, {&a.Slowly, &b.Slowly}} {
		*s.to = s.to.Minus(b.Tried)
		s.to.AddSet(*s.from)
	}
	for why, set := range a.Failed {
		a.Failed[why] = set.Minus(b.Tried)
	}
	a.Failed = addSets(a.Failed, b.Failed)
	a.At = b.At
	a.Took += b.Took
	a.From = append(a.From, b.From...)
	if b.Stream != nil {
		a.Stream = b.Stream
	}
	return a
}

func addGot(a, b *record.Got) *record.Got {
	if a == nil {
		c := *b
		return &c
	}
	a.Accepted.AddSet(b.Accepted)
	a.Arrived.AddSet(b.Arrived)
	a.Half.AddSet(b.Half)
	a.Other.AddSet(b.Other)
	a.Trouble = cmp.Or(a.Trouble, b.Trouble)
	a.From = append(a.From, b.From...)
	a.Sources = max(a.Sources, b.Sources)
	a.Strange = append(a.Strange, b.Strange...)
	if b.Stream != nil {
		a.Stream = b.Stream
	}
	return a
}

func addSets(a, b map[string]paths.PortSet) map[string]paths.PortSet {
	for k, v := range b {
		if a == nil {
			a = map[string]paths.PortSet{}
		}
		set := a[k]
		set.AddSet(v)
		a[k] = set
	}
	return a
}

// reasons lists what sets of ports failed for, the largest first.
func reasons(sets map[string]paths.PortSet) []string {
	var list []string
	for k := range sets {
		list = append(list, k)
	}
	slices.SortFunc(list, func(x, y string) int { return cmp.Or(cmp.Compare(sets[y].Len(), sets[x].Len()), cmp.Compare(x, y)) })
	return list
}
