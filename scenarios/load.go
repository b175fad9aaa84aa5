package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

type loader struct {
	f     *yamlfile.File
	s     *Scenario
	calls map[string]place // ids of calls so far
	used  map[string]bool  // actors

	settings yamlfile.Value // of the step that is checked
	path     []string       // of it in the file

	group, branch int              // of the step that is read
	unread        []yamlfile.Value // steps that could not be read
}

// mentions reports whether a word stands somewhere in a value.
func mentions(v yamlfile.Value, word string) bool {
	return v.Text == word || slices.ContainsFunc(v.Items, func(i yamlfile.Value) bool { return mentions(i, word) }) ||
		slices.ContainsFunc(v.Pairs, func(p yamlfile.Pair) bool { return mentions(p.Value, word) })
}

// place is where a call is opened.
type place struct{ group, branch int }

func (l *loader) check() {
	if v, given := l.f.Root.Get("version"); given && l.s.Version != 1 {
		l.f.Report(v.Pos, "write version: 1", "version %d of the language is not known", l.s.Version)
	}
	if strings.Trim(l.s.Name, nameLetters) != "" || strings.HasPrefix(l.s.Name, ".") {
		v, _ := l.f.Root.Get("name")
		l.f.Report(v.Pos, "letters, digits, hyphens, underscores and dots: it names files, too", "name %q", l.s.Name)
	}
	l.s.Organisation = org.FromValue(l.f, l.s.OrganisationValue, "2013")
	for _, name := range slices.Sorted(maps.Keys(l.s.Actors)) {
		l.actorOf(name, l.s.Actors[name])
	}
	for i, v := range l.s.StepValues {
		l.steps(v, []string{"steps", strconv.Itoa(i)})
	}
	for i := range l.s.Goals {
		g := &l.s.Goals[i]
		l.matcher(&g.Matcher)
		l.fields(g.Places.At("only", g.Pos), g.Event, g.Only)
		if verb := g.Only["verb"]; g.Event == "load.step" && verb.Text != "" && !slices.Contains(repeatable, verb.Text) {
			l.f.Report(verb.Pos, cmp.Or(yamlfile.Suggest(verb.Text, repeatable), strings.Join(repeatable, ", ")), "goals: no step of a load has the verb %q", verb.Text)
		}
		l.values(g.Only)
	}
	for i := range l.s.Never {
		l.matcher(&l.s.Never[i])
	}
	l.pathRules()
	if len(l.s.Steps) == 0 && l.unread == nil && !l.s.ForPaths() {
		v, _ := l.f.Root.Get("steps")
		l.f.Report(v.Pos, "steps: or path:", "no step: nothing would be proven")
	}
	l.faults(l.s.Faults)
	for i := range l.s.Faults {
		if at, said := l.s.Faults[i].Places["cause"]; said {
			l.f.Report(at, "", "cause: is for catches, where a fault must be found")
		}
	}
	l.faults(l.s.Catches)
	taken := map[string]bool{}
	for i := range l.s.Catches {
		f := &l.s.Catches[i]
		name := f.Name()
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", f.Name(), n)
		}
		taken[name], f.name = true, name
	}
	for _, name := range slices.Sorted(maps.Keys(l.s.Actors)) {
		if !l.used[name] && !l.s.nextHop(l.s.Actors[name]) && !slices.ContainsFunc(l.unread, func(v yamlfile.Value) bool { return mentions(v, name) }) {
			l.f.Report(l.s.Actors[name].Pos, "", "actor %q is not used by any step", name)
		}
	}
}

// nextHop reports whether a send connector has an actor for its next hop.
func (s *Scenario) nextHop(a Actor) bool {
	return s.Organisation != nil && slices.ContainsFunc(s.Organisation.SendConnectors, func(c org.SendConnector) bool { return c.SmartHost.Addr() == a.Address })
}

