package truth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/integrity"
	"github.com/exsim/exsim/sim/paths/record"
)

// Verdict is what the network did to a flow.
type Verdict string

// The verdicts.
const (
	IsOpen      Verdict = "open"
	IsRefused   Verdict = "refused"
	IsReset     Verdict = "reset"
	IsDropped   Verdict = "dropped"
	OneWay      Verdict = "dropped in one direction"
	IsSilent    Verdict = "silent at the protocol level"
	Altered     Verdict = "altered"
	Intercepted Verdict = "intercepted"
	Wrong       Verdict = "wrong service"
	Real        Verdict = "real service"
	Partly      Verdict = "partly open"
	Limited     Verdict = "slowed by a limit on new flows"
	Unknown     Verdict = "not proven"
)

// Level is how a verdict stands to what was expected.
type Level string

// The levels.
const (
	Pass     Level = "pass"
	Warn     Level = "warn"
	Fail     Level = "fail"
	Unproven Level = "unproven"
)

// Result is the truth about one flow.
type Result struct {
	Flow    *paths.Flow
	Verdict Verdict
	Level   Level
	Side    string // network, bench, far end, unknown
	Cause   string // why, in a sentence
	Next    string // what to do
	Rule    string // to add or to remove, "" for none
	// Parts are the verdicts on parts of the ports, where they differ.
	Parts    []Part
	Tried    int
	Took     time.Duration
	How      []string // it was tried: by a sample, by which sockets
	Evidence []string
	Changes  []integrity.Change
	// Compared is whether what left one end was held against what came.
	Compared   bool
	Translated string // how addresses were, "" if they were not
}

// Part is a set of ports with one verdict.
type Part struct {
	Verdict Verdict
	Ports   paths.PortSet
}

// Table is the truth about a plan.
type Table struct {
	Plan        *paths.Plan
	Results     []Result
	Warnings    []paths.Warning
	Unported    []string // entries of the catalogue between these hosts without a port
	Clocks      []Clock
	Rates       []Rate
	Interrupted []string
	Hosts       []string
	Started     time.Time
	Contact     string
	Untried     int // flows of the plan that no record is about
}

// Judge says what the records tell of a plan.
func Judge(p *paths.Plan, lines []record.Line) (*Table, error) {
	r, err := join(p, lines)
	if err != nil {
		return nil, err
	}
	t := &Table{Plan: p, Clocks: r.clocks, Rates: r.rates, Interrupted: r.interrupted, Hosts: r.hosts, Started: r.started, Contact: p.Contact}
	for _, x := range r.rates {
		t.Contact = cmp.Or(x.Contact, t.Contact)
	}
	flows, warnings := p.Flows()
	t.Warnings = warnings
	for _, d := range p.Unported() {
		t.Unported = append(t.Unported, d.ID)
	}
	for _, f := range flows {
		facts := r.flows[f.ID]
		if facts == nil && (f.Unproven == "" || !slices.Contains(r.hosts, f.From.Name) || !slices.Contains(r.hosts, f.To.Name)) {
			t.Untried++
			continue
		}
		if facts != nil && facts.bound == nil && r.asked[f.From.Name] && r.asked[f.To.Name] {
			t.Results = append(t.Results, Result{Flow: f}.unproven("interrupted, or the control connection broke, before "+f.To.Name+" told what arrived", "run it again; with --record FILE it can go on by --resume"))
			continue
		}
		t.Results = append(t.Results, judge(f, facts, p.Control, r.offset))
	}
	return t, nil
}

// judge says what became of one flow; the port of the control connection is in
// no sweep, and above what an offset leaves nothing can be tried.
func judge(f *paths.Flow, x *facts, control, offset uint16) Result {
	res := Result{Flow: f}
	switch {
	case f.Unproven != "":
		return res.unproven(f.Unproven, "")
	case x.sent == nil && x.bound != nil && f.Ports.Minus(x.bound.Held).Len() == 0:
		return res.unproven("held by another program on "+f.To.Name+", and UDP is not judged from one end", "stop it for the time of the probe")
	case x.sent == nil && x.bound != nil:
		return res.unproven(f.From.Name+" has not probed it", "run exsim probe --from "+f.From.Name)
	case x.sent == nil:
		return res.unproven("there is no record of it", "")
	}
	res.Tried, res.Took = x.sent.Tried.Len(), x.sent.Took
	for port := range x.sent.Tried.All() {
		res.part(verdictOf(f, x, port), port)
	}
	untried := f.Sample().Minus(x.sent.Tried)
	if beyond := untried.And(paths.PortsBetween(65535-offset, 65535).Minus(paths.Ports(65535 - offset))); offset > 0 && beyond.Len() > 0 {
		untried = untried.Minus(beyond)
		res.How = append(res.How, fmt.Sprintf("not tried: %d ports above %d, where %d cannot be added", beyond.Len(), 65535-offset, offset))
	}
	for port := range untried.All() { // held, or the run was cut short
		if port == control && f.Kind == paths.Unrestricted {
			continue
		}
		res.part(Unknown, port)
		res.Tried++
	}
	res.whole(x)
	res.dialogue(x)
	res.marks(x)
	res.level()
	res.explain(x)
	return res
}

