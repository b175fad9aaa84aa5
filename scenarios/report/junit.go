package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Run is one run of a scenario as it is told in a summary.
type Run struct {
	Name    string
	Variant string // the values of its matrix, "" without one
	Planted string // fault that must be caught, "" without one
	Why     string // it was not caught
	Good    bool   // it passed, or the fault was caught
	Broken  string // why exsim itself failed, "" if it did not
	Events  []trace.Event
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
	Out       string      `xml:"system-out"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitMessage `xml:"skipped"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes runs as JUnit XML: a suite for a run, a case for a step, the
// whole report in system-out.
func JUnit(w io.Writer, runs []Run) error {
	var all junitSuites
	for _, r := range runs {
		s, err := r.suite()
		if err != nil {
			return err
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r *Run) suite() (junitSuite, error) {
	s := junitSuite{Name: r.Name, Time: seconds(length(r.Events))}
	if r.Broken != "" {
		s.Tests, s.Errors = 1, 1
		s.Cases = []junitCase{{Name: "exsim itself", Class: r.Name, Time: s.Time, Error: &junitMessage{Message: r.Broken, Type: "bench"}}}
		return s, nil
	}
	if r.Variant != "" {
		s.Name += " (" + r.Variant + ")"
	}
	var out bytes.Buffer
	if err := Verdicts(&out, r.Events); err != nil {
		return s, err
	}
	out.WriteByte('\n')
	if err := Write(&out, r.Events); err != nil {
		return s, err
	}
	s.Out = out.String()
	if r.Planted != "" {
		s.Name += " with the fault " + r.Planted
		c := junitCase{Name: "the fault " + r.Planted + " is caught", Class: r.Name, Time: s.Time}
		if !r.Good {
			c.Failure = &junitMessage{Message: r.Why, Type: "not caught"}
		}
		s.add(c)
		return s, nil
	}
	took := stepTimes(r.Events)
	for i := range r.Events {
		if e := &r.Events[i]; e.Name == "scenario.verdict" {
			s.add(verdictCase(e, r.Name, took[e.Int("step")]))
		}
	}
	return s, nil
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func verdictCase(e *trace.Event, class string, took time.Duration) junitCase {
	c := junitCase{Name: clean(e.Text("text")), Class: class, Time: seconds(took)}
	if n := e.Int("step"); n > 0 {
		c.Name = fmt.Sprintf("%d %s", n, c.Name)
	}
	switch got := clean(e.Text("got")); e.Text("result") {
	case "failed":
		var lines []string
		for _, key := range []string{"side", "cause", "next"} {
			if v := e.Text(key); v != "" {
				lines = append(lines, key+": "+clean(v))
			}
		}
		c.Failure = &junitMessage{Message: got, Type: "failed", Text: strings.Join(lines, "\n")}
	case "not run":
		c.Skipped = &junitMessage{Message: "a step before it failed", Type: "not run"}
	}
	return c
}

// stepTimes is how long each step took: until the next one began.
func stepTimes(events []trace.Event) map[int64]time.Duration {
	took := map[int64]time.Duration{}
	last, since := int64(0), time.Duration(0)
	for i := range events {
		e := &events[i]
		if e.Name == "scenario.step" || e.Name == "scenario.verdict" {
			if last != 0 {
				took[last] = e.At - since
			}
			last, since = e.Int("step"), e.At
			if e.Name == "scenario.verdict" {
				break
			}
		}
	}
	return took
}

func length(events []trace.Event) time.Duration {
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].At
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