// actorOf checks one actor.
func (l *loader) actorOf(name string, a Actor) {
	l.certificate(a.Places.At("certificate", a.Pos), a.Certificate)
	if a.Certificate != good && a.Transport != TLS {
		l.f.Report(a.Places.At("certificate", a.Pos), "transport: tls", "actor %q: a certificate is shown over TLS alone", name)
	}
	for key, said := range map[string]bool{"transport": a.Transport != TCP, "media": a.Media != RTP} {
		if said && knownRole(a.Role) && a.Role != roleGateway {
			l.f.Report(a.Places.At(key, a.Pos), "", "actor %q: %s is a setting of an ip-gateway", name, key)
		}
	}
	if o := l.s.Organisation; o != nil && a.Role == roleGateway {
		if p, err := profile.Load(o.Version); err == nil && !p.HasUM() {
			l.f.Report(a.Places.At("role", a.Pos), "organisation: {version: \"2016\"}", "actor %q: Exchange %s has no Unified Messaging, which an ip-gateway calls", name, o.Version)
		}
	}
	if a.Role != roleBox {
		if a.Between != "" {
			l.f.Report(a.Places.At("between", a.Pos), "", "actor %q: between is a setting of a middlebox", name)
		}
		return
	}
	if a.Device == External {
		l.f.Report(a.Places.At("device", a.Pos), "leave a real middlebox out of the file: the actors' traffic passes through it", "actor %q: a middlebox is simulated", name)
	}
	if of, ok := l.s.Actors[a.Between]; !ok || of.Role == roleBox {
		l.f.Report(a.Places.At("between", a.Pos), yamlfile.Suggest(a.Between, slices.Sorted(maps.Keys(l.s.Actors))), "actor %q: between %q names no actor that calls or sends", name, a.Between)
	}
	l.used[name] = true
}

// server reports a server that is not there, or does not run a service.
func (l *loader) server(at yamlfile.Pos, name, service string) {
	o := l.s.Organisation
	if o == nil {
		return
	}
	s := o.ServerNamed(name)
	if s == nil {
		var names []string
		for _, s := range o.Servers {
			names = append(names, s.Name)
		}
		l.f.Report(at, yamlfile.Suggest(name, names), "no server is named %q", name)
		return
	}
	if service == "" {
		return
	}
	if p, err := profile.Load(o.Version); err == nil && !s.Has(org.Role(p.RoleOf(service))) {
		l.f.Report(at, "", "server %s has no %s: it is no %s server", name, service, p.RoleOf(service))
	}
}

func (l *loader) values(values map[string]Value) {
	for key, v := range values {
		l.value(&v)
		values[key] = v
	}
}

// value checks a condition. A trace holds no secret, so that a condition on one
// is met by its stars.
func (l *loader) value(v *Value) {
	for _, key := range []string{"matches", "lacks"} {
		pattern, ok := v.Get(key)
		if !ok || l.s.mask(pattern.Text) == pattern.Text {
			continue
		}
		l.f.Report(pattern.Pos, "is, in, or a plain value", "%s: a secret is no regular expression: the trace has stars in its place", key)
	}
	v.Value = l.s.maskValue(v.Value)
	v.compile(l.f)
}

func (l *loader) matcher(m *Matcher) {
	l.event(m.Places.At("event", m.Pos), m.Event)
	l.fields(m.Places.At("where", m.Pos), m.Event, m.Where)
	if places := l.places(); m.At != "" && !slices.Contains(places, m.At) {
		l.f.Report(m.Places.At("at", m.Pos), yamlfile.Suggest(m.At, places), "no listener and no host is named %q", m.At)
	}
	if m.Call != "" {
		l.callID(m.Places.At("call", m.Pos), m.Call)
	}
	l.values(m.Where)
	if m.Event == "load.step" {
		l.units(m.Where)
	}
	l.values(m.Header)
	l.values(m.SDP)
	l.value(&m.Body)
}

// units reports times without a unit, which would be seconds.
func (l *loader) units(where map[string]Value) {
	for _, key := range []string{"p50", "p90", "p95", "p99", "max"} {
		v, ok := where[key]
		for _, p := range v.Pairs {
			if _, err := strconv.ParseFloat(p.Value.Text, 64); ok && err == nil {
				l.f.Report(p.Value.Pos, "such as "+p.Value.Text+"ms", "%s: %q is a time without a unit", key, p.Value.Text)
			}
		}
	}
}

