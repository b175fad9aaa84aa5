package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// subjects are the parts of a comparison, in their order.
var subjects = []struct {
	of    Subject
	title string
}{
	{OfRun, "RUNS"}, {OfVerdict, "VERDICTS"}, {OfPath, "PATHS"}, {OfNetwork, "WHAT THE NETWORK CHANGED"}, {OfTiming, "TIMINGS"}, {OfMedia, "MEDIA"},
}

// Text prints it for a terminal.
func (c *Comparison) Text(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s, and then %s\n\n", clean(c.Before), clean(c.After))
	for _, s := range subjects {
		list := c.of(s.of)
		if len(list) == 0 {
			continue
		}
		fmt.Fprintln(b, s.title)
		for _, d := range list {
			fmt.Fprintf(b, "  %-7s %s: %s\n", d.Change, clean(d.What), clean(d.went()))
			if d.Why != "" {
				fmt.Fprintf(b, "          %s\n", clean(d.Why))
			}
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintln(b, c.sum())
	return b.Flush()
}

func (c *Comparison) of(s Subject) (list []Difference) {
	for _, d := range c.Differences {
		if d.Of == s {
			list = append(list, d)
		}
	}
	return list
}

// went tells what it was and is.
func (d *Difference) went() string {
	switch {
	case d.Before == "":
		return d.After
	case d.After == "":
		return d.Before + " before"
	}
	return d.Before + " → " + d.After
}

// sum says what was compared, so that what is not named is known to be the same.
func (c *Comparison) sum() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{c.Compared.Runs, "runs"}, {c.Compared.Verdicts, "verdicts"}, {c.Compared.Paths, "paths"}, {c.Compared.Timings, "timings"}, {c.Compared.Streams, "streams"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "nothing was in both"
	}
	difference := fmt.Sprintf("%d differences", len(c.Differences))
	switch len(c.Differences) {
	case 0:
		difference = "no difference"
	case 1:
		difference = "1 difference"
	}
	return difference + "; compared: " + strings.Join(parts, ", ")
}

// JSON prints it as one object.
func (c *Comparison) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

// comparisonPage is what the template prints.
type comparisonPage struct {
	Title, Before, After, Sum, Made string
	Parts                           []comparisonPart
}

type comparisonPart struct {
	Title string
	Rows  []comparisonRow
}

type comparisonRow struct{ Class, Change, What, Before, After, Why string }

// HTML prints it as one page, as HTML does runs.
func (c *Comparison) HTML(w io.Writer, program string) error {
	p := comparisonPage{Title: "exsim report: before and after", Before: visible(c.Before), After: visible(c.After), Sum: visible(c.sum()), Made: "Made by exsim " + visible(program) + "."}
	for _, s := range subjects {
		part := comparisonPart{Title: strings.ToUpper(s.title[:1]) + strings.ToLower(s.title[1:])}
		for _, d := range c.of(s.of) {
			class := map[Change]string{Worse: "failed", Better: "passed", New: "warn"}[d.Change]
			part.Rows = append(part.Rows, comparisonRow{class, string(d.Change), visible(d.What), visible(d.Before), visible(d.After), visible(d.Why)})
		}
		if len(part.Rows) > 0 {
			p.Parts = append(p.Parts, part)
		}
	}
	return printPage(w, p.Title, pageStyle, "comparison", p)
}
