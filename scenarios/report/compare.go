package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Comparison is what differs between two sets of runs, such as those before and
// behind a change of a firewall.
type Comparison struct {
	Before string `json:"before"` // what they are called
	After  string `json:"after"`
	// Differences, the worst first.
	Differences []Difference `json:"differences"`
	// Compared says how much was held side by side.
	Compared Compared `json:"compared"`
}

// Compared counts what was held side by side.
type Compared struct {
	Runs     int `json:"runs"`
	Verdicts int `json:"verdicts"`
	Paths    int `json:"paths"`
	Timings  int `json:"timings"` // kinds of answers
	Streams  int `json:"streams"` // kinds of streams
}

// Difference is one.
type Difference struct {
	Of     Subject `json:"of"`
	Change Change  `json:"change"`
	What   string  `json:"what"` // a step, a path, a time and so on
	Before string  `json:"before,omitempty"`
	After  string  `json:"after,omitempty"`
	Why    string  `json:"why,omitempty"` // cause and next step of what is worse
}

// Subject is what a difference is of.
type Subject string

// The subjects.
const (
	OfRun     Subject = "run"
	OfVerdict Subject = "verdict"
	OfPath    Subject = "path"
	OfNetwork Subject = "network"
	OfTiming  Subject = "timing"
	OfMedia   Subject = "media"
)

// Change says which way something went.
type Change string

// The changes.
const (
	Worse  Change = "worse"
	Better Change = "better"
	Other  Change = "other"
	New    Change = "new"  // it was not there before
	Gone   Change = "gone" // it is not there any more
)

// Compare holds runs of equal names side by side; several of one name are
// samples of it.
func Compare(before, after []Run) *Comparison {
	c := &Comparison{Differences: []Difference{}}
	a, b := byTitle(before), byTitle(after)
	if x, y := only(a), only(b); x != y && x != "" && y != "" { // one run each: they are to be compared, whatever they are called
		c.add(OfRun, Other, "the name", x, y, "two runs of different names are compared, because there is one of each")
		b = map[string][]*Run{x: b[y]}
	}
	for _, title := range slices.Sorted(maps.Keys(union(a, b))) {
		switch {
		case len(a[title]) == 0:
			c.add(OfRun, New, title, "", results(b[title]), "")
		case len(b[title]) == 0:
			c.add(OfRun, Gone, title, results(a[title]), "", "")
		default:
			c.Compared.Runs++
			prefix := ""
			if len(a) > 1 || len(b) > 1 {
				prefix = title + ": "
			}
			c.runs(prefix, title, a[title], b[title])
		}
	}
	order := []Change{Worse, New, Gone, Other, Better}
	slices.SortStableFunc(c.Differences, func(x, y Difference) int {
		return cmp.Compare(slices.Index(order, x.Change), slices.Index(order, y.Change))
	})
	return c
}

// Worsened reports whether anything is worse than before.
func (c *Comparison) Worsened() bool {
	return slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Change == Worse })
}

func (c *Comparison) add(of Subject, change Change, what, before, after, why string) {
	c.Differences = append(c.Differences, Difference{of, change, what, before, after, why})
}

func byTitle(runs []Run) map[string][]*Run {
	m := map[string][]*Run{}
	for i := range runs {
		title := runs[i].title()
		m[title] = append(m[title], &runs[i])
	}
	return m
}

// only is the one title that there is, "" if there are more.
func only(m map[string][]*Run) string {
	for title := range m {
		if len(m) == 1 {
			return title
		}
	}
	return ""
}

func union[V, W any](a map[string]V, b map[string]W) map[string]bool {
	m := map[string]bool{}
	for k := range a {
		m[k] = true
	}
	for k := range b {
		m[k] = true
	}
	return m
}

// results tells those of runs: "passed", or "passed 2, failed 1".
func results(runs []*Run) string {
	var words []string
	for _, r := range runs {
		word, _ := r.result()
		words = append(words, word)
	}
	return counted(words)
}

// counted is a word, or each with its number where there are several.
func counted(words []string) string {
	n := map[string]int{}
	for _, w := range words {
		n[w]++
	}
	var list []string
	for _, w := range slices.Sorted(maps.Keys(n)) {
		if len(n) == 1 {
			return w
		}
		list = append(list, fmt.Sprintf("%s %d", w, n[w]))
	}
	return strings.Join(list, ", ")
}

func (c *Comparison) runs(prefix, title string, a, b []*Run) {
	if x, y := results(a), results(b); x != y {
		judged := slices.ContainsFunc(slices.Concat(a, b), func(r *Run) bool { return r.Judged })
		c.add(OfRun, direction(good(a, judged), good(b, judged)), title, x, y, "")
	}
	c.verdicts(prefix, a, b)
	c.paths(prefix, a, b)
	c.changes(prefix, a, b)
	c.timings(prefix, a, b)
	c.media(prefix, a, b)
}

