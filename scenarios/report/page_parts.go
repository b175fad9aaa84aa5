package report

import (
	"github.com/exsim/exsim/sim/trace"
)

// pagePath is a line of the truth table.
type pagePath struct {
	Path, Kind, Protocol, Expected, Found, Level string
	Side, Cause, Next, Evidence                  string
	Changes                                      []pageChange
}

// pageChange is something that the network changed.
type pageChange struct{ What, Way, Sent, Got, Rating, Class, Means, By string }

// pathsOf reads the truth table from a trace, what failed first.
func pathsOf(events []trace.Event) []pagePath {
	changes := map[string][]pageChange{}
	for i := range events {
		if e := &events[i]; e.Name == "path.changed" {
			text := func(key string) string { return visible(e.Text(key)) }
			c := pageChange{text("what"), text("way"), text("sent"), text("got"), text("rating"), "dim", text("means"), text("by")}
			c.Class = map[string]string{"breaking": "fail", "risky": "warn"}[c.Rating]
			changes[e.Text("path")] = append(changes[e.Text("path")], c)
		}
	}
	var sorted []pagePath
	for _, level := range []string{"fail", "warn", "unproven", "pass", ""} {
		for i := range events {
			e := &events[i]
			got := e.Text("level")
			if e.Name != "path.result" || got != level && (level != "" || isLevel(got)) {
				continue
			}
			text := func(key string) string { return visible(e.Text(key)) }
			sorted = append(sorted, pagePath{
				Path: text("path"), Kind: text("kind"), Protocol: text("protocol"), Expected: text("expected"), Found: text("found"), Level: text("level"),
				Side: text("side"), Cause: text("cause"), Next: text("next"), Evidence: text("evidence"), Changes: changes[e.Text("path")],
			})
		}
	}
	return sorted
}

func isLevel(s string) bool { return s == "fail" || s == "warn" || s == "unproven" || s == "pass" }

// delivered is a message in a mailbox.
type delivered struct {
	Mailbox, Subject, Class, Attached, Path, Session, Cause string
	Octets                                                  int64
}

func mailOf(events []trace.Event) (list []delivered) {
	for i := range events {
		e := &events[i]
		if e.Name != "mail.delivered" {
			continue
		}
		text := func(key string) string { return visible(e.Text(key)) }
		list = append(list, delivered{text("mailbox"), text("subject"), text("content_class"), text("attachments"), text("path"), visible(e.Session.String()), visible(e.Cause.String()), e.Int("octets")})
	}
	return list
}

// exactness is what a part of exsim added to jitter and loss.
type exactness struct {
	Who, P99, Worst           string
	Due, Late, Unsent, Unread int64
}

func benchOf(events []trace.Event) (list []exactness) {
	for i := range events {
		if e := &events[i]; e.Name == "bench.exactness" {
			list = append(list, exactness{visible(e.Text("who")), ms(e, "p99"), ms(e, "worst"), e.Int("sends"), e.Int("late"), e.Int("unsent"), e.Int("unread")})
		}
	}
	return list
}

func visibleRefusals(list []refusal) []refusal {
	for i := range list {
		r := &list[i]
		for _, s := range []*string{&r.Peer, &r.Listener, &r.Host, &r.Why, &r.Fix} {
			*s = visible(*s)
		}
	}
	return list
}
