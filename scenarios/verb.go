package scenarios

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// verb is one kind of step.
type verb struct {
	name  string
	usage string // what it does, and when it passes
	make  func() action
}

// verbs are those of the language, as the reference lists them.
var verbs = []verb{
	{"call", "A gateway places a call and waits for the final answer. Passes when it is a 2xx, or with outcome: refused anything else.", func() action { return &call{} }},
	{"answer", "A gateway takes the next call that comes to it, which rings until then. Passes when it is answered, or refused with status. It stands in parallel with the call.", func() action { return &answer{} }},
	{"expect", "Passes when such an event has happened, or does within the time since the last action began.", func() action { return &expect{} }},
	{"talk", "The caller speaks, once an event of the call has come. Passes when all was said.", func() action { return &talk{} }},
	{"dtmf", "The caller presses keys. Passes when they are sent as telephone events.", func() action { return &dtmf{} }},
	{"fax", "A fax machine is at the caller's end. Passes when its sign was sent, or its re-INVITE answered 200.", func() action { return &fax{} }},
	{"play-on-phone", "Unified Messaging calls a telephone and plays a mailbox's latest voice message there. Passes when the call is answered, or with outcome: refused when it is not. Where exsim plays the device, an answer step stands in parallel.", func() action { return &playOnPhone{} }},
	{"hold", "The caller puts the call on hold by a re-INVITE. Passes when it is answered 200 with a description that fits.", func() action { return &hold{} }},
	{"resume", "The caller takes the call back from hold. Passes when the re-INVITE is answered 200 with a description that fits.", func() action { return &resume{} }},
	{"transfer", "The caller's side asks by REFER that somebody else be called. Passes when it is refused, or with outcome: accepted taken.", func() action { return &transfer{} }},
	{"hangup", "The caller hangs up. Passes when BYE is answered 200, or the other side was first.", func() action { return &hangup{} }},
	{"connect", "An actor connects to a listener. Passes when its service gives a sign of life, or with outcome: closed when it does not.", func() action { return &connect{} }},
	{"send", "A mail host sends a message to a receive connector, and again while it is refused for now. Passes when it is taken, or with outcome: refused when it is refused for good.", func() action { return &sendMail{} }},
	{"session", "A mail host says line by line what the file says, and awaits the replies that it names. Passes when every reply is as named.", func() action { return &session{} }},
	{"pressure", "A server's transport is short of resources from now on, or no longer: medium refuses mail of hosts outside, high also that of Exchange servers.", func() action { return &pressure{} }},
	{"unaltered", "Passes when every message of a call between a simulated gateway and the organisation came as it left, Via aside.", func() action { return &unaltered{} }},
	{"mail", "Waits for a message in a mailbox. Passes when one that meets the conditions is stored.", func() action { return &awaitMail{} }},
	{"options", "A gateway asks every server that it would call for OPTIONS. Passes when each answers with the status.", func() action { return &options{} }},
	{"gateway", "Changes the state of a UM IP gateway, as Set-UMIPGateway does. Disabled ends its running calls.", func() action { return &setGateway{} }},
	{"maintenance", "Sets a component of a server inactive, or active again, as Set-ServerComponentState does: of Unified Messaging, call router and UM service refuse calls and OPTIONS; of transport, mail is refused.", func() action { return &maintenance{} }},
	{"fault", "Lets a party do something wrong from now on, or no longer. Passes at once.", func() action { return &plantFault{} }},
	{"repeat", "Does steps again and again, at a rate, many at once: load. Passes when none of them fails and no mail is lost. The events load.step and load.ended have percentiles and what exsim itself added, for goals.", func() action { return &repeat{} }},
	{"recycle", "Lets the second worker process of a server take the new calls; the first ends behind its last call (um.worker_stopped).", func() action { return &recycle{} }},
}

// action is what a step does; its fields are the step's settings.
type action interface {
	// check reports mistakes, and returns the step as people read it.
	check(l *loader) string
	// do does it. An error tells what came instead; it is the verdict.
	do(ctx context.Context, r *run, n int) error
}

// observer is an action that is judged by the events of the run; any other is
// judged by what came of doing it.
type observer interface {
	action
	judge(j *judge, v *Verdict, anchor int)
}

// Actions of a call say which one, those that an actor does say who.
type (
	ofCall  interface{ callID() string }
	byActor interface{ actorName() string }
)

// call is the id of the call that a step is about, "" if it is about none.
func (s *Step) call() string {
	if a, ok := s.action.(ofCall); ok {
		return a.callID()
	}
	return ""
}

