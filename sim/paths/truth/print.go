package truth

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/integrity"
)

// Failed says whether a flow was found otherwise than it must be.
func (t *Table) Failed() bool { return t.count(Fail) > 0 }

// Proven counts the flows of which something is known.
func (t *Table) Proven() int { return len(t.Results) - t.count(Unproven) }

func (t *Table) count(l Level) int {
	n := 0
	for _, r := range t.Results {
		if r.Level == l {
			n++
		}
	}
	return n
}

// word is a level as the table shows it: what needs a look is in capitals.
func (l Level) word() string {
	if l == Fail {
		return "FAIL"
	}
	return string(l)
}

// expected is what must be found, and how a filter is to open it.
func (r *Result) expected() string {
	if len(r.Flow.Calls) > 0 {
		return string(r.Flow.Expect) + " in calls"
	}
	return string(r.Flow.Expect)
}

// difference is what stands between expectation and finding, "" for nothing.
func (r *Result) difference() string {
	switch r.Level {
	case Pass:
		if r.Verdict == Real {
			return "one end only"
		}
		if len(r.Changes) > 0 {
			return "harmless changes"
		}
		return ""
	case Unproven:
		return "not proven"
	}
	return string(r.Flow.Expect) + " expected"
}

// found is the verdict as the table shows it: with the part of a range that was
// tried, and with what is open of what must be closed.
func (r *Result) found() string {
	text := string(r.Verdict)
	if r.Flow.IsSampled() && r.Tried > 0 && r.Tried < r.Flow.Ports.Len() {
		return fmt.Sprintf("%s (%d of %d ports)", text, r.Tried, r.Flow.Ports.Len())
	}
	if set := r.reached(); r.Flow.Expect == paths.Closed && set.Len() > 0 && set.Len() < r.Tried {
		return text + ": " + set.String()
	}
	return text
}

// portText is what a page prints of a flow's ports, where it numbers none.
func portText(f *paths.Flow) string {
	if f.Unproven != "" {
		return f.Transport + "/" + f.Rests[0].Port.Ports.String()
	}
	return f.Transport + "/" + f.Ports.String()
}

func (r *Result) port() string {
	text := portText(r.Flow)
	const most = 34
	if len(text) > most {
		text = text[:most-1] + "…"
	}
	return text
}

// protocol is what is spoken, with TLS where it comes first.
func (r *Result) protocol() string {
	if f := r.Flow; f.TLS == "mutual" || f.TLS == "implicit" {
		return strings.TrimSpace(f.Protocol + " (" + f.TLS + " TLS)")
	}
	return r.Flow.Protocol
}

// Text prints the truth table for people.
func (t *Table) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "plan %s, Exchange %s", t.Plan.Name, t.Plan.Exchange)
	if len(t.Hosts) > 0 {
		fmt.Fprintf(&b, ", records of %s", strings.Join(t.Hosts, " and "))
	}
	fmt.Fprintf(&b, "\nplan file %s", t.Plan.Digest())
	if !t.Started.IsZero() {
		fmt.Fprintf(&b, ", begun %s", t.Started.Format("2006-01-02 15:04:05 MST"))
	}
	if t.Contact != "" {
		fmt.Fprintf(&b, ", contact: %s", t.Contact)
	}
	b.WriteString("\n\n")
	lines, err := t.rows()
	if err != nil {
		return err
	}
	b.WriteString(lines[0])
	kind := paths.FlowKind("")
	for i := range t.Results {
		if k := t.Results[i].Flow.Kind; k != kind {
			kind = k
			b.WriteString(heading(k) + "\n")
		}
		b.WriteString(lines[i+1])
	}
	t.findings(&b)
	t.bench(&b)
	_, err = io.WriteString(w, b.String())
	return err
}

// rows lays out the head and a line for each result.
func (t *Table) rows() ([]string, error) {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tFROM\tTO\tPORT\tPROTOCOL\tEXPECTED\tFOUND\tDIFFERENCE")
	for i := range t.Results {
		r := &t.Results[i]
		to := r.Flow.To.Name
		if len(r.Flow.To.Addresses) > 1 {
			to += " " + r.Flow.Target.String()
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Level.word(), r.Flow.From.Name, to, r.port(), r.protocol(), r.expected(), r.found(), r.difference())
	}
	err := tw.Flush()
	var lines []string
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.TrimRight(line, " \n")+"\n")
	}
	return lines, err
}

