package scenarios

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// repeat does steps again and again, at a rate: load.
type repeat struct {
	Rate        float64          `yaml:"rate,required" doc:"how many begin in a second, at most 10000"`
	Ramp        time.Duration    `yaml:"ramp" doc:"time in which the rate rises evenly from nothing to that"`
	For         time.Duration    `yaml:"for" doc:"time in which they begin; or count"`
	Count       int              `yaml:"count" doc:"how many begin"`
	Concurrency int              `yaml:"concurrency" default:"1000" doc:"how many may be under way at once, at most 10000; one that is due and finds no room waits"`
	Allowed     float64          `yaml:"allowed-failures" doc:"how many in a hundred may fail; 0 if left out"`
	StepValues  []yamlfile.Value `yaml:"steps,required" doc:"what each does, in this order; ids of calls are its own"`

	steps []Step
}

// Limits of a load.
const (
	maxRate        = 10_000
	maxConcurrency = 10_000
	maxRepeats     = 10_000_000
	longest        = 30 * 24 * time.Hour
)

// repeatable are the verbs that can be done by many at once.
var repeatable = []string{"call", "expect", "talk", "dtmf", "hold", "resume", "hangup", "connect", "send", "session", "mail", "options"}

func (p *repeat) check(l *loader) string {
	for _, wrong := range []struct {
		is        bool
		at, words string
	}{
		{!(p.Rate > 0 && p.Rate <= maxRate), "rate", fmt.Sprintf("rate %v: more than 0, at most %d", p.Rate, maxRate)},
		{p.Concurrency < 1 || p.Concurrency > maxConcurrency, "concurrency", fmt.Sprintf("concurrency %d: 1 to %d", p.Concurrency, maxConcurrency)},
		{!(p.Allowed >= 0 && p.Allowed <= 100), "allowed-failures", fmt.Sprintf("allowed-failures %v: 0 to 100", p.Allowed)},
		{p.Ramp < 0 || p.For < 0 || p.Count < 0, "for", "times and counts are not negative"},
		{(p.For > 0) == (p.Count > 0), "for", "either for: TIME or count: NUMBER says how long"},
		{p.Rate*longest.Seconds() < float64(p.Count), "rate", fmt.Sprintf("%d would take longer than %s", p.Count, longest)},
		{p.planned() > maxRepeats, "rate", fmt.Sprintf("%d would begin, and %d may", p.planned(), maxRepeats)},
	} {
		if wrong.is {
			l.f.Report(l.at(wrong.at), "", "repeat: %s", wrong.words)
			break
		}
	}
	p.load(l)
	names := make([]string, len(p.steps))
	for i := range p.steps {
		names[i] = p.steps[i].Verb
	}
	how := fmt.Sprintf("%d times", p.Count)
	if p.For > 0 {
		how = "for " + p.For.String()
	}
	text := fmt.Sprintf("%s a second, %s, %d at once: %s", strconv.FormatFloat(p.Rate, 'f', -1, 64), how, p.Concurrency, strings.Join(names, ", "))
	if p.Ramp > 0 {
		text = "up to " + text
	}
	return text
}

// load reads the steps, whose calls no other step knows.
func (p *repeat) load(l *loader) {
	outer, calls, settings, branch := l.s.Steps, l.calls, l.settings, l.branch
	path := append(slices.Clone(l.path), "steps")
	l.s.Steps, l.calls, l.branch = nil, map[string]place{}, 0
	for i, v := range p.StepValues {
		if len(v.Pairs) == 1 && !slices.Contains(repeatable, v.Pairs[0].Key) {
			l.unread = append(l.unread, v)
			key := v.Pairs[0].Key
			l.f.Report(v.Pairs[0].Pos, cmp.Or(yamlfile.Suggest(key, repeatable), strings.Join(repeatable, ", ")), "repeat: %q cannot be done by many at once", key)
			continue
		}
		l.step(v, append(slices.Clone(path), strconv.Itoa(i)))
	}
	p.steps = l.s.Steps
	l.s.Steps, l.calls, l.settings, l.branch = outer, calls, settings, branch
	for i := range p.steps {
		switch s := &p.steps[i]; s.action.(type) {
		case *expect, *awaitMail:
			if s.call() == "" {
				l.f.Report(s.Pos, "call: ID", "repeat: %s has to name its call: events of many are there at once", s.Verb)
			}
		}
	}
	if len(p.steps) == 0 && len(p.StepValues) == 0 {
		l.f.Report(l.at("steps"), "", "repeat: no step")
	}
}

