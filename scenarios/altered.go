package scenarios

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// unaltered holds the two ends of a call against one another.
type unaltered struct {
	Call string `yaml:"call,required" doc:"id of the call, which a simulated gateway has placed to the organisation"`
}

func (u *unaltered) callID() string { return u.Call }

func (u *unaltered) check(l *loader) string {
	l.callID(l.at("call"), u.Call)
	if c := l.s.callStep(u.Call); c == nil || c.To != "" || c.Raw != nil {
		l.f.Report(l.at("call"), "a call without to: and raw:", "unaltered: of call %q only one end is ours, or it is not a plain one", u.Call)
	}
	return "nothing of " + u.Call + " was altered on the way"
}

// do has nothing to wait for: what was sent has come.
func (u *unaltered) do(context.Context, *run, int) error { return nil }

func (u *unaltered) judge(j *judge, v *Verdict, _ int) {
	v.Result = Passed
	if j.bySomebody(u.Call) {
		v.Got = "only one end is ours: there is nothing to compare with"
		return
	}
	how, at, compared := j.altered(j.calls[u.Call], j.step[v.Step])
	if compared == 0 {
		how = "no message of the call came"
	}
	if how != "" {
		v.Result, v.Got, v.Event = Failed, how, at
	}
}

// callStep is the step that places a call, nil if there is none.
func (s *Scenario) callStep(id string) *call {
	for i := range s.Steps {
		if c, ok := s.Steps[i].action.(*call); ok && c.ID == id {
			return c
		}
	}
	return nil
}

// calledActor is the actor that a call goes to, "" if it goes to the
// organisation.
func (s *Scenario) calledActor(id string) string {
	if c := s.callStep(id); c != nil {
		return c.To
	}
	return ""
}

// plain reports whether nothing but the network can make a call differ at its
// two ends.
func (s *Scenario) plain(id string) bool {
	c := s.callStep(id)
	return c != nil && c.To == "" && c.Raw == nil
}

// altered says how a message of a call came otherwise than it had left, between
// a simulated gateway and the organisation, among the first events, and at
// which; "" if all came as they left, once each. Via is not compared: each side
// adds to it.
func (j *judge) altered(session trace.Session, first int) (how string, at int64, compared int) {
	left := map[string][]*trace.Event{} // that have not come, by what they are
	for i := range j.events[:first] {
		e := &j.events[i]
		if session.Kind == "" || e.Session != session || e.Name != "sip.sent" && e.Name != "sip.received" {
			continue
		}
		key := messageKey(e)
		if e.Name == "sip.sent" {
			left[key] = append(left[key], e)
			continue
		}
		sent := left[key]
		if len(sent) == 0 {
			return firstLine(e.Raw) + " came, and had not left so", int64(e.Seq), compared
		}
		left[key] = sent[1:]
		compared++
		if how := difference(sent[0].Raw, e.Raw); how != "" {
			return how, int64(e.Seq), compared
		}
	}
	var lost *trace.Event
	for _, sent := range left {
		for _, e := range sent {
			if lost == nil || e.Seq < lost.Seq {
				lost = e
			}
		}
	}
	if lost != nil {
		return firstLine(lost.Raw) + didNotCome, int64(lost.Seq), compared
	}
	return "", -1, compared
}

const didNotCome = " left, and did not come"

func firstLine(message []byte) string {
	line, _, _ := strings.Cut(string(message), "\r\n")
	return strconv.Quote(line)
}

// messageKey tells a message of a call from the others of its direction.
func messageKey(e *trace.Event) string {
	cseq, _ := header(e.Raw, "CSeq")
	toGateway := (e.Name == "sip.sent") != (e.Listener == roleGateway)
	return fmt.Sprint(e.Int("status"), cseq, toGateway)
}

// difference tells the first line that one message has and the other has not.
func difference(left, came []byte) string {
	was, is := linesOf(left), linesOf(came)
	for i, l := range was {
		if slices.Contains(is, l) {
			continue
		}
		name := lineName(l)
		k := slices.IndexFunc(is, func(o string) bool { return lineName(o) == name && !slices.Contains(was, o) })
		if k < 0 {
			return fmt.Sprintf("%q was taken away", l)
		}
		if i == 0 || name != "Content-Length:" {
			return fmt.Sprintf("%q became %q", l, is[k])
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) && lineName(l) != "Content-Length:" {
			return fmt.Sprintf("%q was added", l)
		}
	}
	return ""
}

// lineName is what a line begins with: the name of a header, or the letter of
// SDP; of any other line its first word.
func lineName(l string) string {
	if k := strings.IndexAny(l, ":="); k >= 0 {
		return l[:k+1]
	}
	word, _, _ := strings.Cut(l, " ")
	return cmp.Or(word, l)
}

func linesOf(message []byte) []string {
	return slices.DeleteFunc(strings.Split(string(message), "\r\n"), func(l string) bool {
		return l == "" || strings.HasPrefix(strings.ToLower(l), "via:")
	})
}
