package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// pageLadder is the ladder on a page.
type pageLadder struct {
	Lanes []string
	Calls []string // names of calls in the scenario
	Rows  []pageRow
	Left  string // what is left out
}

// pageRow is a line of it; places are parts of its width.
type pageRow struct {
	ID, Class, Kind string
	Grid            string
	At, Pause       string
	Session         string
	From, To, Text  string
	X1, X2, XT      string
	Note            bool
	Message         string
	Marks           []mark
}

const (
	// maxRows is how many messages a page can have and stay quick in a browser.
	maxRows = 20_000
	// maxMessage is how much of a message it shows.
	maxMessage = 32 << 10
	// pauseTime is a time without a message that is pointed out.
	pauseTime = 500 * time.Millisecond
)

func newPageLadder(run string, events []trace.Event, marks map[int64][]mark) *pageLadder {
	l := newLadder(events)
	if len(l.rows) == 0 {
		return nil
	}
	l.show(events, marks)
	p := &pageLadder{}
	for _, name := range l.lanes {
		p.Lanes = append(p.Lanes, short(name))
	}
	for _, id := range l.ids {
		p.Calls = append(p.Calls, visible(id)+".")
	}
	rows := l.rows
	if len(rows) > maxRows {
		p.Left = fmt.Sprintf("%d messages follow that are not drawn: exsim report --session shows single calls of this trace.", len(rows)-maxRows)
		rows = rows[:maxRows]
	}
	last := time.Duration(0)
	for i := range rows {
		r := p.row(run, &rows[i], marks)
		if pause := rows[i].at - last; pause >= pauseTime && i > 0 {
			r.Pause, r.Class = fmt.Sprintf("%.1f s later", pause.Seconds()), r.Class+" pause"
		}
		last = rows[i].at
		p.Rows = append(p.Rows, r)
	}
	return p
}

func (p *pageLadder) row(run string, r *row, marks map[int64][]mark) pageRow {
	n := float64(len(p.Lanes))
	at := func(lane int) string { return percent((float64(lane) + .5) / n) }
	out := pageRow{
		ID: messageID(run, int64(r.event.Seq)), Class: r.kind, Kind: r.kind, Grid: gridClass(len(p.Lanes)), //nolint:gosec // of events in memory
		At: fmt.Sprintf("%.3f", r.at.Seconds()), Session: visible(r.session.String()), From: p.Lanes[r.from], To: p.Lanes[r.to], Text: short(r.text),
		X1: at(r.from), X2: at(r.to), Note: r.from == r.to, Message: message(r.event), Marks: marks[int64(r.event.Seq)], //nolint:gosec // likewise
	}
	out.XT = percent((float64(r.from) + 1) / n) // halfway to the next lane
	if r.to < r.from {
		out.XT = percent(float64(r.from) / n)
	}
	if r.event.Name == "fault.struck" {
		out.Class += " fault"
	}
	for _, m := range out.Marks {
		if m.Class == "failed" {
			out.Class += " culprit"
			break
		}
	}
	return out
}

// show gives a row to events that decided a verdict and are drawn nowhere else.
func (l *ladder) show(events []trace.Event, marks map[int64][]mark) {
	drawn := map[uint64]bool{}
	for i := range l.rows {
		drawn[l.rows[i].event.Seq] = true
	}
	var more []row
	for i := range events {
		e := &events[i]
		if marks[int64(e.Seq)] == nil || drawn[e.Seq] { //nolint:gosec // of events in memory
			continue
		}
		lane := l.lane(l.place(e))
		more = append(more, row{at: e.At, from: lane, to: lane, text: told(e), session: e.Session, kind: "note", event: e})
	}
	l.rows = merge(l.rows, more)
}

// told is an event that has no words of its own in the ladder.
func told(e *trace.Event) string {
	if e.Name != "scenario.acted" {
		return e.Name
	}
	how := "done"
	if ok, _ := e.Get("ok"); ok != true {
		how = "could not be done"
	}
	return fmt.Sprintf("step %d %s", e.Int("step"), how)
}

// place is the lane of whatever happens somewhere.
func (l *ladder) place(e *trace.Event) string {
	switch {
	case e.Host == "":
		return "scenario"
	case l.parties.actor(e.Host) || e.Listener == "":
		return e.Host
	}
	return l.here(e.Host, e.Listener)
}

// merge puts rows in the order of their events.
func merge(a, b []row) []row {
	if len(b) == 0 {
		return a
	}
	list := make([]row, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		from := &a
		if b[0].event.Seq < a[0].event.Seq {
			from = &b
		}
		list = append(list, (*from)[0])
		*from = (*from)[1:]
	}
	return append(append(list, a...), b...)
}

// message is all that is known of an event, and its octets as they were.
func message(e *trace.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s", visible(e.Name), visible(strings.TrimSpace(e.Host+" "+e.Listener)))
	if e.Cause.Kind != "" {
		fmt.Fprintf(&b, "  caused by %s", e.Cause)
	}
	fmt.Fprintf(&b, "  (event %d)\n", e.Seq)
	for _, f := range e.Fields {
		if text := trace.FormatValue(f.Value); text != "" && e.Name != "rtp.course" {
			fmt.Fprintf(&b, "%s: %s\n", visible(f.Key), visible(text))
		}
	}
	if len(e.Raw) > 0 {
		raw, rest := e.Raw, ""
		if len(raw) > maxMessage {
			raw, rest = raw[:maxMessage], fmt.Sprintf("\n(%d octets more)", len(raw)-maxMessage)
		}
		b.WriteString("\n" + visibleLines(string(raw)) + rest)
	}
	return b.String()
}
