package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// loadOf is what a trace says of one load.
type loadOf struct {
	step    int64
	begun   *trace.Event
	ended   *trace.Event
	seconds []*trace.Event
	parts   []*trace.Event
	failed  []*trace.Event
}

// loadsOf are the loads of a run.
func loadsOf(events []trace.Event) (list []*loadOf) {
	for i := range events {
		e := &events[i]
		if !strings.HasPrefix(e.Name, "load.") {
			continue
		}
		if e.Name == "load.begun" {
			list = append(list, &loadOf{step: e.Int("step"), begun: e})
			continue
		}
		n := slices.IndexFunc(list, func(l *loadOf) bool { return l.step == e.Int("step") })
		if n < 0 {
			continue
		}
		l := list[n]
		switch e.Name {
		case "load.second":
			l.seconds = append(l.seconds, e)
		case "load.step":
			l.parts = append(l.parts, e)
		case "load.failed":
			l.failed = append(l.failed, e)
		case "load.ended":
			l.ended = e
		}
	}
	slices.SortStableFunc(list, func(a, b *loadOf) int { return cmp.Compare(a.step, b.step) })
	return list
}

// Load prints how loads went, and whether exsim itself kept up.
func Load(w io.Writer, events []trace.Event) error {
	for _, l := range loadsOf(events) {
		for _, line := range l.summary() {
			if _, err := fmt.Fprintln(w, "LOAD     "+clean(line)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		t := table(w, "TIMES", "step\tdone\tfailed\tp50\tp90\tp95\tp99\tlongest")
		for _, e := range l.parts {
			t.row(e.Text("text"), e.Text("count"), e.Text("failed"), took(e, "p50"), took(e, "p90"), took(e, "p95"), took(e, "p99"), took(e, "max"))
		}
		if err := t.end(); err != nil {
			return err
		}
	}
	return nil
}

func took(e *trace.Event, key string) string { return millisOf(duration(e, key)) }

// summary says in lines how it went.
func (l *loadOf) summary() []string {
	e := l.ended
	if e == nil {
		return []string{fmt.Sprintf("step %d: it was broken off", l.step)}
	}
	all, took := e.Int("iterations"), duration(e, "took")
	list := []string{fmt.Sprintf("step %d: %d of %d begun in %.1f s, %d failed, at most %d at once, %s a second at most", l.step, all, l.begun.Int("planned"), took.Seconds(),
		e.Int("failed"), e.Int("peak"), l.highest())}
	if n := e.Int("held"); n > 0 {
		list = append(list, fmt.Sprintf("%d were due and found no room: %d at once were allowed", n, l.begun.Int("concurrency")))
	}
	if n := e.Int("mail_taken"); n > 0 && l.mails() {
		list = append(list, fmt.Sprintf("mail of the whole organisation until then: %d acknowledged, %d in mailboxes, %d lost", n, e.Int("mail_stored"), e.Int("mail_lost")))
	}
	return append(list, l.trust())
}

// mails reports whether one of its steps can make mail.
func (l *loadOf) mails() bool {
	return slices.ContainsFunc(l.parts, func(e *trace.Event) bool {
		return slices.Contains([]string{"call", "send", "session", "mail"}, e.Text("verb"))
	})
}

func (l *loadOf) highest() string {
	most := 0.0
	for _, s := range l.seconds {
		if v, ok := s.Get("rate"); ok {
			rate, _ := v.(float64)
			most = max(most, rate)
		}
	}
	return fmt.Sprintf("%.1f", most)
}

// trust says until which rate exsim is a judge.
func (l *loadOf) trust() string {
	v, _ := l.ended.Get("trusted")
	rate, _ := v.(float64)
	own := fmt.Sprintf("it began %s late at most, and one in a hundred of its own waits for a processor exceeded %s", millisOf(duration(l.ended, "late")), millisOf(duration(l.ended, "scheduling")))
	if bad, _ := l.ended.Get("bottleneck"); bad != true {
		return fmt.Sprintf("exsim kept up: trustworthy on this machine until %.1f a second, the most that was tried (%s)", rate, own)
	}
	return fmt.Sprintf("EXSIM ITSELF DID NOT KEEP UP: trustworthy on this machine until %.1f a second. %s (%s)", rate, l.ended.Text("why"), own)
}

// bad reports whether exsim itself did not keep up.
func (l *loadOf) bad() bool {
	if l.ended == nil {
		return true
	}
	bad, _ := l.ended.Get("bottleneck")
	return bad == true
}

// pageLoad is a load on a page.
type pageLoad struct {
	Summary []pageLine
	Parts   []pagePart
	Chart   *chart
	Failed  []pair
}

type pageLine struct{ Text, Class string }

type pagePart struct{ Text, Count, Failed, P50, P90, P95, P99, Max, Class string }

// chart is a load over its seconds, as a picture of Bins by 60: what began as
// bars, what was under way as a line, seconds with failures and seconds in which
// exsim was late marked.
type chart struct {
	Bins                         int
	Begun, Running, Failed, Late string
	MostBegun, MostRunning, End  string
}

// maxShown is how many failures a page lists.
const maxShown = 50

func loadsOn(events []trace.Event) (list []pageLoad) {
	for _, l := range loadsOf(events) {
		var p pageLoad
		for _, line := range l.summary() {
			p.Summary = append(p.Summary, pageLine{Text: visible(line)})
		}
		if l.bad() {
			p.Summary[len(p.Summary)-1].Class = "failed"
		}
		for _, e := range l.parts {
			class := ""
			if e.Int("failed") > 0 {
				class = "failed"
			}
			p.Parts = append(p.Parts, pagePart{visible(e.Text("text")), e.Text("count"), e.Text("failed"), took(e, "p50"), took(e, "p90"), took(e, "p95"), took(e, "p99"), took(e, "max"), class})
		}
		for i, e := range l.failed {
			if i == maxShown {
				break
			}
			p.Failed = append(p.Failed, pair{visible(fmt.Sprintf("%d %s", e.Int("iteration"), e.Text("sessions"))), visible(e.Text("text") + ": " + e.Text("why"))})
		}
		p.Chart = newChart(l)
		list = append(list, p)
	}
	return list
}

// lateTime is what a second's begins may be late by and not be marked.
const lateTime = 50 * time.Millisecond

// newChart draws at most so many seconds; of a longer load every other one, and
// so on.
func newChart(l *loadOf) *chart {
	const most = 600
	every := len(l.seconds)/most + 1
	var begun, running, failed, late []int64
	for i, e := range l.seconds {
		slow := map[bool]int64{true: 1}[duration(e, "late") > lateTime || e.Int("unread")+e.Int("unsent") > 0]
		if i%every == 0 {
			begun, running, failed, late = append(begun, 0), append(running, 0), append(failed, 0), append(late, 0)
		}
		at := len(begun) - 1
		begun[at] = max(begun[at], e.Int("begun"))
		running[at] = max(running[at], e.Int("running"))
		failed[at] += e.Int("failed")
		late[at] += slow
	}
	n := len(begun)
	if n == 0 {
		return nil
	}
	c := &chart{Bins: n, End: fmt.Sprintf("%.0f s", duration(l.seconds[len(l.seconds)-1], "until").Seconds())}
	mostBegun, mostRunning := highest(begun), highest(running)
	c.MostBegun, c.MostRunning = fmt.Sprint(mostBegun), fmt.Sprint(mostRunning)
	var bars, line, bad, slow strings.Builder
	for i := range n {
		fmt.Fprintf(&bars, "M%d 60v-%dh.9v%dz", i, 50*begun[i]/mostBegun, 50*begun[i]/mostBegun)
		fmt.Fprintf(&line, "%s%d.5 %d", map[bool]string{true: "M", false: "L"}[i == 0], i, 58-50*running[i]/mostRunning)
		if failed[i] > 0 {
			fmt.Fprintf(&bad, "M%d 0v8h.9V0z", i)
		}
		if late[i] > 0 {
			fmt.Fprintf(&slow, "M%d 0v60h1V0z", i)
		}
	}
	c.Begun, c.Running, c.Failed, c.Late = bars.String(), line.String(), bad.String(), slow.String()
	return c
}

func highest(list []int64) int64 {
	most := int64(1)
	for _, v := range list {
		most = max(most, v)
	}
	return most
}