// byDevice is an external device that would do one of the steps, "" if none would.
func (p *repeat) byDevice(s *Scenario) string {
	for i := range p.steps {
		if a, ok := p.steps[i].action.(byActor); ok && s.Actors[a.actorName()].Device == External {
			return a.actorName()
		}
	}
	return ""
}

// due is when the k-th begins, counted from 0, since the load began: the rate
// rises evenly through the ramp.
func (p *repeat) due(k int) time.Duration {
	ramp := p.Ramp.Seconds()
	inRamp := p.Rate * ramp / 2 // that begin in the ramp
	if n := float64(k); n < inRamp {
		return time.Duration(math.Sqrt(2*ramp*n/p.Rate) * float64(time.Second))
	} else { //nolint:revive // the two halves of one formula
		return time.Duration((ramp + (n-inRamp)/p.Rate) * float64(time.Second))
	}
}

// planned is how many begin.
func (p *repeat) planned() int {
	if p.Count > 0 {
		return p.Count
	}
	t, ramp := p.For.Seconds(), p.Ramp.Seconds()
	if t < ramp {
		return int(math.Ceil(p.Rate * t * t / (2 * ramp)))
	}
	return int(math.Ceil(p.Rate*ramp/2 + p.Rate*(t-ramp)))
}

// failedCall is the call to which a failure of many is put down: that of the
// first that failed.
const failedCall = "(the first that failed)"

func (p *repeat) callID() string { return failedCall }

// about are the topics of its steps.
func (p *repeat) about() (list []topic) {
	for i := range p.steps {
		list = append(list, p.steps[i].about()...)
	}
	return list
}

func (p *repeat) do(ctx context.Context, r *run, n int) error {
	return newLoad(p, r, n).run(ctx)
}

// judge counts what failed, by what the load told at its end.
func (p *repeat) judge(j *judge, v *Verdict, _ int) {
	v.Result, v.Got = Failed, "the run was broken off"
	why := map[string]int64{}
	for i := range j.events {
		e := &j.events[i]
		if int(e.Int("step")) != v.Step {
			continue
		}
		switch e.Name {
		case "load.failed":
			if first, _, _ := strings.Cut(e.Text("sessions"), " "); len(why) == 0 && first != "" {
				j.calls[failedCall], _ = trace.ParseSession(first)
			}
			if len(why) < 100 {
				why[e.Text("text")+": "+ownPorts.ReplaceAllString(e.Text("why"), "$1")]++
			}
		case "load.ended":
			v.Event = int64(e.Seq)
			p.judgeEnd(e, v, why)
		}
	}
}

func (p *repeat) judgeEnd(e *trace.Event, v *Verdict, why map[string]int64) {
	all, failed, lost := e.Int("iterations"), e.Int("failed"), e.Int("mail_lost")
	switch {
	case all < int64(p.planned()):
		v.Got = fmt.Sprintf("only %d of %d began", all, p.planned())
	case float64(failed) > p.Allowed*float64(all)/100:
		v.Got = fmt.Sprintf("%d of %d failed: %s", failed, all, mostOften(why))
	case lost > 0:
		v.Got = fmt.Sprintf("%d messages were taken and are neither in a mailbox nor in a queue", lost)
	default:
		v.Result, v.Got = Passed, ""
	}
}

// ownPorts are ports that are another one each time.
var ownPorts = regexp.MustCompile(`\b(\d+\.\d+\.\d+\.\d+):\d+`)

// mostOften tells the three most frequent reasons.
func mostOften(why map[string]int64) string {
	list := names(why)
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(why[b], why[a]) })
	rest := ""
	if len(list) > 3 {
		list, rest = list[:3], ", and others"
	}
	for i, text := range list {
		list[i] = fmt.Sprintf("%s (%d)", text, why[text])
	}
	return strings.Join(list, "; ") + rest
}