// good is the part of runs that went as they should; where some are judged, one
// that was broken off before did not.
func good(runs []*Run, judged bool) float64 {
	n := 0
	for _, r := range runs {
		if r.Good && r.Broken == "" && (r.Judged || !judged) {
			n++
		}
	}
	return float64(n) / float64(len(runs))
}

func direction(before, after float64) Change {
	switch {
	case after > before:
		return Better
	case after < before:
		return Worse
	}
	return Other
}

// finding is something that a run says of a thing by a name.
type finding struct {
	said []string // of each run that has it
	at   int      // when it was found first
	rank float64  // how good, summed up
	why  string   // of the last that is not good
}

func (f *finding) note(said string, rank float64, why string) {
	f.said = append(f.said, said)
	f.rank += rank
	if why != "" {
		f.why = why
	}
}

func (f *finding) mean() float64 { return f.rank / float64(len(f.said)) }

// findings gather what runs say by name.
type findings map[string]*finding

func (m findings) note(name, said string, rank float64, why string) {
	if m[name] == nil {
		m[name] = &finding{at: len(m)}
	}
	m[name].note(said, rank, why)
}

// place is where a name was found, before or else after.
func place(a, b findings, name string) int {
	if f := a[name]; f != nil {
		return f.at
	}
	return b[name].at
}

// differ adds what two sets of findings say otherwise, and counts what both
// have.
func (c *Comparison) differ(of Subject, prefix string, a, b findings) (both int) {
	inOrder := func(p, q string) int { return cmp.Or(cmp.Compare(place(a, b, p), place(a, b, q)), cmp.Compare(p, q)) }
	for _, name := range slices.SortedFunc(maps.Keys(union(a, b)), inOrder) {
		x, y := a[name], b[name]
		switch {
		case x == nil:
			c.add(of, New, prefix+name, "", counted(y.said), y.why)
		case y == nil:
			c.add(of, Gone, prefix+name, counted(x.said), "", "")
		default:
			both++
			if p, q := counted(x.said), counted(y.said); p != q {
				change := direction(x.mean(), y.mean())
				why := ""
				if change != Better {
					why = y.why
				}
				c.add(of, change, prefix+name, p, q, why)
			}
		}
	}
	return both
}

func (c *Comparison) verdicts(prefix string, a, b []*Run) {
	read := func(runs []*Run) findings {
		m := findings{}
		for _, r := range runs {
			for i := range r.Events {
				e := &r.Events[i]
				if e.Name != "scenario.verdict" {
					continue
				}
				name := e.Text("text")
				if step := e.Int("step"); step > 0 {
					name = fmt.Sprintf("step %d, %s", step, name)
				}
				result := e.Text("result")
				said := result
				if id := e.Text("cause_id"); id != "" {
					said += " (" + id + ")"
				}
				m.note(name, said, map[string]float64{"passed": 2, "not run": 1}[result], joined(e.Text("got"), e.Text("cause"), e.Text("next")))
			}
		}
		return m
	}
	c.Compared.Verdicts += c.differ(OfVerdict, prefix, read(a), read(b))
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

func (c *Comparison) paths(prefix string, a, b []*Run) {
	read := func(runs []*Run) findings {
		m := findings{}
		for _, r := range runs {
			for i := range r.Events {
				e := &r.Events[i]
				if e.Name != "path.result" {
					continue
				}
				level := e.Text("level")
				said := e.Text("found")
				if level != "pass" {
					said += " (" + level + ")"
				}
				why := ""
				if level != "pass" {
					why = joined(e.Text("cause"), e.Text("next"))
				}
				m.note(e.Text("path"), said, map[string]float64{"pass": 3, "unproven": 2, "warn": 1}[level], why)
			}
		}
		return m
	}
	c.Compared.Paths += c.differ(OfPath, prefix, read(a), read(b))
}

// changes are what the network changed on the way.
func (c *Comparison) changes(prefix string, a, b []*Run) {
	read := func(runs []*Run) findings {
		m := findings{}
		for _, r := range runs {
			for i := range r.Events {
				if e := &r.Events[i]; e.Name == "path.changed" {
					got := cmp.Or(e.Text("got"), "(gone)")
					if constant(e.Text("what"), got) {
						got = "changed"
					}
					m.note(e.Text("path")+", "+e.Text("what")+", "+e.Text("way"), got+" ("+e.Text("rating")+")", 0, joined(e.Text("means"), e.Text("by")))
				}
			}
		}
		return m
	}
	c.differ(OfNetwork, prefix, read(a), read(b))
}

// constant reports whether what was changed holds something that is another one
// in every run, such as a branch or a port: that it was changed is what counts.
func constant(what, got string) bool {
	for _, word := range []string{"Via", "Call-ID", "tag", "Contact", "address", "port", "certificate"} {
		if strings.Contains(what, word) {
			return true
		}
	}
	return strings.Contains(got, "branch=")
}

// millisOf tells a time for people.
func millisOf(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
