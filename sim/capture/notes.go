package capture

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// note is what is said at a packet.
type note struct {
	text string
	at   time.Time
	peer netip.AddrPort // of the message; invalid where it is about none
	sent bool
	any  bool // the last packet until then
}

// read finds in the timeline what is to be noted, and the connections on which
// somebody logged on.
func read(log *trace.Log) (notes []note, loggedOn map[tuple]bool) {
	if log == nil {
		return nil, nil
	}
	loggedOn = map[tuple]bool{}
	ends := map[trace.Session]connection{}
	deciding := map[int64][]string{} // words of verdicts, by the event that decided
	var last []string
	for e := range log.Events() {
		switch e.Name {
		case "smtp.connected":
			ends[e.Session] = connectionIn(&e, "peer", "local")
		case "send.connected":
			ends[e.Session] = connectionIn(&e, "to", "local")
		case "smtp.authenticated", "smtp.logon_failed":
			loggedOn[ends[e.Session].tuple()] = true
		case "smtp.asked", "smtp.received":
			if verb := strings.ToUpper(e.Text("verb")); verb == "AUTH" || verb == "X-EXPS" {
				loggedOn[ends[e.Session].tuple()] = true
			}
		case "scenario.verdict":
			if text := verdict(&e); e.Int("event") > 0 {
				deciding[e.Int("event")] = append(deciding[e.Int("event")], text)
			} else if e.Text("result") != "not run" {
				last = append(last, text)
			}
		}
	}
	end := log.Start()
	for e := range log.Events() {
		if e.Name != "scenario.verdict" && e.Name != "run.ended" {
			end = log.Start().Add(e.At)
		}
		for _, text := range deciding[int64(e.Seq)] { //nolint:gosec // of events in a log
			n := note{text: text, at: log.Start().Add(e.At)}
			n.peer, _ = netip.ParseAddrPort(e.Text("peer"))
			if !n.peer.IsValid() && strings.HasPrefix(e.Name, "smtp.") {
				n.peer = ends[e.Session].peer
			}
			n.sent = strings.HasSuffix(e.Name, ".sent") || strings.HasSuffix(e.Name, ".asked") || e.Text("direction") == "sent"
			n.any = !n.peer.IsValid()
			notes = append(notes, n)
		}
	}
	for _, text := range last {
		notes = append(notes, note{text: text, at: end, any: true})
	}
	return notes, loggedOn
}

// connection is that of a session of mail.
type connection struct{ peer, local netip.AddrPort }

func (c connection) tuple() tuple { return tupleOf(c.peer, c.local) }

func connectionIn(e *trace.Event, peer, local string) (c connection) {
	c.peer, _ = netip.ParseAddrPort(e.Text(peer))
	c.local, _ = netip.ParseAddrPort(e.Text(local))
	return c
}

// verdict is how one is told at a packet.
func verdict(e *trace.Event) string {
	text := "exsim: "
	if step := e.Int("step"); step > 0 {
		text += fmt.Sprintf("step %d ", step)
	}
	text += e.Text("result") + ": " + e.Text("text")
	for _, key := range []string{"got", "side", "cause", "next"} {
		if v := e.Text(key); v != "" {
			text += "\n" + key + ": " + v
		}
	}
	const most = 4000 // an option of a block has 64 KiB at most
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// finder finds the packet of each note.
type finder struct {
	notes []note
	best  []found // in their order
	last  int     // packet that was looked at last
}

type found struct {
	packet int
	away   time.Duration
	exact  bool // of the peer, in the right direction
}

// near is how far from its message a packet may be.
const near = 2 * time.Second

// look takes the packets in their order.
func (f *finder) look(p *packet) {
	if !p.payload || p.face != faceWire {
		return
	}
	if f.best == nil {
		f.best = make([]found, len(f.notes))
	}
	f.last = p.number
	for i := range f.notes {
		n, b := &f.notes[i], &f.best[i]
		away := p.at.Sub(n.at)
		exact := !n.any && away.Abs() < near && (p.peer == n.peer && p.out == n.sent || p.local == n.peer && p.out != n.sent)
		switch {
		case b.packet == 0, exact && !b.exact, exact && away.Abs() < b.away:
			*b = found{p.number, away.Abs(), exact}
		case !b.exact && away <= 0: // the last one until then
			*b = found{p.number, away.Abs(), false}
		}
	}
}

// found are the notes by packet.
func (f *finder) found() map[int][]string {
	at := map[int][]string{}
	for i := range f.best {
		at[f.best[i].packet] = append(at[f.best[i].packet], f.notes[i].text)
	}
	return at
}
