// Package maillog writes, from the trace, what mail administrators of Exchange
// read: the protocol logs of receive and send connectors
// (https://learn.microsoft.com/en-us/exchange/mail-flow/connectors/protocol-logging)
// and the message tracking log
// (https://learn.microsoft.com/en-us/exchange/mail-flow/transport-logs/message-tracking).
package maillog

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// ProtocolFields are the columns of a protocol log.
var ProtocolFields = []string{"date-time", "connector-id", "session-id", "sequence-number", "local-endpoint", "remote-endpoint", "event", "data", "context"}

// session is what a protocol log knows of one.
type session struct {
	connector, local, remote string
	sends                    bool
	n                        int // lines so far
}

// Protocol makes lines of protocol logs from events.
type Protocol struct {
	start    time.Time
	sessions map[string]*session
}

// NewProtocol is for a trace that began at a time.
func NewProtocol(start time.Time) *Protocol {
	return &Protocol{start: start, sessions: map[string]*session{}}
}

// Line is a line of a protocol log: of a send connector, or of a receive
// connector.
type Line struct {
	Sends bool
	Row   []string
}

// Events of a line.
const (
	connects    = "+"
	disconnects = "-"
	sends       = ">"
	receives    = "<"
	informs     = "*"
)

// Take makes the lines of an event, of which there may be none.
func (p *Protocol) Take(e *trace.Event) []Line {
	id := e.Session.String()
	s := p.sessions[id]
	switch e.Name {
	case "smtp.connected":
		s = &session{connector: e.Host + `\` + e.Text("connector"), local: e.Text("local"), remote: e.Text("peer")}
		p.sessions[id] = s
		return s.lines(p.at(e), p.id(e), [3]string{connects})
	case "send.connected":
		s = &session{connector: e.Text("connector"), local: e.Text("local"), remote: e.Text("to"), sends: true} // of the organisation, not of a server
		p.sessions[id] = s
		return s.lines(p.at(e), p.id(e), [3]string{connects})
	}
	if s == nil {
		return nil
	}
	var said [][3]string
	switch e.Name {
	case "smtp.received", "smtp.answered":
		said = each(receives, e.Raw)
	case "smtp.sent", "smtp.asked":
		said = each(sends, e.Raw)
	case "smtp.permissions":
		said = [][3]string{{informs, e.Text("rights"), "Set Session Permissions"}}
	case "smtp.authenticated":
		said = [][3]string{{informs, e.Text("user"), "authenticated"}}
	case "smtp.logon_failed":
		said = [][3]string{{informs, "", "Inbound authentication failed: " + e.Text("mechanism")}}
	case "smtp.tls":
		said = [][3]string{{informs, "", "TLS protocol " + e.Text("version") + " negotiation succeeded using " + e.Text("suite")}}
	case "smtp.tls_failed":
		said = [][3]string{{informs, "", "TLS negotiation failed with error " + e.Text("why")}}
	case "smtp.tarpit":
		said = [][3]string{{informs, tarpit(e), ""}}
	case "smtp.delayed_ack":
		said = [][3]string{{informs, tarpit(e) + " due to 'DelayedAck'", e.Text("outcome")}}
	case "smtp.blocked":
		said = [][3]string{{informs, "", "the address is on the IP block list"}}
	case "smtp.disconnected", "send.disconnected":
		said = [][3]string{{disconnects, "", side(e.Text("why"))}}
		delete(p.sessions, id)
	}
	return s.lines(p.at(e), p.id(e), said...)
}

// each is a line for each line that was said.
func each(event string, raw []byte) (said [][3]string) {
	for line := range bytes.SplitSeq(bytes.TrimRight(raw, "\r\n"), []byte("\n")) {
		said = append(said, [3]string{event, strings.TrimRight(string(line), "\r"), ""})
	}
	return said
}

// tarpit is in the words of the log.
func tarpit(e *trace.Event) string {
	d, err := time.ParseDuration(e.Text("interval"))
	if err != nil {
		return ""
	}
	text := fmt.Sprintf("Tarpit for '0.%02d:%02d:%02d'", int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60)
	if why := e.Text("why"); strings.Contains(why, " ") {
		text += " due to '" + why + "'"
	}
	return text
}

// side is who ended a connection.
func side(why string) string {
	if strings.Contains(why, "peer") || why == "QUIT" {
		return "Remote"
	}
	return "Local"
}

func (p *Protocol) at(e *trace.Event) string {
	return p.start.Add(e.At).UTC().Format("2006-01-02T15:04:05.000Z")
}

// id is a session's, unique over runs.
func (p *Protocol) id(e *trace.Event) string {
	return fmt.Sprintf("%08X%08X", uint32(p.start.Unix()), e.Session.N)
}

func (s *session) lines(at, id string, said ...[3]string) []Line {
	var list []Line
	for _, w := range said {
		list = append(list, Line{s.sends, []string{at, s.connector, id, strconv.Itoa(s.n), s.local, s.remote, w[0], w[1], w[2]}})
		s.n++
	}
	return list
}
