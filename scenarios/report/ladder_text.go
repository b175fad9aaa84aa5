package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// Ladder prints SIP, RTP and SMTP on one timeline: a lane for each party, an
// arrow for each message, as the organisation's listeners saw them.
func Ladder(w io.Writer, events []trace.Event) error {
	l := newLadder(events)
	if len(l.rows) == 0 {
		return nil
	}
	b := bufio.NewWriter(w)
	l.print(b)
	return b.Flush()
}

// laneWidth is that of a lane, in characters.
const laneWidth = 22

func (l *ladder) print(w io.Writer) {
	fmt.Fprintf(w, "LADDER   (%s)\n", clean(strings.Join(append([]string{"seconds since the beginning"}, l.ids...), "; ")))
	line := strings.Repeat(" ", 20)
	for _, name := range l.lanes {
		line += center(name, laneWidth)
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	for _, r := range l.rows {
		fmt.Fprintf(w, "%9.3f  %-7s  %s\n", r.at.Seconds(), r.session, strings.TrimRight(l.draw(r), " "))
	}
	fmt.Fprintln(w)
}

func center(s string, width int) string {
	r := []rune(clean(s))
	r = r[:min(len(r), width)]
	left := (width - len(r)) / 2
	return strings.Repeat(" ", left) + string(r) + strings.Repeat(" ", width-left-len(r))
}

// draw prints the lanes as bars and the arrow or note of a row over them.
func (l *ladder) draw(r row) string {
	cells := []rune(strings.Repeat(" ", laneWidth*len(l.lanes)+laneWidth/2)) // room for a note on the last lane
	bar := func(lane int) int { return lane*laneWidth + laneWidth/2 }
	for i := range l.lanes {
		cells[bar(i)] = '|'
	}
	text := []rune(clean(r.text))
	if r.from == r.to {
		put(cells, bar(r.from)-len(text)/2-1, []rune("["+string(text)+"]"))
		return string(cells)
	}
	a, b := bar(min(r.from, r.to))+1, bar(max(r.from, r.to))-1
	for i := a; i <= b; i++ {
		cells[i] = '-'
	}
	if r.to > r.from {
		cells[b] = '>'
	} else {
		cells[a] = '<'
	}
	// The text stands in the stretch next to where the arrow begins.
	room := laneWidth - 4
	if len(text) > room {
		text = text[:room]
	}
	at := a + 2
	if r.to < r.from {
		at = b - 1 - len(text)
	}
	put(cells, at, append(append([]rune(" "), text...), ' ')[:min(len(text)+2, len(cells)-at)])
	return string(cells)
}

func put(cells []rune, at int, text []rune) {
	at = max(min(at, len(cells)-len(text)), 0)
	copy(cells[at:], text)
}