// opening finds the step that places or takes a call, and the actor that does;
// the step's number counts from 1, and is 0 if none does.
func (s *Scenario) opening(id string) (n int, actor string) {
	for i := range s.Steps {
		switch a := s.Steps[i].action.(type) {
		case *call:
			if id != "" && a.ID == id {
				return i + 1, a.From
			}
		case *answer:
			if id != "" && a.ID == id {
				return i + 1, a.By
			}
		}
	}
	return 0, ""
}

// opens is the id of the call that a step opens, "" if it opens none.
func (s *Step) opens() string {
	switch a := s.action.(type) {
	case *call:
		return a.ID
	case *answer:
		return a.ID
	}
	return ""
}

// actor is who does a step, "" if no actor does.
func (s *Scenario) actor(step *Step) string {
	if a, ok := step.action.(byActor); ok {
		return a.actorName()
	}
	_, actor := s.opening(step.call())
	return actor
}

// parallel is the word for steps that are done at the same time.
const parallel = "parallel"

// steps reads an entry of the list of steps: a step, or some in parallel.
func (l *loader) steps(v yamlfile.Value, path []string) {
	branches, ok := v.Get(parallel)
	if !ok || len(v.Pairs) != 1 {
		l.step(v, path)
		return
	}
	if branches.Kind != yamlfile.List || len(branches.Items) < 2 {
		l.unread = append(l.unread, branches)
		l.f.Report(branches.Pos, "- parallel: [{call: {...}}, {answer: {...}}]; an entry may be a list of steps, too", "parallel: wants two steps or more")
		return
	}
	l.group++
	for i, b := range branches.Items {
		l.branch = i + 1
		at := append(slices.Clone(path), parallel, strconv.Itoa(i))
		if b.Kind != yamlfile.List {
			l.step(b, at)
			continue
		}
		for k, item := range b.Items {
			l.step(item, append(slices.Clone(at), strconv.Itoa(k)))
		}
	}
	l.branch = 0
}

// step reads one step.
func (l *loader) step(v yamlfile.Value, path []string) {
	if v.Kind != yamlfile.Map || len(v.Pairs) != 1 {
		l.unread = append(l.unread, v)
		l.f.Report(v.Pos, "such as - call: {...}; verbs are "+strings.Join(append(verbNames(), parallel), ", "), "a step is one verb with its settings")
		return
	}
	p := v.Pairs[0]
	for _, verb := range verbs {
		if verb.name == p.Key {
			s := Step{Pos: p.Pos, Verb: p.Key, action: verb.make(), path: append(path, p.Key)}
			if l.branch > 0 {
				s.group, s.branch = l.group, l.branch
			}
			l.f.Decode(p.Value, s.action)
			l.settings, l.settings.Pos, l.path = p.Value, p.Pos, s.path
			s.Text = s.action.check(l)
			l.s.Steps = append(l.s.Steps, s)
			return
		}
	}
	l.unread = append(l.unread, v)
	if p.Key == parallel {
		l.f.Report(p.Pos, "a list of steps is a branch", "parallel: stands in no other parallel")
		return
	}
	all := append(verbNames(), parallel)
	l.f.Report(p.Pos, cmp.Or(yamlfile.Suggest(p.Key, all), "verbs are "+strings.Join(all, ", ")), "unknown verb %q", p.Key)
}

// at is the place of a setting of the step that is checked, or of the step.
func (l *loader) at(setting string) yamlfile.Pos {
	if v, ok := l.settings.Get(setting); ok {
		return v.Pos
	}
	return l.settings.Pos
}

func verbNames() []string {
	names := make([]string, len(verbs))
	for i, v := range verbs {
		names[i] = v.name
	}
	return names
}

// step does a step of a run and reports whether the steps behind it have a
// ground to stand on.
func (r *run) step(ctx context.Context, n int, s *Step) bool {
	var err error
	if r.s.guided(s) {
		g, _ := s.action.(guide)
		err = r.guided(ctx, n, g)
	} else {
		err = s.action.do(ctx, r, n)
	}
	if _, ok := s.action.(observer); ok {
		return err == nil
	}
	e := acted{n: n, ok: err == nil}
	if err != nil {
		e.got = err.Error()
	}
	r.src.Record(trace.Session{}, trace.Session{}, e, nil)
	return err == nil
}

// one judges a step.
func (j *judge) one(v *Verdict, step *Step, anchor int) {
	if o, ok := step.action.(observer); ok {
		o.judge(j, v, anchor)
		return
	}
	v.Result = Failed
	i, ok := j.acted[v.Step]
	if !ok {
		v.Got = "the run was broken off"
		return
	}
	e := &j.events[i]
	v.Event = int64(e.Seq)
	if done, _ := e.Get("ok"); done == true {
		v.Result = Passed
	} else {
		v.Got = e.Text("got")
	}
}
