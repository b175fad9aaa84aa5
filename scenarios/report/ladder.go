package report

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Ladder prints SIP, RTP and SMTP on one timeline: a lane for each party, an
// arrow for each message, as the organisation's listeners saw them.
func Ladder(w io.Writer, events []trace.Event) error {
	l := ladder{width: 22, beside: beside(events), many: many(events)}
	for i := range events {
		l.take(&events[i])
	}
	if len(l.rows) == 0 {
		return nil
	}
	b := bufio.NewWriter(w)
	l.print(b)
	return b.Flush()
}

// row is one line of the ladder.
type row struct {
	at       time.Duration
	from, to int // lanes; equal for a note on one lane
	text     string
	session  trace.Session
}

type ladder struct {
	lanes []string // in order of appearance
	rows  []row
	width int
	peers map[string]string // address of a peer to the lane that it is

	ids    string                   // of calls in the scenario
	many   map[string]bool          // listeners that more than one server has
	beside map[trace.Session]string // calls that the organisation has no part in, and the host that tells of them
}

// many finds the listeners that more than one server shows.
func many(events []trace.Event) map[string]bool {
	first, list := map[string]string{}, map[string]bool{}
	for i := range events {
		e := &events[i]
		name := laneName(e.Listener)
		if e.Host == "" || e.Session.Kind == "" {
			continue
		}
		if first[name] == "" {
			first[name] = e.Host
		}
		if first[name] != e.Host {
			list[name] = true
		}
	}
	return list
}

// here is the lane of what happens at a listener.
func (l *ladder) here(host, listener string) string {
	name := laneName(listener)
	if l.many[name] {
		name += " " + host
	}
	return name
}

// beside finds the calls between simulated gateways, or between one and a
// device; the caller tells of them.
func beside(events []trace.Event) map[trace.Session]string {
	own, others := map[trace.Session]bool{}, map[trace.Session]string{}
	for i := range events {
		e := &events[i]
		if !strings.HasPrefix(e.Name, "sip.") || e.Session.Kind == "" {
			continue
		}
		if e.Listener != "ip-gateway" {
			own[e.Session] = true
		} else if others[e.Session] == "" {
			others[e.Session] = e.Host
		}
	}
	maps.DeleteFunc(others, func(s trace.Session, _ string) bool { return own[s] })
	return others
}

// lane finds or adds a party.
func (l *ladder) lane(name string) int {
	if i := slices.Index(l.lanes, name); i >= 0 {
		return i
	}
	l.lanes = append(l.lanes, name)
	return len(l.lanes) - 1
}

// take reads one event. Messages are taken from the organisation's side only:
// a simulated gateway records the same messages once more.
func (l *ladder) take(e *trace.Event) {
	switch e.Name {
	case "fault.struck":
		l.fault(e)
		return
	case "scenario.call":
		l.ids += "; " + e.Text("names") + " is " + clean(e.Text("id"))
		return
	}
	if e.Listener == "ip-gateway" && e.Host != "" && l.beside[e.Session] == e.Host && (e.Name == "sip.received" || e.Name == "sip.sent") {
		l.between(e)
		return
	}
	if e.Listener == "ip-gateway" || e.Listener == "scenario" || e.Host == "" {
		return
	}
	here := l.here(e.Host, e.Listener)
	switch e.Name {
	case "sip.received", "sip.sent":
		if e.Session.Kind == "" {
			return // OPTIONS and the like are no part of a call
		}
		text := sipText(e)
		l.arrow(e, here, text, e.Name == "sip.received")
	case "rtp.started":
		l.arrow(e, here, "RTP begins", true)
	case "rtp.digit":
		l.arrow(e, here, "RTP event "+e.Text("digit"), e.Text("direction") == "received")
	case "rtp.ended":
		l.arrow(e, here, "RTP "+e.Text("packets")+" packets", e.Text("direction") == "received")
	case "admit.refused":
		l.arrow(e, here, "refused at accept", true)
	case "tls.established":
		if e.Text("side") == "client" {
			l.lane("gateway") // it stands to the left of what it talks to
			l.note(e, here, e.Text("version"))
		}
	case "tls.refused":
		if e.Text("side") == "client" {
			l.arrow(e, here, "refused: "+e.Text("check"), true)
		}
	case "tls.warned":
		l.note(e, here, "warned: "+e.Text("check"))
	default:
		l.mail(e, here)
		l.unifiedMessaging(e, here)
	}
}

// mail draws what a mail session says, on either side.
func (l *ladder) mail(e *trace.Event, here string) {
	switch e.Name {
	case "smtp.received", "smtp.sent", "smtp.content":
		l.arrow(e, here, smtpText(e), e.Name != "smtp.sent")
	case "smtp.asked", "smtp.answered", "smtp.poured":
		l.arrow(e, here, smtpText(e), e.Name == "smtp.answered")
	case "smtp.connected":
		l.who(e)
	case "send.connected":
		l.peer(e, "next hop")
	case "send.failed":
		l.note(e, here, "waits")
	case "smtp.tls":
		l.note(e, here, e.Text("version"))
	case "mail.delivered":
		l.note(e, here, "stored")
	}
}

