package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/voicemail"
	"github.com/exsim/exsim/sim/yamlfile"
)

// errNotSeen is what an observer answers whose event did not come; the judge
// says what came instead.
var errNotSeen = errors.New("it did not happen")

// notOurs is told of what happens at an external device, where nothing is
// recorded.
const notOurs = "not judged: the device is external, and what it sees is not recorded"

// expect waits for an event.
type expect struct {
	Matcher
	Within time.Duration `yaml:"within" default:"10s" doc:"time since the last action began"`
}

func (e *expect) callID() string { return e.Call }

func (e *expect) check(l *loader) string {
	l.matcher(&e.Matcher)
	return "expect " + e.String()
}

func (e *expect) do(ctx context.Context, r *run, _ int) error {
	if r.s.Actors[e.At].Device == External {
		return nil
	}
	if r.await(ctx, e.Within, func(got *trace.Event) bool {
		if got.Name != e.Event {
			return false
		}
		ok, _, _ := e.matches(got, r.sessions())
		return ok
	}) == nil {
		return errNotSeen
	}
	return nil
}

// judge looks for an event that has happened by the end of its time since
// the last action began, by event times alone.
func (e *expect) judge(j *judge, v *Verdict, anchor int) {
	if j.external[e.At] {
		v.Result, v.Got = Passed, notOurs
		return
	}
	v.Result, v.Got = Failed, "no such event within "+e.Within.String()
	j.find(v, &e.Matcher, anchor, e.Within, func(*trace.Event) bool { return true })
}

// awaitMail waits for a message in a mailbox.
type awaitMail struct {
	To     string           `yaml:"to,required" doc:"extension or address of the mailbox"`
	Call   string           `yaml:"call" doc:"id of the call that it came from"`
	Where  map[string]Value `yaml:"where" doc:"conditions on fields of mail.delivered"`
	Header map[string]Value `yaml:"header" doc:"conditions on headers of the message"`
	Audio  string           `yaml:"audio" enum:"same" doc:"same: its recording holds, octet for octet, all that was said in the call"`
	Within time.Duration    `yaml:"within" default:"20s" doc:"time since the step began"`
}

func (m *awaitMail) callID() string { return m.Call }

func (m *awaitMail) check(l *loader) string {
	if m.Call != "" {
		l.callID(l.at("call"), m.Call)
	}
	if m.Audio != "" && m.Call == "" {
		l.f.Report(l.at("audio"), "audio: same, with call: ID", "mail: audio %q", m.Audio)
	}
	l.fields(l.at("where"), "mail.delivered", m.Where)
	if o := l.s.Organisation; o != nil && !slices.ContainsFunc(o.Mailboxes, func(b org.Mailbox) bool {
		return b.Extension == m.To || strings.EqualFold(b.Address, m.To)
	}) {
		var known []string
		for _, b := range o.Mailboxes {
			known = append(known, b.Extension, b.Address)
		}
		l.f.Report(l.at("to"), yamlfile.Suggest(m.To, known), "mail: no mailbox is %q", m.To)
	}
	l.values(m.Where)
	l.values(m.Header)
	m.To = l.s.mask(m.To) // as the trace has it
	text := "mail to " + m.To
	if m.Audio != "" {
		text += " with what was said"
	}
	return text
}

// matcher is the step as a matcher of mail.delivered.
func (m *awaitMail) matcher() *Matcher {
	return &Matcher{Event: "mail.delivered", Call: m.Call, Where: m.Where, Header: m.Header}
}

// to reports whether a delivery is to the step's mailbox.
func (m *awaitMail) to(e *trace.Event) bool {
	return e.Name == "mail.delivered" && (e.Text("extension") == m.To || strings.EqualFold(e.Text("mailbox"), m.To))
}

func (m *awaitMail) do(ctx context.Context, r *run, n int) error {
	matcher := m.matcher()
	e := r.await(ctx, m.Within, func(e *trace.Event) bool {
		if !m.to(e) {
			return false
		}
		ok, _, _ := matcher.matches(e, r.sessions())
		return ok
	})
	if e == nil {
		return errNotSeen
	}
	if m.Audio == "" || r.call(m.Call) == nil { // nobody knows what was said at an external device
		return nil
	}
	wav, err := voicemail.Recording(e.Text("path"))
	if err != nil {
		return err
	}
	octets, same, err := r.call(m.Call).Within(wav)
	same = same && err == nil
	r.src.Record(trace.Session{}, trace.Session{}, audioEvent{n, octets, same}, nil)
	if !same {
		return errNotSeen
	}
	return nil
}

func (m *awaitMail) judge(j *judge, v *Verdict, anchor int) {
	v.Result, v.Got = Failed, "no message came within "+m.Within.String()
	j.find(v, m.matcher(), anchor, m.Within, m.to)
	if v.Result == Passed && m.Audio != "" && !j.bySomebody(m.Call) {
		j.sameAudio(v)
	}
}

// bySomebody reports whether the device under test opened a call.
func (j *judge) bySomebody(call string) bool {
	_, actor := j.s.opening(call)
	return j.external[actor]
}

// sameAudio holds the recording against what was said.
func (j *judge) sameAudio(v *Verdict) {
	i, ok := j.audio[v.Step]
	if !ok {
		v.Result, v.Got = Failed, "the message has no recording to compare"
		return
	}
	if same, _ := j.events[i].Get("same"); same != true {
		v.Result = Failed
		v.Got = fmt.Sprintf("the recording does not hold the %d octets that were said", j.events[i].Int("octets"))
	}
}
