package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/junit"
	"github.com/exsim/exsim/sim/trace"
)

// JUnit writes runs as JUnit XML: a suite for a run, a case for a step, the
// whole report in system-out.
func JUnit(w io.Writer, runs []Run) error {
	var suites []junit.Suite
	for _, r := range runs {
		s, err := r.suite()
		if err != nil {
			return err
		}
		suites = append(suites, s)
	}
	return junit.Write(w, suites)
}

func (r *Run) suite() (junit.Suite, error) {
	s := junit.Suite{Name: r.Name, Time: seconds(length(r.Events))}
	if r.Broken != "" {
		s.Tests, s.Errors = 1, 1
		s.Cases = []junit.Case{{Name: "exsim itself", Class: r.Name, Time: s.Time, Error: &junit.Message{Message: r.Broken, Type: "bench"}}}
		return s, nil
	}
	if !r.Judged && r.Incomplete() {
		s.Tests, s.Errors = 1, 1
		s.Cases = []junit.Case{{Name: "the trace", Class: r.Name, Time: s.Time, Error: &junit.Message{Message: NoEnd, Type: "incomplete"}}}
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
		c := junit.Case{Name: "the fault " + r.Planted + " is caught", Class: r.Name, Time: s.Time}
		if !r.Good {
			c.Failure = &junit.Message{Message: r.Why, Type: "not caught"}
		}
		s.Add(c)
		return s, nil
	}
	took := stepTimes(r.Events)
	for i := range r.Events {
		if e := &r.Events[i]; e.Name == "scenario.verdict" {
			s.Add(verdictCase(e, r.Name, took[e.Int("step")]))
		}
	}
	return s, nil
}

func verdictCase(e *trace.Event, class string, took time.Duration) junit.Case {
	c := junit.Case{Name: clean(e.Text("text")), Class: class, Time: seconds(took)}
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
		c.Failure = &junit.Message{Message: got, Type: "failed", Text: strings.Join(lines, "\n")}
	case "not run":
		c.Skipped = &junit.Message{Message: "a step before it failed", Type: "not run"}
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
