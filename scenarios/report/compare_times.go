package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Times are held to differ where they do by more than noise: three standard
// deviations of what either side spreads, estimated by the median of the
// deviations, and what the bench itself is late by; at least leastTime. Of fewer
// than enough samples the spread is not known: then by alone, and by half.
const (
	enough    = 5
	leastTime = time.Millisecond
	alone     = 50 * time.Millisecond
)

// samples are times by what took them.
type samples map[string][]time.Duration

// timings compares how long answers took.
func (c *Comparison) timings(prefix string, a, b []*Run) {
	before, after := samples{}, samples{}
	before.read(a)
	after.read(b)
	late := max(lateness(a), lateness(b))
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		x, y := before[name], after[name]
		if len(x) == 0 || len(y) == 0 {
			continue // what is not there any more the verdicts tell
		}
		c.Compared.Timings++
		mx, my := median(x), median(y)
		limit, known := noise(x, y, late)
		if (my - mx).Abs() <= limit {
			continue
		}
		why := fmt.Sprintf("medians of %d and %d; noise %s", len(x), len(y), millisOf(limit))
		if !known {
			why = fmt.Sprintf("medians of %d and %d samples, too few to know their noise: save several runs, each into a folder of its own below one, and compare those", len(x), len(y))
		}
		c.add(OfTiming, direction(float64(-mx), float64(-my)), prefix+name, millisOf(mx), millisOf(my), why)
	}
}

func noise(x, y []time.Duration, late time.Duration) (limit time.Duration, known bool) {
	if len(x) < enough || len(y) < enough {
		return max(alone, median(x)/2) + late, false
	}
	spread := max(deviation(x), deviation(y))
	return max(time.Duration(3*1.4826*float64(spread))+late, leastTime), true
}

func median(list []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

// deviation is the median of the deviations from the median.
func deviation(list []time.Duration) time.Duration {
	m := median(list)
	var away []time.Duration
	for _, d := range list {
		away = append(away, (d - m).Abs())
	}
	return median(away)
}

// lateness is by how much the bench was late itself.
func lateness(runs []*Run) (late time.Duration) {
	for _, r := range runs {
		for i := range r.Events {
			if e := &r.Events[i]; e.Name == "bench.exactness" {
				late = max(late, duration(e, "p99"))
			}
		}
	}
	return late
}

// read takes what runs tell of times.
func (s samples) read(runs []*Run) {
	for _, r := range runs {
		names := partiesOf(r.Events)
		asked := map[string]time.Duration{}
		for i := range r.Events {
			e := &r.Events[i]
			switch e.Name {
			case "sip.sent", "sip.received":
				id := fmt.Sprintf("%s %s %s %s %d", e.Host, e.Text("peer"), e.Text("call_id"), e.Text("method"), e.Int("cseq"))
				status := e.Int("status")
				switch {
				case status == 0 && e.Name == "sip.sent":
					if _, again := asked[id]; !again {
						asked[id] = e.At
					}
				case status >= 200 && e.Name == "sip.received":
					if at, ok := asked[id]; ok {
						delete(asked, id)
						s.add(fmt.Sprintf("%s of %s, %d by %s", e.Text("method"), e.Host, status, names.at(e.Text("peer"))), e.At-at)
					}
				}
			case "smtp.asked":
				asked[e.Session.String()] = e.At
			case "smtp.answered":
				if at, ok := asked[e.Session.String()]; ok && e.Text("verb") != "" {
					delete(asked, e.Session.String())
					s.add(fmt.Sprintf("SMTP %s of %s", e.Text("verb"), cmp.Or(e.Host, e.Listener)), e.At-at)
				}
			}
		}
	}
}

func (s samples) add(name string, d time.Duration) { s[name] = append(s[name], d) }

// media compares loss, gaps and jitter of each direction.
func (c *Comparison) media(prefix string, a, b []*Run) {
	before, after := streamsOf(a), streamsOf(b)
	late := max(lateness(a), lateness(b))
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		x, y := before[name], after[name]
		if x.n == 0 || y.n == 0 {
			continue
		}
		c.Compared.Streams++
		for _, f := range []struct {
			what          string
			before, after int64
		}{{"packets lost", x.lost, y.lost}, {"gaps", x.gaps, y.gaps}} {
			p, q := float64(f.before)/float64(x.n), float64(f.after)/float64(y.n)
			if p != q && (p == 0 || q == 0 || q > 2*p || p > 2*q) {
				c.add(OfMedia, direction(-p, -q), prefix+name+", "+f.what+" a stream", fmt.Sprintf("%.4g", p), fmt.Sprintf("%.4g", q), "")
			}
		}
		const audible = 10 * time.Millisecond
		if p, q := median(x.jitters), median(y.jitters); (q - p).Abs() > audible+late {
			c.add(OfMedia, direction(float64(-p), float64(-q)), prefix+name+", highest jitter of a stream", millisOf(p), millisOf(q), "medians")
		}
	}
}

// streams sum up those of one direction between two parties.
type streams struct {
	n, lost, gaps int64
	jitters       []time.Duration // the highest of each
}

func streamsOf(runs []*Run) map[string]streams {
	m := map[string]streams{}
	for _, r := range runs {
		names := partiesOf(r.Events)
		for i := range r.Events {
			e := &r.Events[i]
			if e.Name != "rtp.ended" || e.Text("direction") != "received" {
				continue
			}
			name := "RTP from " + names.at(e.Text("peer")) + " to " + e.Host
			s := m[name]
			s.n++
			s.lost += e.Int("lost")
			s.gaps += e.Int("gaps")
			s.jitters = append(s.jitters, duration(e, "max_jitter"))
			m[name] = s
		}
	}
	return m
}
