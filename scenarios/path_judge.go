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

// proof is what a trace holds of one path.
type proof struct {
	result  *trace.Event
	changes []*trace.Event
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

// paths judges what path: says.
func (j *judge) paths() []Verdict {
	if !j.s.ForPaths() {
		return nil
	}
	var list []Verdict
	var proofs []proof
	at := map[string]int{}
	broken := false
	for i := range j.events {
		switch e := &j.events[i]; e.Name {
		case "path.probed":
			if why := e.Text("failed"); why != "" {
				broken = true
				list = append(list, Verdict{
					Text: fmt.Sprintf("paths between %s and %s", e.Text("actor"), e.Text("server")), Result: Failed, Got: why, Event: int64(e.Seq),
					CauseID: "path-not-proven", Side: "bench", Cause: "they could not be tried", Next: "mend that, and run it again: nothing is said of these paths",
				})
			}
		case "path.result":
			at[e.Text("path")] = len(proofs)
			proofs = append(proofs, proof{result: e})
		case "path.changed":
			if n, ok := at[e.Text("path")]; ok {
				proofs[n].changes = append(proofs[n].changes, e)
			}
		}
	}
	for _, expected := range []paths.Expect{paths.Open, paths.Closed} {
		list = append(list, j.asExpected(proofs, expected)...)
	}
	list = append(list, j.untried(proofs)...)
	for _, protocol := range j.s.Path.Intact {
		if v, compared := j.intact(proofs, protocol); compared || !broken {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		list = append(list, Verdict{Text: "paths", Result: Failed, Event: -1, Got: "no path was tried",
			CauseID: "path-not-proven", Side: "bench", Cause: "path: asks for nothing, or the run ended before", Next: "open: documented, or extra:"})
	}
	return list
}

// asExpected judges the paths that must be open, or closed: one verdict for all
// of a pair that are, and one for each that is not.
func (j *judge) asExpected(proofs []proof, expected paths.Expect) (list []Verdict) {
	type pair struct{ from, to string }
	good := map[pair]int{} // index of the verdict
	count, warned := map[pair]int{}, map[pair]int{}
	for i := range proofs {
		p := &proofs[i]
		e := p.result
		if e.Text("expected") != string(expected) || e.Text("provable") == "false" {
			continue
		}
		between := pair{e.Text("from"), e.Text("to")}
		if v, failed := j.otherwise(p); failed {
			list = append(list, v)
			continue
		}
		if _, ok := good[between]; !ok {
			good[between] = len(list)
			list = append(list, Verdict{Result: Passed, Event: int64(e.Seq)})
		}
		v := &list[good[between]]
		if count[between]++; e.Text("level") == "warn" {
			count[between]--
			warned[between]++
			v.Got = strings.TrimPrefix(v.Got+"; "+e.Text("path")+" is "+e.Text("found"), "; ")
		}
		v.Text = fmt.Sprintf("paths %s > %s: %d %s, as must be", between.from, between.to, count[between], expected)
		if n := warned[between]; n > 0 {
			v.Text += fmt.Sprintf("; %d otherwise, which is a warning", n)
		}
	}
	return list
}

// otherwise says why a path fails, and whether it does.
func (j *judge) otherwise(p *proof) (Verdict, bool) {
	e := p.result
	found, level := e.Text("found"), e.Text("level")
	if j.explained(p) {
		return Verdict{}, false // by what may be changed
	}
	if level != "fail" && level != "unproven" {
		return Verdict{}, false
	}
	v := Verdict{
		Text: fmt.Sprintf("path %s: %s", e.Text("path"), e.Text("expected")), Result: Failed, Got: found, Event: int64(e.Seq),
		CauseID: pathCause(found), Side: e.Text("side"), Cause: e.Text("cause"), Next: e.Text("next"),
	}
	if c := j.forbidden(p); len(c) > 0 {
		v.Got += ": " + tellChanges(c)
	}
	return v, true
}

// explained reports whether only changes that may be made keep a path from being
// open.
func (j *judge) explained(p *proof) bool {
	if len(p.changes) == 0 || len(j.forbidden(p)) > 0 {
		return false
	}
	switch p.result.Text("found") {
	case "altered":
		return true
	case "intercepted": // for a certificate, and not because something else answered
		return slices.ContainsFunc(p.changes, func(c *trace.Event) bool { return c.Text("protocol") == "tls" })
	}
	return false
}

// untried are the paths for which the pages name no port.
func (j *judge) untried(proofs []proof) []Verdict {
	var list []string
	for i := range proofs {
		if e := proofs[i].result; e.Text("provable") == "false" {
			list = append(list, fmt.Sprintf("%s > %s %s: %s", e.Text("from"), e.Text("to"), e.Text("protocol"), e.Text("cause")))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []Verdict{{Text: fmt.Sprintf("paths that cannot be tried: %d", len(list)), Result: Passed, Event: -1, Got: strings.Join(list, "; ")}}
}

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

// pathCause is the id of the cause for what was found of a path.
func pathCause(found string) string {
	if found == "dropped in one direction" {
		return "path-one-way"
	}
	word, _, _ := strings.Cut(found, " ")
	switch word {
	case "refused", "reset", "dropped", "silent", "altered", "intercepted", "wrong", "open", "partly":
		return "path-" + word
	}
	return "path-not-proven"
}

// pathCauses are the causes of failed paths, whose text comes with the path.
var pathCauses = []struct{ id, usage string }{
	{"path-refused", "a path that must be open is refused"},
	{"path-reset", "its connections are reset"},
	{"path-dropped", "nothing comes back"},
	{"path-one-way", "it is dropped in one direction"},
	{"path-silent", "connections are made and nothing is answered"},
	{"path-altered", "what passes is altered"},
	{"path-intercepted", "something in between answers in place of the far end"},
	{"path-wrong", "another service answers"},
	{"path-partly", "some of its ports are open"},
	{"path-open", "a path that must be closed is open"},
	{"path-not-proven", "it could not be tried"},
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
