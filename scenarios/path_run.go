package scenarios

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/middlebox"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/ends"
	"github.com/exsim/exsim/sim/paths/record"
	"github.com/exsim/exsim/sim/paths/truth"
	"github.com/exsim/exsim/sim/trace"
)

// prober proves the paths of a run, before the organisation takes the ports.
type prober struct {
	r      *run
	plan   *paths.Plan
	secret []byte
	offset uint16
	asked  map[string]bool // actors for which somebody was asked to run exsim listen
}

// freeOffset is added to the ports of paths where the listeners take any free
// ones: those of paths must be the same at both ends.
const freeOffset = 20000

// nearTimeout is how long an answer may take that crosses nothing.
const nearTimeout = 1500 * time.Millisecond

// onePlace lets one run at a time prove paths on this machine's own addresses.
var onePlace sync.Mutex

// paths proves the paths between each actor and each server.
func (r *run) paths(ctx context.Context) error {
	if !r.s.ForPaths() {
		return nil
	}
	plan, err := r.s.PathPlan()
	if err != nil {
		return err
	}
	p := &prober{r: r, plan: plan, secret: r.o.Secret, offset: r.o.Ports.Offset, asked: map[string]bool{}}
	if r.o.Ports.Free && !r.s.Guided() {
		p.offset = freeOffset
	}
	if !r.s.Guided() {
		p.secret = []byte(rand.Text())
		onePlace.Lock()
		defer onePlace.Unlock()
	} else if len(p.secret) == 0 {
		return errors.New("path: an actor is an external device, where exsim listen stands: both ends need one secret (EXSIM_SECRET)")
	}
	var lines []record.Line
	for _, name := range names(r.s.Actors) {
		a := r.s.Actors[name]
		if a.Role == roleBox {
			continue
		}
		for i := range r.s.Organisation.Servers {
			if err := ctx.Err(); err != nil {
				return err
			}
			lines = append(lines, p.between(ctx, name, a, &r.s.Organisation.Servers[i])...)
		}
	}
	return p.tell(lines)
}

// between proves the paths between an actor and a server, both ways; what went
// wrong at this end is recorded, and judged.
func (p *prober) between(ctx context.Context, name string, a Actor, server *org.Server) []record.Line {
	r := p.r
	text := fmt.Sprintf("paths between %s and %s", name, server.Name)
	r.progress(0, text, nil)
	log := record.NewLog(nil)
	var err error
	if a.Device == External {
		err = p.outside(ctx, name, a, server, log)
	} else {
		err = p.inside(ctx, name, server, log)
	}
	r.src.Record(noSession, noSession, probedEvent{name, server.Name, err}, nil)
	ok := err == nil
	r.progress(0, text, &ok)
	return log.Lines()
}

// end is one of the two.
func (p *prober) end(host string, log *record.Log, change func(c *ends.Config)) (*ends.End, error) {
	conf := ends.Config{Plan: p.plan, Host: p.plan.Host(host), Secret: p.secret, Offset: p.offset, Full: p.r.s.Path.Sweep == "all", Log: log}
	if change != nil {
		change(&conf)
	}
	if !p.r.s.Guided() {
		conf.Limits.Timeout = nearTimeout
	}
	return ends.New(conf)
}

// unwanted are the paths that the scenario says nothing about.
func (s *Scenario) unwanted(f *paths.Flow) bool {
	r := &s.Path
	switch {
	case f.Kind == paths.OwnPath:
		return false
	case f.Expect == paths.Closed:
		return r.Closed == "none"
	case f.Protocol == "RTP", f.Protocol == "RTCP", f.IsSampled():
		return r.Open == "none" || r.Sweep == "none"
	}
	return r.Open == "none"
}

// inside proves paths with both ends in this process; both ways they pass through
// the middlebox in front of the actor.
func (p *prober) inside(ctx context.Context, actor string, server *org.Server, log *record.Log) error {
	box := p.r.pathBox(actor)
	throughBox := func(c *ends.Config) {
		if box != nil {
			c.ListenPacket = box.ListenPacket
			c.Dial = func(ctx context.Context, f *paths.Flow, to netip.AddrPort) (net.Conn, error) {
				return box.Dial(ctx, f.Source, to, framing(f))
			}
		}
	}
	near, err := p.end(actor, log, throughBox)
	if err != nil {
		return err
	}
	if box != nil {
		defer func() { _ = box.Close() }()
	}
	far, err := p.end(server.Name, record.NewLog(nil), throughBox)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(server.Address, 0).String())
	if err != nil {
		return err
	}
	defer ln.Close()
	p.plan.Host(server.Name).Control = ln.Addr().String()
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- far.Serve(serving, ln) }()
	err = near.Between(ctx, p.plan.Host(server.Name), false, p.r.s.unwanted)
	stop()
	return errors.Join(err, <-served)
}

// pathBox is a middlebox like the one in front of an actor, nil if there is
// none.
func (r *run) pathBox(actor string) *middlebox.Box {
	for _, name := range names(r.s.Actors) {
		if a := r.s.Actors[name]; a.Role == roleBox && a.Between == actor {
			return lab.NewBox(r.labBox(name, a))
		}
	}
	return nil
}

// framing is how a middlebox reads what passes on a path.
func framing(f *paths.Flow) faults.Framing {
	switch {
	case f.Expect == paths.Closed, f.TLS == "mutual" && f.Protocol == "SIP", f.TLS == "implicit":
	case f.Protocol == "SIP":
		return faults.SIP
	case strings.HasPrefix(f.Protocol, "SMTP"):
		return faults.Lines
	}
	return faults.Opaque
}

// outside proves paths to an actor where exsim listen stands in its place, once
// it is there.
func (p *prober) outside(ctx context.Context, actor string, a Actor, server *org.Server, log *record.Log) error {
	e, err := p.end(server.Name, log, nil)
	if err != nil {
		return err
	}
	if p.r.o.Now != nil && !p.asked[actor] {
		p.asked[actor] = true
		listen := append([]string{"exsim listen", p.r.s.File, "--as", actor}, p.r.s.moved...)
		if p.offset > 0 {
			listen = append(listen, fmt.Sprintf("--port-offset %d", p.offset))
		}
		p.r.o.Now(0, fmt.Sprintf("run %s on a machine that has the address %s, with the same EXSIM_SECRET", strings.Join(listen, " "), a.Address))
	}
	deadline := time.Now().Add(p.r.patience())
	for {
		err = e.Between(ctx, p.plan.Host(actor), false, p.r.s.unwanted)
		var nobody *ends.NobodyError
		if !errors.As(err, &nobody) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// tell records what the two ends found out.
func (p *prober) tell(lines []record.Line) error {
	table, err := truth.Judge(p.plan, lines)
	if err != nil {
		return err
	}
	for i := range table.Results {
		res := &table.Results[i]
		if p.r.s.unwanted(res.Flow) || !p.r.s.isActor(res.Flow.From.Name) && !p.r.s.isActor(res.Flow.To.Name) {
			continue
		}
		RecordPath(p.r.src, res)
	}
	return nil
}

// RecordPath records what the network did to a path, and each thing that it
// changed.
func RecordPath(src *trace.Source, r *truth.Result) {
	src.Record(noSession, noSession, pathEvent{r}, nil)
	for _, c := range r.Changes {
		src.Record(noSession, noSession, changedEvent{r.Flow, c}, nil)
	}
}
