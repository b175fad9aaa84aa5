package scenarios

import (
	"iter"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// Of a load in which nothing went wrong, so many calls and sessions of mail are
// told; the others were alike.
const toldOfEach = 3

// maxTroubled is how many of those are told in which something went wrong.
const maxTroubled = 20

// Essential are the events that a judge and a reader need: all, but of a load the
// calls and mail sessions in which nothing went wrong beyond the first few. A
// load of hours has no more of them than one of seconds, its seconds aside.
func Essential(all iter.Seq[trace.Event]) []trace.Event {
	var events []trace.Event
	under := &loading{kept: map[trace.Session]bool{}, first: map[string]int{}}
	wrong := troubled(all)
	for e := range all {
		if under.needed(&e, wrong) {
			events = append(events, e)
		}
	}
	return events
}

// troubled are the first sessions of a load in which something went wrong.
func troubled(all iter.Seq[trace.Event]) map[trace.Session]bool {
	wrong := map[trace.Session]bool{}
	under := loading{}
	for e := range all {
		if under.begins(&e); under.now == 0 || len(wrong) > maxTroubled {
			continue
		}
		if e.Name == "load.failed" {
			for name := range strings.FieldsSeq(e.Text("sessions")) {
				if s, err := trace.ParseSession(name); err == nil {
					wrong[s] = true
				}
			}
		}
		_, what, _ := strings.Cut(e.Name, ".")
		for _, word := range []string{"refused", "failed", "timeout", "malformed", "blocked", "one_way", "ignored"} {
			if e.Session.Kind != "" && strings.Contains(what, word) {
				wrong[e.Session] = true
			}
		}
		if e.Cause.Kind != "" && wrong[e.Cause] {
			wrong[e.Session] = true
		}
	}
	return wrong
}

// loading follows which loads are under way.
type loading struct {
	now   int                    // how many are
	kept  map[trace.Session]bool // sessions that began in it, and whether they are told
	first map[string]int         // how many are, by their kind
}

func (l *loading) begins(e *trace.Event) {
	switch e.Name {
	case "load.begun":
		l.now++
	case "load.ended":
		l.now--
	}
}

// needed reports whether an event is told.
func (l *loading) needed(e *trace.Event, wrong map[trace.Session]bool) bool {
	l.begins(e)
	kept, known := l.kept[e.Session]
	switch {
	case strings.HasPrefix(e.Name, "fault."):
		return true
	case e.Session.Kind == "":
		return l.now == 0 || !ofNone[e.Name]
	case known:
		return kept
	case l.now == 0:
		return true
	}
	kept = wrong[e.Session] || l.first[e.Session.Kind] < toldOfEach
	if kept && !wrong[e.Session] {
		l.first[e.Session.Kind]++
	}
	l.kept[e.Session] = kept
	return kept
}

// ofNone are events that each of many has, and that belong to no session.
var ofNone = map[string]bool{
	"sip.connected": true, "sip.disconnected": true, "tls.established": true, "sip.sent": true, "sip.received": true, "mailhost.taken": true, "dns.asked": true,
}
