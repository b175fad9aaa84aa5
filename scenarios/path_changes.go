package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/trace"
)

// protocolOf is the part of a path's traffic that a change befell, one of
// intactNames.
func protocolOf(f *paths.Flow, what string) string {
	switch {
	case slices.Contains([]string{"certificate", "client certificate", "TLS version", "cipher suite", "ALPN"}, what):
		return "tls"
	case what == "DSCP":
		return "rtp"
	case strings.HasPrefix(what, "SDP "):
		return "sdp"
	case strings.HasPrefix(f.Protocol, "SMTP"):
		return "smtp"
	}
	return "sip"
}

// whatChanged is the name of a change without the message that it befell.
func whatChanged(change *trace.Event) string {
	return changeKind(change.Text("what"))
}

// changeKind cuts off the message that was changed: Via of INVITE.
func changeKind(what string) string {
	if i := strings.LastIndex(what, " of "); i > 0 && what != headerOrder {
		return what[:i]
	}
	return what
}

// headerOrder is a change that is not of one header.
const headerOrder = "order of headers"

// forbidden are the changes that may_change does not name.
func (j *judge) forbidden(p *proof) (list []*trace.Event) {
	for _, c := range p.changes {
		if !j.mayChange(c) {
			list = append(list, c)
		}
	}
	return list
}

func (j *judge) mayChange(c *trace.Event) bool {
	return slices.ContainsFunc(j.s.Path.MayChange, func(name string) bool {
		return strings.EqualFold(changeKind(name), whatChanged(c))
	})
}

// intact judges whether a protocol arrives as it left, on every path, and says
// whether any was compared.
func (j *judge) intact(proofs []proof, protocol string) (Verdict, bool) {
	v := Verdict{Text: "paths: " + protocol + " arrives as it left", Result: Passed, Event: -1}
	compared := 0
	var bad []*trace.Event
	excused := map[string]bool{}
	for i := range proofs {
		p := &proofs[i]
		e := p.result
		if e.Text("compared") == "true" && carries(e.Text("protocol"), e.Text("tls"), protocol) {
			compared++
			v.Event = int64(e.Seq)
		}
		if seen := e.Text("translated"); protocol == "addresses" && seen != "" {
			return v.altered(e, seen, "path-altered", "network", "something on the way translates addresses", "Exchange knows a gateway over TCP by its address: give the object the one that is seen, or do without NAT"), true
		}
		for _, c := range p.changes {
			switch {
			case c.Text("protocol") != protocol:
			case j.mayChange(c):
				excused[whatChanged(c)] = true
			default:
				bad = append(bad, c)
			}
		}
	}
	switch {
	case len(bad) > 0:
		c := bad[0]
		cause := cmp.Or(c.Text("means"), "it is "+c.Text("rating"))
		if by := c.Text("by"); by != "" {
			cause += "; usually by " + by
		}
		return v.altered(c, c.Text("path")+": "+tellChanges(bad), "path-altered", "network", cause, "look at what stands between; may_change: ["+strings.Join(kinds(bad), ", ")+"] if it may do so"), true
	case compared == 0:
		return v.altered(nil, "nothing was compared", "path-not-proven", "bench", "no path of this protocol was held at both ends; marks do not pass a simulated middlebox", "see the verdicts on the paths"), false
	}
	v.Text += fmt.Sprintf(" (%d compared)", compared)
	if len(excused) > 0 {
		v.Got = "except what may change: " + strings.Join(slices.Sorted(maps.Keys(excused)), ", ")
	}
	return v, true
}

// kinds are the names of changes, once each.
func kinds(changes []*trace.Event) (list []string) {
	for _, c := range changes {
		if what := whatChanged(c); !slices.Contains(list, what) {
			list = append(list, what)
		}
	}
	return list
}

// tellChanges tells the first change whole, and of the others what they are.
func tellChanges(changes []*trace.Event) string {
	text := tellChange(changes[0])
	if more := kinds(changes)[1:]; len(more) > 0 {
		text += "; and " + strings.Join(more, ", ")
	}
	return text
}

func (v Verdict) altered(e *trace.Event, got, id, side, cause, next string) Verdict {
	v.Result, v.Got, v.CauseID, v.Side, v.Cause, v.Next = Failed, got, id, side, cause, next
	if e != nil {
		v.Event = int64(e.Seq)
	}
	return v
}

// carries reports whether a path on which a protocol is spoken, over TLS or not,
// says something about a protocol that must be intact.
func carries(spoken, tls, protocol string) bool {
	switch protocol {
	case "sip", "sdp":
		return spoken == "SIP"
	case "smtp":
		return strings.HasPrefix(spoken, "SMTP")
	case "rtp":
		return spoken == "RTP" || spoken == "RTCP"
	case "tls":
		return strings.HasPrefix(spoken, "SMTP") || tls != "" && tls != "none"
	}
	return true
}

func tellChange(c *trace.Event) string {
	sent, got := c.Text("sent"), c.Text("got")
	switch {
	case got == "":
		return fmt.Sprintf("%s: %q was taken away", c.Text("what"), sent)
	case sent == "":
		return fmt.Sprintf("%s: %q was added", c.Text("what"), got)
	}
	return fmt.Sprintf("%s: %q became %q", c.Text("what"), sent, got)
}
