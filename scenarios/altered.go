package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// unaltered holds the two ends of a call against one another.
type unaltered struct {
	Call string `yaml:"call,required" doc:"id of the call, which a simulated gateway has placed"`
}

func (u *unaltered) callID() string { return u.Call }

func (u *unaltered) check(l *loader) string {
	l.callID(l.at("call"), u.Call)
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
	if how, at := j.altered(j.calls[u.Call]); how != "" {
		v.Result, v.Got, v.Event = Failed, how, at
	}
}

// calledActor is the actor that a call goes to, "" if it goes to the
// organisation.
func (s *Scenario) calledActor(id string) string {
	for i := range s.Steps {
		if c, ok := s.Steps[i].action.(*call); ok && c.ID == id {
			return c.To
		}
	}
	return ""
}

// altered says how a message of a call came otherwise than it had left, between
// a simulated gateway and the organisation, and at which event; "" if all came
// as they left. Via is not compared: each side adds to it.
func (j *judge) altered(session trace.Session) (how string, at int64) {
	left := map[string]*trace.Event{} // by what it is, the last one
	for i := range j.events {
		e := &j.events[i]
		if session.Kind == "" || e.Session != session || e.Name != "sip.sent" && e.Name != "sip.received" {
			continue
		}
		key := messageKey(e)
		if e.Name == "sip.sent" {
			left[key] = e
			continue
		}
		if s := left[key]; s != nil && (s.Listener == roleGateway) != (e.Listener == roleGateway) {
			if how := difference(s.Raw, e.Raw); how != "" {
				return how, int64(e.Seq)
			}
		}
	}
	return "", -1
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
		name := l[:strings.IndexAny(l+":", ":=")+1]
		k := slices.IndexFunc(is, func(o string) bool { return strings.HasPrefix(o, name) && !slices.Contains(was, o) })
		if k < 0 {
			return fmt.Sprintf("%q was taken away", l)
		}
		if i == 0 || name != "Content-Length:" {
			return fmt.Sprintf("%q became %q", l, is[k])
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) && !strings.HasPrefix(l, "Content-Length:") {
			return fmt.Sprintf("%q was added", l)
		}
	}
	return ""
}

func linesOf(message []byte) []string {
	return slices.DeleteFunc(strings.Split(string(message), "\r\n"), func(l string) bool {
		return l == "" || strings.HasPrefix(strings.ToLower(l), "via:")
	})
}