// unifiedMessaging notes what happens in a call, and to a server.
func (l *ladder) unifiedMessaging(e *trace.Event, here string) {
	switch e.Name {
	case "um.greeting", "um.tone", "um.recording", "um.pilot_greeting", "um.missed_call", "um.menu", "um.playing", "um.mailbox_full", "um.fax",
		"um.transferring", "um.transferred", "um.transfer_failed", "um.logon":
		l.note(e, here, strings.ReplaceAll(strings.TrimPrefix(e.Name, "um."), "_", " "))
	case "um.recorded":
		length, _ := e.Get("length")
		d, _ := length.(time.Duration)
		l.note(e, here, fmt.Sprintf("recorded %.1f s, by %s", d.Seconds(), e.Text("by")))
	case "um.worker_started", "um.worker_draining", "um.worker_stopped":
		if e.At > 0 && e.Text("why") != "at the start" {
			l.note(e, l.here(e.Host, e.Text("row")), strings.ReplaceAll(strings.TrimPrefix(e.Name, "um.worker_"), "_", " "))
		}
	case "um.maintenance":
		l.note(e, here, e.Text("server")+" is set "+e.Text("state"))
	case "um.gateway_status":
		l.note(e, "gateway", "object set to "+e.Text("status"))
	}
}

// fault notes what was done wrong on purpose, and by whom.
func (l *ladder) fault(e *trace.Event) {
	lane := l.here(e.Host, e.Listener)
	switch e.Listener {
	case "ip-gateway":
		lane = "gateway"
	case "middlebox":
		lane = e.Host
	}
	l.note(e, lane, strings.TrimSpace("fault: "+e.Text("do")+" "+e.Text("of")))
}

// between draws a message of a call beside the organisation.
func (l *ladder) between(e *trace.Event) {
	peer, _, _ := strings.Cut(e.Text("peer"), ":")
	r := row{at: e.At, from: l.lane(e.Host), to: l.lane(peer), text: sipText(e), session: e.Session}
	if e.Name == "sip.received" {
		r.from, r.to = r.to, r.from
	}
	l.rows = append(l.rows, r)
}

// laneName is how a listener is called above its lane.
func laneName(listener string) string {
	switch listener {
	case "default":
		return "Default (SMTP)"
	case "default-frontend":
		return "Front End (SMTP)"
	}
	return strings.TrimSuffix(listener, "-tls") // one service, whichever way it is reached
}

// who names the lane of a mail session's peer: the part that caused it.
func (l *ladder) who(e *trace.Event) {
	if e.Cause.Kind != "" {
		l.peer(e, "um-worker")
	}
}

// peer names the other side of an event's session.
func (l *ladder) peer(e *trace.Event, name string) {
	if l.peers == nil {
		l.peers = map[string]string{}
	}
	l.peers[e.Session.String()] = name
}

func (l *ladder) arrow(e *trace.Event, here, text string, inward bool) {
	other := "gateway"
	if e.Session.Kind == "smtp" {
		other = l.peers[e.Session.String()]
		if other == "" {
			other = "mail host"
		}
	}
	if e.Name == "admit.refused" || e.Name == "tls.refused" {
		other = "stranger"
	}
	r := row{at: e.At, from: l.lane(other), text: text, session: e.Session}
	r.to = l.lane(here)
	if !inward {
		r.from, r.to = r.to, r.from
	}
	l.rows = append(l.rows, r)
}

func (l *ladder) note(e *trace.Event, here, text string) {
	n := l.lane(here)
	l.rows = append(l.rows, row{at: e.At, from: n, to: n, text: text, session: e.Session})
}

func sipText(e *trace.Event) string {
	if status := e.Int("status"); status != 0 {
		return fmt.Sprintf("%d (%s)", status, e.Text("method"))
	}
	return e.Text("method")
}

func smtpText(e *trace.Event) string {
	line, _, _ := strings.Cut(string(e.Raw), "\r\n")
	switch e.Name {
	case "smtp.content", "smtp.poured":
		return octets(e.Int("octets"))
	case "smtp.received", "smtp.asked":
		verb, _, _ := strings.Cut(line, " ")
		return verb
	}
	code, _, _ := strings.Cut(strings.Replace(line, "-", " ", 1), " ")
	return code
}

func (l *ladder) print(w io.Writer) {
	fmt.Fprintf(w, "LADDER   (seconds since the beginning%s)\n", l.ids)
	line := strings.Repeat(" ", 20)
	for _, name := range l.lanes {
		line += center(name, l.width)
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	for _, r := range l.rows {
		fmt.Fprintf(w, "%9.3f  %-7s  %s\n", r.at.Seconds(), r.session, strings.TrimRight(l.draw(r), " "))
	}
	fmt.Fprintln(w)
}

func center(s string, width int) string {
	if len(s) > width {
		s = s[:width]
	}
	left := (width - len(s)) / 2
	return strings.Repeat(" ", left) + s + strings.Repeat(" ", width-left-len(s))
}

// draw prints the lanes as bars and the arrow or note of a row over them.
func (l *ladder) draw(r row) string {
	cells := []rune(strings.Repeat(" ", l.width*len(l.lanes)+l.width/2)) // room for a note on the last lane
	bar := func(lane int) int { return lane*l.width + l.width/2 }
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
	room := l.width - 4
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