// envelope are the members of every event that a condition may name.
var envelope = []string{"host", "listener", "session", "cause", "name", "raw"}

// fields reports conditions on fields that the event does not have: they could
// never be met, and a never could not fail.
func (l *loader) fields(at yamlfile.Pos, event string, where map[string]Value) {
	known, found := fieldsOf(event)
	for _, key := range slices.Sorted(maps.Keys(where)) {
		if found && !slices.Contains(known, key) {
			l.f.Report(cmp.Or(where[key].Pos, at), yamlfile.Suggest(key, known), "%s has no field %q", event, key)
		}
	}
}

// fieldsOf are the names of an event's fields, if there is such an event.
func fieldsOf(event string) (known []string, found bool) {
	known = slices.Clone(envelope)
	for _, e := range Events() {
		if e.Name == event {
			found = true
			for _, f := range e.Fields {
				known = append(known, f.Key)
			}
		}
	}
	return known, found
}

// places are the listeners and hosts of a run.
func (l *loader) places() []string {
	names := []string{roleGateway, roleMail, roleBox, "scenario"}
	names = slices.AppendSeq(names, maps.Keys(l.s.Actors))
	if l.s.Organisation == nil {
		return names
	}
	for _, s := range l.s.Organisation.Servers {
		names = append(names, s.Name)
	}
	if p, err := profile.Load(l.s.Organisation.Version); err == nil {
		for _, r := range p.Ports {
			names = append(names, r.ID)
		}
		names = append(names, l.s.Organisation.ConnectorIDs(p)...)
	}
	return names
}

// event reports a name that no part of exsim records.
func (l *loader) event(at yamlfile.Pos, name string) {
	if name == "" {
		return
	}
	var names []string
	for _, e := range Events() {
		if e.Name == name {
			return
		}
		names = append(names, e.Name)
	}
	hint := yamlfile.Suggest(name, names)
	l.f.Report(at, cmp.Or(hint, "exsim events lists them"), "no event is named %q", name)
}

func (l *loader) callID(at yamlfile.Pos, id string) {
	opened, ok := l.calls[id]
	switch {
	case !ok:
		l.f.Report(at, yamlfile.Suggest(id, names(l.calls)), "no call step before this one has the id %q", id)
	case opened.group == l.group && opened.branch != l.branch && l.branch > 0:
		l.f.Report(at, "put it into the branch of the call, or behind parallel", "call %q is opened beside this step, and may not be up yet", id)
	}
}

// opens notes the id of a call.
func (l *loader) opens(id string) {
	if _, twice := l.calls[id]; twice {
		l.f.Report(l.at("id"), "", "call id %q stands twice", id)
	}
	l.calls[id] = place{}
	if l.branch > 0 {
		l.calls[id] = place{l.group, l.branch}
	}
}

// actor checks who does a step: an actor with this role.
func (l *loader) actor(at yamlfile.Pos, name, role string) {
	switch actor, ok := l.s.Actors[name]; {
	case !ok:
		l.f.Report(at, yamlfile.Suggest(name, slices.Sorted(maps.Keys(l.s.Actors))), "no actor is named %q", name)
	case role != "" && actor.Role != role && knownRole(actor.Role):
		l.f.Report(at, "", "%s is %s, and this is done by %s", name, a(actor.Role), a(role))
	}
	l.used[name] = true
}

func (l *loader) faults(list []PlantedFault) {
	for i := range list {
		l.fault(&list[i])
	}
}

func causeIDs() []string {
	var ids []string
	for _, c := range Causes() {
		ids = append(ids, c.ID)
	}
	for _, c := range pathCauses {
		ids = append(ids, c.id)
	}
	return ids
}

// certificate checks a kind of certificate.
func (l *loader) certificate(at yamlfile.Pos, certificate string) {
	kinds := []string{good}
	for _, b := range admit.Bads() {
		kinds = append(kinds, string(b))
	}
	if certificate != "" && !slices.Contains(kinds, certificate) {
		l.f.Report(at, cmp.Or(yamlfile.Suggest(certificate, kinds), strings.Join(kinds, ", ")), "unknown certificate %q", certificate)
	}
}