func (r Result) unproven(cause, next string) Result {
	r.Verdict, r.Level, r.Side, r.Cause, r.Next = Unknown, Unproven, "bench", cause, next
	return r
}

func (r *Result) part(v Verdict, port uint16) {
	i := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Verdict == v })
	if i < 0 {
		r.Parts = append(r.Parts, Part{Verdict: v})
		i = len(r.Parts) - 1
	}
	r.Parts[i].Ports.Add(port)
}

// ports are those with a verdict.
func (r *Result) ports(v Verdict) paths.PortSet {
	for _, p := range r.Parts {
		if p.Verdict == v {
			return p.Ports
		}
	}
	return paths.PortSet{}
}

// verdictOf judges one port by what both ends saw of it.
func verdictOf(f *paths.Flow, x *facts, port uint16) Verdict {
	s, far := x.sent, x.got != nil // what the far end heard is known only once it told
	arrived := x.got != nil && x.got.Arrived.Has(port)
	accepted := x.got != nil && x.got.Accepted.Has(port)
	strange := x.got != nil && x.got.Other.Has(port)
	listening := x.bound != nil && x.bound.Ports.Has(port)
	if x.bound != nil && x.bound.Held.Has(port) {
		return realService(f, s, port)
	}
	if x.bound != nil && !listening || failedHere(s, port) {
		if f.Expect == paths.Closed && arrived {
			return IsOpen
		}
		return Unknown
	}
	if far && x.got.Trouble != "" && !arrived {
		return Unknown
	}
	switch {
	case s.Answered.Has(port) && far && !arrived:
		return Intercepted // the far end has not seen what was answered
	case s.Slowly.Has(port):
		return Limited
	case s.Answered.Has(port):
		return IsOpen
	case s.Mangled.Has(port) && arrived:
		return Altered
	case s.Served.Has(port) && arrived:
		return Altered // the far end has it, and another answer came
	case strange:
		return Altered
	case s.Served.Has(port) || s.Mangled.Has(port):
		if f.Transport == "tcp" && far {
			return Intercepted
		}
		return Wrong
	case !far:
		return Unknown // nobody knows whether the far end listened
	case arrived && (s.Reset.Has(port) || s.Cut.Has(port) || s.Silent.Has(port)):
		return IsSilent
	case arrived:
		return OneWay
	case s.Refused.Has(port), s.Barred.Has(port):
		return IsRefused
	case s.Reset.Has(port):
		return IsReset
	case (s.Silent.Has(port) || s.Cut.Has(port)) && far && !accepted:
		return Intercepted // something took the connection that is not the far end
	case s.Silent.Has(port), s.Cut.Has(port):
		return IsSilent
	case x.got.Half.Has(port):
		return OneWay
	}
	return IsDropped
}

func failedHere(s *record.Sent, port uint16) bool {
	for _, set := range s.Failed {
		if set.Has(port) {
			return true
		}
	}
	return false
}

// realService judges a port that another program of the far machine holds, by
// what it says: from one end only.
func realService(f *paths.Flow, s *record.Sent, port uint16) Verdict {
	switch {
	case f.Transport == "udp":
		return Unknown
	case s.Stream != nil && (s.Served.Has(port) || len(s.Stream.Received) > 0) && !fits(f, s.Stream):
		return Wrong
	case s.Served.Has(port):
		return Real
	case s.Refused.Has(port), s.Barred.Has(port):
		return IsRefused
	case s.Reset.Has(port):
		return IsReset
	case s.Cut.Has(port):
		return IsSilent
	case s.Silent.Has(port):
		return Unknown // it takes connections and says nothing by itself
	}
	return IsDropped
}

// fits says whether what a real service said is of the protocol that should be
// there.
func fits(f *paths.Flow, s *record.Stream) bool {
	switch f.Protocol {
	case "SIP":
		return strings.HasPrefix(string(s.Received), "SIP/2.0 ")
	case "SMTP", "SMTP submission":
		return strings.HasPrefix(string(s.Received), "220")
	}
	return true
}

