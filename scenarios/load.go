package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Load reads and checks a scenario. The error lists every mistake with its
// place.
func Load(name string, text []byte) (*Scenario, error) {
	s := &Scenario{File: name}
	f, err := yamlfile.Load(name, text, s)
	if err != nil {
		return nil, err
	}
	l := loader{f: f, s: s, calls: map[string]bool{}, used: map[string]bool{}}
	l.check()
	return s, f.Err()
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

type loader struct {
	f     *yamlfile.File
	s     *Scenario
	calls map[string]bool // ids of call steps so far
	used  map[string]bool // actors
}

func (l *loader) check() {
	if l.s.Version != 1 {
		v, _ := l.f.Root.Get("version")
		l.f.Report(v.Pos, "write version: 1", "version %d of the language is not known", l.s.Version)
	}
	if strings.Trim(l.s.Name, nameLetters) != "" || strings.HasPrefix(l.s.Name, ".") {
		v, _ := l.f.Root.Get("name")
		l.f.Report(v.Pos, "letters, digits, hyphens, underscores and dots: it names files, too", "name %q", l.s.Name)
	}
	l.s.Organisation = org.FromValue(l.f, l.s.OrganisationValue, "2013")
	for _, name := range slices.Sorted(maps.Keys(l.s.Actors)) {
		a := l.s.Actors[name]
		if a.Role != "ip-gateway" {
			l.f.Report(a.Pos, yamlfile.Suggest(a.Role, []string{"ip-gateway"}), "actor %q: unknown role %q", name, a.Role)
		}
		l.papers(a.Pos, a.Transport, a.Media, a.Certificate)
		if a.Transport == "" {
			a.Transport = TCP
		}
		if a.Certificate != "" && a.Transport != TLS {
			l.f.Report(a.Pos, "transport: tls", "actor %q: a certificate is shown over TLS alone", name)
		}
		if a.Certificate == "" {
			a.Certificate = good
		}
		l.s.Actors[name] = a
	}
	for _, v := range l.s.StepValues {
		l.step(v)
	}
	for i := range l.s.Never {
		l.matcher(&l.s.Never[i])
	}
	l.faults(l.s.Faults)
	l.faults(l.s.Catches)
	for _, name := range slices.Sorted(maps.Keys(l.s.Actors)) {
		if !l.used[name] {
			l.f.Report(l.s.Actors[name].Pos, "", "actor %q is not used by any step", name)
		}
	}
}

// verbs are the steps of the language.
var verbs = []string{"call", "dtmf", "expect", "gateway", "hangup", "mail", "maintenance", "recycle", "talk"}

func (l *loader) step(v yamlfile.Value) {
	if v.Kind != yamlfile.Map || len(v.Pairs) != 1 {
		l.f.Report(v.Pos, "such as - call: {...}; verbs are "+strings.Join(verbs, ", "), "a step is one verb with its settings")
		return
	}
	p := v.Pairs[0]
	s := Step{Pos: p.Pos, Verb: p.Key}
	switch p.Key {
	case "call":
		s.Call = &CallStep{}
		l.f.Decode(p.Value, s.Call)
		l.callStep(&s)
	case "expect":
		s.Expect = &Matcher{}
		l.f.Decode(p.Value, s.Expect)
		s.Expect.Within = or(s.Expect.Within, 10*time.Second)
		l.matcher(s.Expect)
		s.Text = "expect " + s.Expect.String()
	case "talk":
		s.Talk = &TalkStep{}
		l.f.Decode(p.Value, s.Talk)
		l.talkStep(&s)
	case "dtmf":
		s.DTMF = &DTMFStep{}
		l.f.Decode(p.Value, s.DTMF)
		l.callID(p.Pos, s.DTMF.Call)
		if s.DTMF.Digits == "" || strings.Trim(s.DTMF.Digits, "0123456789*#ABCD") != "" {
			l.f.Report(p.Pos, "0-9, *, #, A-D", "dtmf: digits %q", s.DTMF.Digits)
		}
		s.Text = fmt.Sprintf("%s presses %s", s.DTMF.Call, s.DTMF.Digits)
	case "hangup":
		s.Hangup = &HangupStep{}
		l.f.Decode(p.Value, s.Hangup)
		l.callID(p.Pos, s.Hangup.Call)
		l.event(p.Pos, s.Hangup.After)
		s.Hangup.Within = or(s.Hangup.Within, 30*time.Second)
		s.Text = s.Hangup.Call + " hangs up"
	case "mail":
		s.Mail = &MailStep{}
		l.f.Decode(p.Value, s.Mail)
		l.mailStep(&s)
	case "recycle":
		s.Recycle = &RecycleStep{}
		l.f.Decode(p.Value, s.Recycle)
		l.server(p.Pos, s.Recycle.Server, "um-worker")
		s.Text = "the worker process of " + s.Recycle.Server + " is recycled"
	case "gateway":
		s.Gateway = &GatewayStep{}
		l.f.Decode(p.Value, s.Gateway)
		l.gatewayStep(&s)
	case "maintenance":
		s.Maintenance = &MaintenanceStep{}
		l.f.Decode(p.Value, s.Maintenance)
		l.server(p.Pos, s.Maintenance.Server, "")
		if st := s.Maintenance.State; st != "active" && st != "inactive" {
			l.f.Report(p.Pos, "active or inactive", "maintenance: state %q", st)
		}
		s.Text = "Unified Messaging of " + s.Maintenance.Server + " is set " + s.Maintenance.State
	default:
		l.f.Report(p.Pos, yamlfile.Suggest(p.Key, verbs), "unknown verb %q", p.Key)
	}
	l.s.Steps = append(l.s.Steps, s)
}

// server reports a server that is not there, or does not run a service.
func (l *loader) server(at yamlfile.Pos, name, service string) {
	o := l.s.Organisation
	if o == nil {
		return
	}
	s := o.ServerNamed(name)
	if s == nil {
		l.f.Report(at, "", "no server is named %q", name)
		return
	}
	if service == "" {
		return
	}
	if p, err := profile.Load(o.Version); err == nil && !s.Has(org.Role(p.RoleOf(service))) {
		l.f.Report(at, "", "server %s has no %s: it is no %s server", name, service, p.RoleOf(service))
	}
}

func (l *loader) gatewayStep(s *Step) {
	g := s.Gateway
	if !slices.Contains(org.Statuses, g.Status) {
		l.f.Report(s.Pos, "Enabled, Disabled or NoNewCalls", "gateway: status %q", g.Status)
	}
	if o := l.s.Organisation; o != nil && !slices.ContainsFunc(o.Gateways, func(k org.UMIPGateway) bool { return k.Name == g.Name }) {
		l.f.Report(s.Pos, "", "gateway: the organisation has no UM IP gateway %q", g.Name)
	}
	s.Text = fmt.Sprintf("UM IP gateway %s is set to %s", g.Name, g.Status)
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (l *loader) callStep(s *Step) {
	c := s.Call
	c.Caller = or(c.Caller, "7125550123")
	c.Reason = or(c.Reason, "no-answer")
	c.Outcome = or(c.Outcome, "answered")
	c.Within = or(c.Within, 10*time.Second)
	if c.Outcome != "answered" && c.Outcome != "refused" {
		l.f.Report(s.Pos, "answered or refused", "call: outcome %q", c.Outcome)
	}
	if l.calls[c.ID] {
		l.f.Report(s.Pos, "", "call id %q stands twice", c.ID)
	}
	l.calls[c.ID] = true
	l.actor(s.Pos, c.From)
	s.Text = fmt.Sprintf("%s: %s calls %s", c.ID, c.From, c.Dial)
	if c.Diverted != "" {
		s.Text += fmt.Sprintf(", diverted from %s (%s)", c.Diverted, c.Reason)
	}
	s.Text += ": " + c.Outcome
}

func (l *loader) talkStep(s *Step) {
	t := s.Talk
	l.callID(s.Pos, t.Call)
	t.After = or(t.After, "um.recording")
	t.Within = or(t.Within, 30*time.Second)
	l.event(s.Pos, t.After)
	if t.For > 10*time.Minute {
		l.f.Report(s.Pos, "", "talk: for is at most 10m, not %s", t.For)
	}
	s.Text = fmt.Sprintf("%s talks for %s after %s", t.Call, t.For, t.After)
}

func (l *loader) mailStep(s *Step) {
	m := s.Mail
	m.Within = or(m.Within, 20*time.Second)
	if m.Call != "" {
		l.callID(s.Pos, m.Call)
	}
	if m.Audio != "" && (m.Audio != "same" || m.Call == "") {
		l.f.Report(s.Pos, "audio: same, with call: ID", "mail: audio %q", m.Audio)
	}
	l.fields(s.Pos, "mail.delivered", m.Where)
	if o := l.s.Organisation; o != nil && !slices.ContainsFunc(o.Mailboxes, func(b org.Mailbox) bool {
		return b.Extension == m.To || strings.EqualFold(b.Address, m.To)
	}) {
		l.f.Report(s.Pos, "an extension or an address of the organisation's mailboxes", "mail: no mailbox is %q", m.To)
	}
	l.values(m.Where)
	l.values(m.Header)
	s.Text = fmt.Sprintf("mail to %s", m.To)
	if m.Audio != "" {
		s.Text += " with what was said"
	}
}

func (l *loader) values(values map[string]Value) {
	for key, v := range values {
		v.compile(l.f)
		values[key] = v
	}
}

func (l *loader) matcher(m *Matcher) {
	l.event(m.Pos, m.Event)
	l.fields(m.Pos, m.Event, m.Where)
	if places := l.places(); m.At != "" && !slices.Contains(places, m.At) {
		l.f.Report(m.Pos, yamlfile.Suggest(m.At, places), "no listener and no host is named %q", m.At)
	}
	if m.Call != "" {
		l.callID(m.Pos, m.Call)
	}
	l.values(m.Where)
	l.values(m.Header)
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
			l.f.Report(or(where[key].Pos, at), yamlfile.Suggest(key, known), "%s has no field %q", event, key)
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
	l.f.Report(at, or(hint, "exsim events lists them"), "no event is named %q", name)
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
	known := slices.Sorted(maps.Keys(faultKinds))
	for _, f := range list {
		if _, ok := l.s.Actors[f.Actor]; !ok {
			l.f.Report(f.Pos, "", "fault: no actor is named %q", f.Actor)
		}
		if !slices.Contains(known, f.Do) {
			l.f.Report(f.Pos, yamlfile.Suggest(f.Do, known), "unknown fault %q", f.Do)
		}
		settings := f.settings()
		for _, setting := range slices.Sorted(maps.Keys(settings)) {
			given := settings[setting]
			if needed := faultKinds[f.Do] == setting; needed != given && slices.Contains(known, f.Do) {
				l.f.Report(f.Pos, "", "fault %s: %s is %s", f.Do, setting, map[bool]string{true: "missing", false: "not its setting"}[needed])
			}
		}
		l.papers(f.Pos, f.Transport, f.Media, f.Certificate)
	}
}

// papers checks a transport, media and a kind of certificate.
func (l *loader) papers(at yamlfile.Pos, t Transport, m Media, certificate string) {
	if m != "" && m != RTP && m != SRTP {
		l.f.Report(at, "rtp or srtp", "unknown media %q", m)
	}
	if t != "" && t != TCP && t != TLS {
		l.f.Report(at, "tcp or tls", "unknown transport %q", t)
	}
	kinds := []string{good}
	for _, b := range admit.Bads() {
		kinds = append(kinds, string(b))
	}
	if certificate != "" && !slices.Contains(kinds, certificate) {
		l.f.Report(at, or(yamlfile.Suggest(certificate, kinds), strings.Join(kinds, ", ")), "unknown certificate %q", certificate)
	}
}
