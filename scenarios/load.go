package scenarios

import (
	"cmp"
	"maps"
	"slices"
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
	calls map[string]bool // ids of call steps so far
	used  map[string]bool // actors

	settings yamlfile.Value // of the step that is checked
}

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
		a := l.s.Actors[name]
		l.certificate(a.Pos, a.Certificate)
		if a.Certificate != good && a.Transport != TLS {
			l.f.Report(a.Pos, "transport: tls", "actor %q: a certificate is shown over TLS alone", name)
		}
	}
	for _, v := range l.s.StepValues {
		l.step(v)
	}
	for _, list := range [][]Matcher{l.s.Goals, l.s.Never} {
		for i := range list {
			l.matcher(&list[i])
		}
	}
	if len(l.s.Steps) == 0 {
		v, _ := l.f.Root.Get("steps")
		l.f.Report(v.Pos, "", "no step: nothing would be proven")
	}
	l.faults(l.s.Faults)
	l.faults(l.s.Catches)
	for _, name := range slices.Sorted(maps.Keys(l.s.Actors)) {
		if !l.used[name] {
			l.f.Report(l.s.Actors[name].Pos, "", "actor %q is not used by any step", name)
		}
	}
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
	if pattern, ok := v.Get("matches"); ok && l.s.mask(pattern.Text) != pattern.Text {
		l.f.Report(pattern.Pos, "is, in, or a plain value", "matches: a secret is no regular expression: the trace has stars in its place")
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
	l.values(m.Header)
	l.values(m.SDP)
	l.value(&m.Body)
}

// envelope are the members of every event that a condition may name.
var envelope = []string{"host", "listener", "session", "cause", "name"}

// fields reports conditions on fields that the event does not have: they could
// never be met, and a never could not fail.
func (l *loader) fields(at yamlfile.Pos, event string, where map[string]Value) {
	known := slices.Clone(envelope)
	found := false
	for _, e := range Events() {
		if e.Name == event {
			found = true
			for _, f := range e.Fields {
				known = append(known, f.Key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(where)) {
		if found && !slices.Contains(known, key) {
			l.f.Report(cmp.Or(where[key].Pos, at), yamlfile.Suggest(key, known), "%s has no field %q", event, key)
		}
	}
}

// places are the listeners and hosts of a run.
func (l *loader) places() []string {
	names := []string{"ip-gateway", "scenario"}
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
	if !l.calls[id] {
		l.f.Report(at, yamlfile.Suggest(id, slices.Sorted(maps.Keys(l.calls))), "no call step before this one has the id %q", id)
	}
}

func (l *loader) actor(at yamlfile.Pos, name string) {
	if _, ok := l.s.Actors[name]; !ok {
		l.f.Report(at, yamlfile.Suggest(name, slices.Sorted(maps.Keys(l.s.Actors))), "no actor is named %q", name)
	}
	l.used[name] = true
}

func (l *loader) faults(list []PlantedFault) {
	for _, f := range list {
		if _, ok := l.s.Actors[f.Actor]; !ok {
			l.f.Report(f.Pos, yamlfile.Suggest(f.Actor, slices.Sorted(maps.Keys(l.s.Actors))), "fault: no actor is named %q", f.Actor)
		}
		i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == f.Do })
		if i < 0 {
			l.f.Report(f.Pos, yamlfile.Suggest(f.Do, faultNames()), "unknown fault %q", f.Do)
			continue
		}
		settings := f.settings()
		for _, setting := range slices.Sorted(maps.Keys(settings)) {
			if needed := faultKinds[i].setting == setting; needed != settings[setting] {
				l.f.Report(f.Pos, "", "fault %s: %s is %s", f.Do, setting, map[bool]string{true: "missing", false: "not its setting"}[needed])
			}
		}
		l.certificate(f.Pos, f.Certificate)
		if ids := causeIDs(); f.Cause != "" && !slices.Contains(ids, f.Cause) {
			l.f.Report(f.Pos, yamlfile.Suggest(f.Cause, ids), "fault %s: unknown cause %q", f.Do, f.Cause)
		}
	}
}

func causeIDs() []string {
	var ids []string
	for _, c := range Causes() {
		ids = append(ids, c.ID)
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
