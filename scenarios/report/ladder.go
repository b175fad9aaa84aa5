package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// ladder is SIP, RTP and SMTP on one timeline: a lane for each party, an arrow
// for each message, as the organisation's listeners saw them.
type ladder struct {
	lanes []string // in order of appearance
	rows  []row

	ids     []string                 // names of calls in the scenario
	parties parties                  // who has which address
	peers   map[trace.Session]string // the other side of a session
	many    map[string]bool          // listeners that more than one server has
	beside  map[trace.Session]string // calls that the organisation has no part in, and the host that tells of them
}

// row is one line of the ladder.
type row struct {
	at       time.Duration
	from, to int // lanes; equal for a note on one lane
	text     string
	session  trace.Session
	kind     string // sip, rtp, smtp, or note for what was not said on the wire
	event    *trace.Event
}

func newLadder(events []trace.Event) *ladder {
	l := &ladder{parties: partiesOf(events), peers: map[trace.Session]string{}, beside: beside(events), many: many(events)}
	for i := range events {
		l.take(&events[i])
	}
	return l
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
		l.ids = append(l.ids, e.Text("names")+" is "+e.Text("id"))
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
		l.peers[e.Session] = l.other(e)
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
			l.lane(l.other(e)) // it stands to the left of what it talks to
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
		l.peers[e.Session] = cmp.Or(l.parties.at(e.Text("to")), "next hop")
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
		l.note(e, here, fmt.Sprintf("recorded %.1f s, by %s", duration(e, "length").Seconds(), e.Text("by")))
	case "um.worker_started", "um.worker_draining", "um.worker_stopped":
		if e.At > 0 && e.Text("why") != "at the start" {
			l.note(e, l.here(e.Host, e.Text("row")), strings.ReplaceAll(strings.TrimPrefix(e.Name, "um.worker_"), "_", " "))
		}
	case "um.maintenance":
		l.note(e, here, e.Text("server")+" is set "+e.Text("state"))
	case "um.gateway_status":
		l.note(e, l.parties.object(e.Text("gateway")), "object set to "+e.Text("status"))
	}
}

// fault notes what was done wrong on purpose, and by whom.
func (l *ladder) fault(e *trace.Event) {
	lane := e.Host
	if !l.parties.actor(e.Host) {
		lane = l.here(e.Host, e.Listener)
	}
	l.note(e, lane, strings.TrimSpace("fault: "+e.Text("do")+" "+e.Text("of")))
}

// between draws a message of a call beside the organisation.
func (l *ladder) between(e *trace.Event) {
	r := row{at: e.At, from: l.lane(e.Host), to: l.lane(l.parties.at(e.Text("peer"))), text: sipText(e), session: e.Session, kind: "sip", event: e}
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

// who names the lane of a mail session's peer: the part that caused it, or who
// has its address.
func (l *ladder) who(e *trace.Event) {
	if e.Cause.Kind != "" {
		l.peers[e.Session] = "um-worker"
		return
	}
	l.peers[e.Session] = l.parties.at(e.Text("peer"))
}

// other is the lane of an event's other side.
func (l *ladder) other(e *trace.Event) string {
	if name := l.parties.at(e.Text("peer")); name != "" && e.Session.Kind != "smtp" {
		return name
	}
	kind := "gateway"
	if e.Session.Kind == "smtp" {
		kind = "mail host"
	}
	return cmp.Or(l.peers[e.Session], kind)
}

func (l *ladder) arrow(e *trace.Event, here, text string, inward bool) {
	kind, _, _ := strings.Cut(e.Name, ".")
	if kind != "sip" && kind != "rtp" && kind != "smtp" {
		kind = "note"
	}
	r := row{at: e.At, from: l.lane(l.other(e)), text: text, session: e.Session, kind: kind, event: e}
	r.to = l.lane(here)
	if !inward {
		r.from, r.to = r.to, r.from
	}
	l.rows = append(l.rows, r)
}

func (l *ladder) note(e *trace.Event, here, text string) {
	n := l.lane(here)
	l.rows = append(l.rows, row{at: e.At, from: n, to: n, text: text, session: e.Session, kind: "note", event: e})
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
