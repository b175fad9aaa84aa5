package maillog

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// TrackingFields are the columns of a message tracking log.
var TrackingFields = []string{
	"date-time", "client-ip", "client-hostname", "server-ip", "server-hostname", "source-context", "connector-id", "source", "event-id", "internal-message-id",
	"message-id", "network-message-id", "recipient-address", "recipient-status", "total-bytes", "recipient-count", "related-recipient-address", "reference",
	"message-subject", "sender-address", "return-path", "message-info", "directionality", "tenant-id", "original-client-ip", "original-server-ip", "custom-data",
}

// Tracking makes lines of the message tracking log from events.
type Tracking struct {
	start time.Time
	peers map[string]*session
}

// NewTracking is for a trace that began at a time.
func NewTracking(start time.Time) *Tracking {
	return &Tracking{start: start, peers: map[string]*session{}}
}

// Take makes the lines of an event, of which there may be none.
func (t *Tracking) Take(e *trace.Event) [][]string {
	id := e.Session.String()
	switch e.Name {
	case "smtp.connected":
		t.peers[id] = &session{connector: e.Host + `\` + e.Text("connector"), local: e.Text("local"), remote: e.Text("peer")}
	case "send.connected":
		t.peers[id] = &session{connector: e.Text("connector"), local: e.Text("local"), remote: e.Text("to")}
	case "smtp.disconnected", "send.disconnected":
		delete(t.peers, id)
	case "mail.received":
		return [][]string{t.row(e, "SMTP", "RECEIVE", e.Text("recipients"), "")}
	case "mail.delivered":
		return [][]string{t.row(e, "STOREDRIVER", "DELIVER", e.Text("mailbox"), "")}
	case "send.taken":
		return [][]string{t.row(e, "SMTP", "SEND", e.Text("recipient"), e.Text("answer"))}
	case "send.failed":
		event := "DEFER"
		if e.Text("final") == "true" {
			event = "FAIL"
		}
		return [][]string{t.row(e, "SMTP", event, e.Text("recipient"), e.Text("why"))}
	}
	return nil
}

// row is one line; what it does not know stays empty.
func (t *Tracking) row(e *trace.Event, source, event, recipient, status string) []string {
	s := t.peers[e.Session.String()]
	if s == nil {
		s = &session{connector: e.Text("connector")}
	}
	values := map[string]string{
		"date-time": t.start.Add(e.At).UTC().Format("2006-01-02T15:04:05.000Z"), "client-ip": host(s.remote), "server-ip": host(s.local), "server-hostname": e.Host,
		"connector-id": s.connector, "source": source, "event-id": event, "internal-message-id": e.Text("internal_id"), "message-id": e.Text("message_id"),
		"recipient-address": recipient, "recipient-status": status, "message-subject": e.Text("subject"), "sender-address": e.Text("from"), "return-path": e.Text("from"),
		"recipient-count": e.Text("count"), "directionality": "Incoming",
	}
	if n := e.Int("octets"); n > 0 {
		values["total-bytes"] = strconv.FormatInt(n, 10)
	}
	if source == "SMTP" && event != "RECEIVE" {
		values["client-ip"], values["server-ip"], values["directionality"] = host(s.local), host(s.remote), "Originating"
	}
	row := make([]string, len(TrackingFields))
	for i, f := range TrackingFields {
		row[i] = values[f]
	}
	return row
}

func host(endpoint string) string {
	ap, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return ""
	}
	return ap.Addr().String()
}
