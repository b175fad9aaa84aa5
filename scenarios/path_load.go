package scenarios

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/integrity"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Protocols that can be intact.
var intactNames = []string{"sip", "sdp", "smtp", "tls", "rtp", "addresses"}

// pathRules checks path:, which concerns every actor that calls or sends.
func (l *loader) pathRules() {
	if !l.s.ForPaths() {
		return
	}
	r := &l.s.Path
	for _, name := range r.Intact {
		if !slices.Contains(intactNames, name) {
			l.f.Report(r.Places.At("intact", r.Pos), cmp.Or(yamlfile.Suggest(name, intactNames), strings.Join(intactNames, ", ")), "path: intact: %q is not known", name)
		}
	}
	for _, name := range r.MayChange {
		if hint, ok := changeName(name); !ok {
			l.f.Report(r.Places.At("may_change", r.Pos), hint, "path: may_change: %q is the name of no change", name)
		}
	}
	var eligible []string
	for _, name := range names(l.s.Actors) {
		if l.s.Actors[name].Role != roleBox {
			eligible = append(eligible, name)
		}
	}
	for name, h := range r.Hosts {
		if !slices.Contains(eligible, name) {
			l.f.Report(h.Pos, yamlfile.Suggest(name, eligible), "path: hosts: no actor that calls or sends is named %q", name)
		}
	}
	for name, a := range l.s.Actors {
		if a.Role != roleBox {
			l.used[name] = true
		}
	}
	if l.s.Organisation == nil || l.f.Err() != nil {
		return // the plan is made of them
	}
	p, err := l.s.PathPlan()
	if err != nil {
		l.planMistakes(err)
		return
	}
	l.something(p)
}

// planMistakes tells what is wrong with the plan at what it was made of.
func (l *loader) planMistakes(err error) {
	var list yamlfile.Errors
	r := &l.s.Path
	if !errors.As(err, &list) {
		l.f.Report(r.Pos, "", "path: %v", err)
	}
	for _, e := range list {
		at := r.Pos
		for key, word := range map[string]string{"uses": "uses:", "extra": "extra:", "hosts": "rtp:"} {
			if strings.HasPrefix(e.Text, word) {
				at = r.Places.At(key, r.Pos)
			}
		}
		l.f.Report(at, e.Hint, "path: %s", e.Text)
	}
}

// something reports that path: asks for nothing, or compares what is not there.
func (l *loader) something(p *paths.Plan) {
	r := &l.s.Path
	flows, _ := p.Flows()
	for _, f := range flows {
		if l.s.unprovable(f) {
			l.f.Report(r.Places.At("media", r.Pos), "media: static, or a um-startup-mode with calls in clear", "path: media: %s", f.Unproven)
		}
	}
	if boxed := l.s.boxed(); boxed != "" && slices.Contains(r.Intact, "rtp") {
		l.f.Report(r.Places.At("intact", r.Pos), "leave rtp out, or the middlebox", "path: intact: marks of media do not pass %s, a simulated middlebox", boxed)
	}
	flows = slices.DeleteFunc(flows, func(f *paths.Flow) bool {
		return f.Unproven != "" || l.s.unwanted(f) || !l.s.isActor(f.From.Name) && !l.s.isActor(f.To.Name)
	})
	if len(flows) == 0 {
		l.f.Report(r.Pos, "open: documented, closed: undocumented, or extra:", "path: nothing would be proven")
		return
	}
	for _, protocol := range r.Intact {
		if slices.Contains(intactNames, protocol) && !slices.ContainsFunc(flows, func(f *paths.Flow) bool { return f.Expect == paths.Open && carries(f.Protocol, f.TLS, protocol) }) {
			l.f.Report(r.Places.At("intact", r.Pos), "exsim plan FILE lists the paths", "path: intact: no path between these actors and servers carries %s", protocol)
		}
	}
}

// unprovable reports whether the ports of a path are known and cannot be tried all
// the same.
func (s *Scenario) unprovable(f *paths.Flow) bool {
	return f.Unproven != "" && f.Ports.Len() > 0 && (s.isActor(f.From.Name) || s.isActor(f.To.Name))
}

// boxed is a middlebox in front of a gateway, "" if there is none.
func (s *Scenario) boxed() string {
	for _, name := range names(s.Actors) {
		if a := s.Actors[name]; a.Role == roleBox && s.Actors[a.Between].Role == roleGateway {
			return name
		}
	}
	return ""
}

func (s *Scenario) isActor(name string) bool {
	_, ok := s.Actors[name]
	return ok
}

// Names of changes beside those of headers, lines of SDP, and EHLO's keywords.
var changeNames = []string{"certificate", "client certificate", "TLS version", "cipher suite", "ALPN", "PROXY line", headerOrder, "first line", "DSCP", "banner"}

// changeName says whether the report may name a change so; a header may be any,
// but not one that is a slip of the pen away from one that a probe has.
func changeName(name string) (hint string, ok bool) {
	hint = "such as Via, SDP c=, DSCP, banner, EHLO CHUNKING"
	name = changeKind(name)
	word, rest, two := strings.Cut(name, " ")
	headers := integrity.Headers()
	switch {
	case slices.Contains(changeNames, name), slices.ContainsFunc(headers, func(h string) bool { return strings.EqualFold(h, name) }):
		return "", true
	case word == "SDP":
		return hint, len(rest) > 1 && strings.HasSuffix(rest, "=")
	case word == "EHLO", word == "command", word == "reply":
		return hint, rest != ""
	case two, name == "", strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return hint, false
	}
	if near := yamlfile.Suggest(name, append(headers, changeNames...)); near != "" {
		return near, false
	}
	return "", true
}
