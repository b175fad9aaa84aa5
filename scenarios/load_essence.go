package scenarios

import (
	"iter"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// Of a load are told: so many calls and sessions of mail in which nothing went
// wrong, so many in which something did, and so many events of each name that
// belong to none.
const (
	toldOfEach  = 3
	maxTroubled = 20
	maxOfNone   = 1000
)

// Essential are the events that a judge and a reader need: all, but of a load the
// calls and mail sessions in which nothing went wrong beyond the first few. A
// load of hours has no more of them than one of seconds, its seconds aside.
func Essential(all iter.Seq[trace.Event]) []trace.Event {
	var events []trace.Event
	under := &loading{kept: outstanding(all)}
	for e := range all {
		if under.needed(&e) {
			events = append(events, e)
		}
	}
	return events
}

// outstanding are the sessions that are told in any case: those that a step
// names, that began while there was no load, and the first of each load in which
// something went wrong.
func outstanding(all iter.Seq[trace.Event]) map[trace.Session]bool {
	keep := map[trace.Session]bool{}
	seen := map[trace.Session]bool{} // in the load
	under, troubled := loading{}, 0
	name := func(list string) {
		for word := range strings.FieldsSeq(list) {
			if s, err := trace.ParseSession(word); err == nil {
				keep[s] = true
			}
		}
	}
	for e := range all {
		if under.begins(&e) {
			troubled = 0
		}
		switch {
		case e.Name == "scenario.call":
			name(e.Text("names"))
		case e.Name == "load.failed" && troubled < maxTroubled:
			name(e.Text("sessions"))
			troubled++
		case e.Session.Kind == "":
		case under.now == 0 && !seen[e.Session]:
			keep[e.Session] = true
		case under.now > 0:
			seen[e.Session] = true
			if bad := trouble(e.Name) || keep[e.Cause] && e.Cause.Kind != ""; bad && !keep[e.Session] && troubled < maxTroubled {
				keep[e.Session] = true
				troubled++
			}
		}
	}
	return keep
}

// trouble reports whether an event says that something went wrong.
func trouble(name string) bool {
	_, what, _ := strings.Cut(name, ".")
	for _, word := range []string{"refused", "failed", "timeout", "malformed", "blocked", "one_way", "ignored"} {
		if strings.Contains(what, word) {
			return true
		}
	}
	return false
}

// loading follows which loads are under way.
type loading struct {
	now    int                    // how many are
	kept   map[trace.Session]bool // sessions, and whether they are told
	first  map[string]int         // how many of the load are, by their kind
	ofNone map[string]int         // events that belong to no session, by name
}

// begins follows loads, and reports whether the first of some begins.
func (l *loading) begins(e *trace.Event) bool {
	switch e.Name {
	case "load.begun":
		l.now++
		if l.now == 1 {
			l.first, l.ofNone = map[string]int{}, map[string]int{}
			return true
		}
	case "load.ended":
		l.now--
	}
	return false
}

// needed reports whether an event is told.
func (l *loading) needed(e *trace.Event) bool {
	l.begins(e)
	kept, known := l.kept[e.Session]
	own := strings.HasPrefix(e.Name, "load.") || strings.HasPrefix(e.Name, "scenario.") || strings.HasPrefix(e.Name, "fault.") || strings.HasPrefix(e.Name, "bench.")
	switch {
	case own:
		return true
	case e.Session.Kind == "":
		if l.now == 0 {
			return true
		}
		l.ofNone[e.Name]++
		return l.ofNone[e.Name] <= maxOfNone
	case known:
		return kept
	case l.now == 0:
		return true
	}
	kept = l.first[e.Session.Kind] < toldOfEach
	if kept {
		l.first[e.Session.Kind]++
	}
	l.kept[e.Session] = kept
	return kept
}
