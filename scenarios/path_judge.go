package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/trace"
)

// proof is what a trace holds of one path.
type proof struct {
	result  *trace.Event
	changes []*trace.Event
}

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