// whole makes one verdict of those on the ports.
func (r *Result) whole(x *facts) {
	switch {
	case len(r.Parts) == 1:
		r.Verdict = r.Parts[0].Verdict
	case r.Flow.Expect == paths.Closed && r.reached().Len() > 0:
		r.Verdict = IsOpen
	case r.Flow.Expect == paths.Closed:
		r.Verdict = r.Parts[0].Verdict // dropped here and refused there is closed
		for _, p := range r.Parts {
			if p.Verdict == Unknown {
				r.Verdict = Unknown
			}
		}
	case r.ports(Limited).Len() > 0 && r.ports(IsOpen).Len()+r.ports(Limited).Len() == r.Tried:
		r.Verdict = Limited
	case r.ports(IsOpen).Len() > 0:
		r.Verdict = Partly
		if r.ports(Limited).Len() > 0 && x.sent.Lost().Len() > againSeen {
			r.Verdict = Limited
		}
		if r.ports(Unknown).Len() > 0 && r.ports(IsOpen).Len()+r.ports(Unknown).Len() == r.Tried {
			r.Verdict = Unknown // what was tried is open, and the rest is told
		}
	case r.ports(IsRefused).Len()+r.ports(IsDropped).Len() == r.Tried:
		r.Verdict = IsRefused // machines limit how often they say so
	default:
		r.Verdict = r.Parts[0].Verdict
		for _, p := range r.Parts {
			if p.Ports.Len() > r.ports(r.Verdict).Len() {
				r.Verdict = p.Verdict
			}
		}
	}
}

// againSeen is how many lost ports make a limit out of some that passed slowly.
const againSeen = 8

// reached are the ports on which the far end was reached, or something that
// speaks in its place.
func (r *Result) reached() paths.PortSet {
	var set paths.PortSet
	for _, v := range []Verdict{IsOpen, OneWay, Altered, Limited, IsSilent, Real, Wrong, Intercepted} {
		set.AddSet(r.ports(v))
	}
	return set
}

// dialogue compares what both ends kept of a dialogue.
func (r *Result) dialogue(x *facts) {
	if x.got == nil || x.got.Stream == nil || x.sent.Stream == nil {
		return
	}
	near, far := x.sent.Stream, x.got.Stream
	r.Compared = true
	r.Changes = integrity.Compare(r.Flow.Protocol, near, far)
	worst := integrity.Harmless
	for _, c := range r.Changes {
		if c.Rating == integrity.Breaking || c.Rating == integrity.Risky && worst == integrity.Harmless {
			worst = c.Rating
		}
	}
	cert := slices.ContainsFunc(r.Changes, func(c integrity.Change) bool { return strings.Contains(c.What, "certificate") })
	switch {
	case cert:
		r.Verdict = Intercepted
	case (r.Verdict == IsSilent || r.Verdict == IsReset) && (len(near.Received) == 0 || len(far.Received) == 0):
		// all of a direction is lost: nothing was altered
	case len(r.Changes) > 0 && worst != integrity.Harmless:
		r.Verdict = Altered
	}
	if near.Error != "" {
		r.Evidence = append(r.Evidence, fmt.Sprintf("%s came as far as %s: %s", r.Flow.From.Name, near.Stage, near.Error))
	}
}

// marks compares how media was marked with how it arrived.
func (r *Result) marks(x *facts) {
	if x.got == nil || x.sent.DSCP == 0 {
		return
	}
	r.Compared = len(x.got.DSCP) > 0
	for _, d := range x.got.DSCP {
		if d != x.sent.DSCP {
			r.Changes = append(r.Changes, integrity.Change{What: "DSCP", Way: "out", Sent: fmt.Sprint(x.sent.DSCP), Got: fmt.Sprint(d), Rating: integrity.Risky,
				Means: "media has no priority where the line is full", By: "a router or firewall that marks anew"})
		}
	}
	if len(r.Changes) > 0 && r.Verdict == IsOpen {
		r.Verdict = Altered
	}
}

// level holds the verdict against what was expected.
func (r *Result) level() {
	f := r.Flow
	bad := Fail
	if f.Warn {
		bad = Warn
	}
	if f.Expect == paths.Closed {
		switch r.Verdict {
		case IsDropped, IsRefused, IsReset:
			r.Level = Pass
		case Unknown:
			r.Level = Unproven
		default:
			r.Level = bad
			if f.Source.IsLoopback() && f.Target.IsLoopback() {
				r.Level = Unproven // nothing filters between them
			}
		}
		return
	}
	switch r.Verdict {
	case IsOpen:
		r.Level = Pass
		if len(r.Changes) > 0 && f.Kind == paths.Unrestricted {
			r.Level = bad
		}
	case Real:
		r.Level = Pass
	case Limited:
		r.Level = Warn
	case Unknown:
		r.Level = Unproven
	case Altered:
		r.Level = bad
		if f.Kind != paths.Unrestricted && !slices.ContainsFunc(r.Changes, func(c integrity.Change) bool { return c.Rating == integrity.Breaking }) && len(r.Changes) > 0 {
			r.Level = Warn
		}
	default:
		r.Level = bad
	}
}