func heading(k paths.FlowKind) string {
	switch k {
	case paths.Derived:
		return "derived (no page prints them; they follow)"
	case paths.Contradictory:
		return "contradictory (a page both gives and denies them)"
	case paths.Unrestricted:
		return "unrestricted (any port, unaltered: no filter is supported here)"
	case paths.OwnPath:
		return "of the plan's own"
	case paths.Undocumented:
		return "undocumented (must be closed)"
	}
	return string(k)
}

// findings tells all that needs a look.
func (t *Table) findings(b *strings.Builder) {
	for i := range t.Results {
		r := &t.Results[i]
		if !r.told() {
			continue
		}
		fmt.Fprintf(b, "\n%s  %s: %s\n", r.Level.word(), r.Flow.ID, r.Verdict)
		fmt.Fprintf(b, "      %s (side: %s)\n", r.Cause, r.Side)
		for _, c := range r.Changes {
			fmt.Fprintf(b, "      %s %s: %s\n", c.Rating, wayText(r.Flow, c.Way), changeText(c))
		}
		for _, e := range slices.Concat(r.How, r.Evidence) {
			fmt.Fprintf(b, "      seen: %s\n", e)
		}
		if len(r.Flow.Rests) > 0 {
			fmt.Fprintf(b, "      rests on: %s\n", r.Flow.Sources())
		}
		if r.Next != "" && r.Level != Pass {
			fmt.Fprintf(b, "      next: %s\n", r.Next)
		}
		if r.Rule != "" && r.Level != Pass {
			fmt.Fprintf(b, "      rule: %s\n", r.Rule)
		}
	}
	for _, w := range t.Warnings {
		fmt.Fprintf(b, "\nwarn  unsupported: %s\n      %s (%s)\n", w.Text, w.Rule.Rule.Statement, w.Rule.ID)
	}
}

// told says whether a flow needs a look: it did not pass, or was changed or
// translated all the same.
func (r *Result) told() bool { return r.Level != Pass || len(r.Changes) > 0 || r.Translated != "" }

func wayText(f *paths.Flow, way string) string {
	if way == "back" {
		return f.To.Name + " > " + f.From.Name
	}
	return f.From.Name + " > " + f.To.Name
}

func changeText(c integrity.Change) string {
	text := c.What
	switch {
	case c.Got == "":
		text += fmt.Sprintf(" is gone: %.120q", c.Sent)
	case c.Sent == "":
		text += fmt.Sprintf(" was added: %.120q", c.Got)
	default:
		text += fmt.Sprintf(": %.120q arrived as %.120q", c.Sent, c.Got)
	}
	if c.Means != "" {
		text += "; " + c.Means
	}
	if c.By != "" {
		text += " [" + c.By + "]"
	}
	return text
}

// bench tells what was asked of the network, and what the run does not prove.
func (t *Table) bench(b *strings.Builder) {
	fmt.Fprintf(b, "\n%d passed, %d failed, %d warnings, %d not proven", t.count(Pass), t.count(Fail), t.count(Warn), t.count(Unproven))
	if t.Untried > 0 {
		fmt.Fprintf(b, ", %d of the plan not tried here", t.Untried)
	}
	b.WriteByte('\n')
	for _, r := range t.Rates {
		limit := "no limit"
		if r.Limit > 0 {
			limit = fmt.Sprintf("at most %g a second", r.Limit)
		}
		fmt.Fprintf(b, "%s began %d flows (%s), %d open at once, in %.1f s", r.Host, r.Flows, limit, r.Open, r.Seconds)
		if r.Sampled {
			b.WriteString("; large ranges by a sample: --full tries every port")
		}
		b.WriteByte('\n')
	}
	for i := range t.Results {
		if r := &t.Results[i]; !r.told() {
			for _, how := range r.How {
				fmt.Fprintf(b, "%s: %s\n", r.Flow.ID, how)
			}
		}
	}
	for _, c := range t.Clocks {
		fmt.Fprintf(b, "the clock of %s is %s ahead of that of %s (within %s)\n", c.Peer, c.Offset.Round(time.Microsecond*10), c.Host, c.Within.Round(time.Microsecond*10))
	}
	if len(t.Interrupted) > 0 {
		fmt.Fprintf(b, "INCOMPLETE: the record of %s was cut short\n", strings.Join(t.Interrupted, ", "))
	}
	if len(t.Unported) > 0 {
		fmt.Fprintf(b, "without a port on their pages, and so not probed: %s\n", strings.Join(t.Unported, ", "))
	}
}
