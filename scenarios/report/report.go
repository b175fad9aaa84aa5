// Package report reads a trace and tells it to people: the ladder of messages,
// the media figures, the mail, and the verdicts. It knows events by name and
// fields only, so a saved trace reads as a run does.
package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/exsim/exsim/sim/trace"
)

// Write prints the whole report of a run as text.
func Write(w io.Writer, events []trace.Event) error {
	for _, part := range []func(io.Writer, []trace.Event) error{Load, Ladder, Media, Refusals, Mail, Bench} {
		if err := part(w, events); err != nil {
			return err
		}
	}
	return nil
}

// Media prints a row for each direction of each stream.
func Media(w io.Writer, events []trace.Event) error {
	t := table(w, "MEDIA", "call\tat\tdirection\tcodec\tpackets\tlost\treordered\tjitter\tgaps\tlongest gap\tDSCP")
	for i := range events {
		e := &events[i]
		if e.Name != "rtp.ended" {
			continue
		}
		t.row(e.Session.String(), e.Host, e.Text("direction"), e.Text("codec"), e.Text("packets"), e.Text("lost"),
			e.Text("reordered"), ms(e, "jitter"), e.Text("gaps"), ms(e, "longest_gap"), e.Text("dscp"))
	}
	if err := t.end(); err != nil {
		return err
	}
	return oneWay(w, events)
}

// oneWay names each direction in which nothing was heard, and from when on.
func oneWay(w io.Writer, events []trace.Event) error {
	for i := range events {
		if e := &events[i]; e.Name == "rtp.one_way" {
			if _, err := fmt.Fprintf(w, "ONE WAY  %s\n\n", clean(oneWayText(e))); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneWayText(e *trace.Event) string {
	from := "nothing ever came"
	if after := duration(e, "after"); after != 0 {
		from = fmt.Sprintf("nothing came from second %.1f on", after.Seconds())
	}
	return fmt.Sprintf("%s: %s to %s from %s, for the last %.1f s, while RTP went there", e.Session, from, e.Host, e.Text("peer"), duration(e, "length").Seconds())
}

func ms(e *trace.Event, key string) string { return millis(duration(e, key)) }

// Bench prints how exact exsim itself was: a figure of the device is worth no
// more than that.
func Bench(w io.Writer, events []trace.Event) error {
	t := table(w, "BENCH", "exsim's own RTP\tpackets due\tmore than 10 ms late\tp99\tworst\tnot sent\tcame, and not read in time")
	for i := range events {
		if e := &events[i]; e.Name == "bench.exactness" {
			t.row(e.Text("who"), e.Text("sends"), e.Text("late"), ms(e, "p99"), ms(e, "worst"), e.Text("unsent"), e.Text("unread"))
		}
	}
	return t.end()
}

// Refusals prints who was not let in, and the fix.
func Refusals(w io.Writer, events []trace.Event) error {
	for _, r := range refusals(events) {
		if _, err := fmt.Fprintf(w, "REFUSED  %s at %s of %s: %s\n         fix: %s\n\n", clean(r.Peer), clean(r.Listener), clean(r.Host), clean(r.Why), clean(r.Fix)); err != nil {
			return err
		}
	}
	return nil
}

// refusal is somebody who was not let in.
type refusal struct{ Peer, Listener, Host, Why, Fix string }

func refusals(events []trace.Event) (list []refusal) {
	for i := range events {
		e := &events[i]
		why := e.Text("why")
		switch e.Name {
		case "admit.refused":
			why = e.Text("check") + " admit " + e.Text("admitted")
		case "tls.refused":
			why = e.Text("check") + ": " + why + "; expected " + e.Text("expected")
		case "tls.failed":
		case "um.refused":
			why += " (answered " + e.Text("status") + ", " + e.Text("standing") + ")"
		default:
			continue
		}
		list = append(list, refusal{e.Text("peer"), e.Listener, e.Host, why, e.Text("fix")})
	}
	return list
}

// Mail prints each delivered message and where it lies.
func Mail(w io.Writer, events []trace.Event) error {
	for i := range events {
		e := &events[i]
		if e.Name != "mail.delivered" {
			continue
		}
		cause := ""
		if e.Cause.Kind != "" {
			cause = ", from " + e.Cause.String()
		}
		_, err := fmt.Fprintf(w, "MAIL     %s to %s (%s%s)\n", e.Session, clean(e.Text("mailbox")), octets(e.Int("octets")), cause)
		for _, line := range [...][2]string{
			{"subject:", clean(e.Text("subject"))}, {"class:", clean(e.Text("content_class"))}, {"attached:", clean(e.Text("attachments"))}, {"lies at:", e.Text("path")},
		} {
			if line[1] != "" && err == nil {
				_, err = fmt.Fprintf(w, "         %-9s %s\n", line[0], line[1])
			}
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func octets(n int64) string { return fmt.Sprintf("%d octets", n) }

// Clean keeps what came from elsewhere from steering a terminal.
func Clean(s string) string { return clean(s) }

// clean keeps what came from the wire from steering a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '.'
		}
		return r
	}, s)
}

// tableWriter prints a titled table, and nothing without rows.
type tableWriter struct {
	out   io.Writer
	w     *tabwriter.Writer
	title string
	head  string
	rows  int
}

func table(w io.Writer, title, head string) *tableWriter {
	return &tableWriter{out: w, w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), title: title, head: head}
}

func (t *tableWriter) row(cells ...string) {
	if t.rows == 0 {
		fmt.Fprintln(t.out, t.title)
		fmt.Fprintln(t.w, "  "+t.head)
	}
	t.rows++
	for i, c := range cells {
		cells[i] = clean(c)
	}
	fmt.Fprintln(t.w, "  "+strings.Join(cells, "\t"))
}

func (t *tableWriter) end() error {
	if t.rows == 0 {
		return nil
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(t.out)
	return err
}
