package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// pageMedia are the streams on a page.
type pageMedia struct {
	OneWay  []string
	Streams []pageStream
	Left    string // what is left out
}

// pageStream is one direction of a stream.
type pageStream struct {
	Session, Where, Direction, Peer string
	Plot                            *plot
	Figures                         []figure

	bad int64 // how bad it is, for what is shown of many
}

type figure struct{ Text, Class string }

// plot is a course as paths of a picture of Bins by 56: level from below, loss
// from above, jitter as a line.
type plot struct {
	Bins                int
	Level, Lost, Jitter string
	Begin, End          string
	Highest             string // jitter; "" where there is none
}

// maxStreams is how many plots a page has.
const maxStreams = 60

func newPageMedia(events []trace.Event) *pageMedia {
	p := &pageMedia{}
	names := partiesOf(events)
	type key struct {
		session         trace.Session
		host, direction string
	}
	courses := map[key]*trace.Event{}
	for i := range events {
		e := &events[i]
		k := key{e.Session, e.Host, e.Text("direction")}
		switch e.Name {
		case "rtp.course":
			courses[k] = e
		case "rtp.ended":
			p.Streams = append(p.Streams, newStream(e, courses[k], names))
			delete(courses, k)
		case "rtp.one_way":
			p.OneWay = append(p.OneWay, visible(oneWayText(e)))
		}
	}
	if len(p.Streams) == 0 {
		return nil
	}
	if n := len(p.Streams); n > maxStreams {
		p.Left = fmt.Sprintf("The %d with the most loss, gaps and jitter of %d.", maxStreams, n)
		slices.SortStableFunc(p.Streams, func(a, b pageStream) int { return cmp.Compare(b.bad, a.bad) })
		p.Streams = p.Streams[:maxStreams]
	}
	return p
}

func newStream(e, course *trace.Event, names parties) pageStream {
	s := pageStream{Session: visible(e.Session.String()), Where: visible(e.Host), Direction: visible(e.Text("direction"))}
	if peer := names.at(e.Text("peer")); peer != "" {
		s.Peer = map[string]string{"received": "from ", "sent": "to "}[e.Text("direction")] + visible(peer)
	}
	add := func(bad bool, format string, args ...any) {
		f := figure{Text: visible(fmt.Sprintf(format, args...))}
		if bad {
			f.Class = "failed"
		}
		s.Figures = append(s.Figures, f)
	}
	add(e.Int("packets") == 0, "%d packets of %s", e.Int("packets"), e.Text("codec"))
	if s.Direction == "received" {
		lost, gaps, jitter := e.Int("lost"), e.Int("gaps"), duration(e, "max_jitter")
		add(lost > 0, "%d lost", lost)
		add(false, "%d reordered, %d twice", e.Int("reordered"), e.Int("duplicates"))
		add(false, "jitter at most %s", millis(jitter))
		add(gaps > 0, "%d gaps", gaps)
		if gaps > 0 {
			add(false, "longest %s", millis(duration(e, "longest_gap")))
		}
		s.bad = 1000*(lost+gaps) + jitter.Milliseconds()
	}
	if d := e.Int("dscp"); d != 0 {
		add(false, "DSCP %d", d)
	}
	if course != nil {
		s.Plot = newPlot(course)
	}
	return s
}

// jitterScale is the jitter that the height of a plot stands for at least.
const jitterScale = 20 * time.Millisecond

func newPlot(e *trace.Event) *plot {
	packets, level, lost, jitter := numbers(e, "packets"), numbers(e, "level"), numbers(e, "lost"), numbers(e, "jitter")
	n := len(packets)
	if n == 0 || len(level) != n {
		return nil
	}
	begin, width := duration(e, "begin"), duration(e, "width")
	p := &plot{Bins: n, Begin: fmt.Sprintf("%.1f s", begin.Seconds()), End: fmt.Sprintf("%.1f s", (begin + time.Duration(n)*width).Seconds())}
	var bars, holes, line strings.Builder
	highest := int64(0)
	for _, j := range jitter {
		highest = max(highest, j)
	}
	scale := max(highest, jitterScale.Microseconds())
	for i := range n {
		if h := max(level[i]+60, 0) * 44 / 60; h > 0 {
			fmt.Fprintf(&bars, "M%d 56v-%dh.9v%dz", i, h, h)
		}
		if packets[i] == 0 {
			fmt.Fprintf(&holes, "M%d 0v56h1v-56z", i)
		} else if i < len(lost) && lost[i] > 0 {
			fmt.Fprintf(&holes, "M%d 0v%dh1V0z", i, min(6+lost[i]*4, 40))
		}
		if i < len(jitter) {
			fmt.Fprintf(&line, "%s%d.5 %d", map[bool]string{true: "M", false: "L"}[i == 0], i, 54-50*jitter[i]/scale)
		}
	}
	p.Level, p.Lost, p.Jitter = bars.String(), holes.String(), line.String()
	if len(jitter) == n {
		p.Highest = millis(time.Duration(highest) * time.Microsecond)
	}
	return p
}

// numbers are the values of a list in a field; none where it holds anything else.
func numbers(e *trace.Event, key string) []int64 {
	var list []int64
	for _, word := range strings.Fields(e.Text(key)) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n > 1<<40 || n < -1<<40 || len(list) == 10_000 {
			return nil
		}
		list = append(list, n)
	}
	return list
}

func duration(e *trace.Event, key string) time.Duration {
	v, _ := e.Get(key)
	d, _ := v.(time.Duration)
	return d
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
