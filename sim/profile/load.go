package profile

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed data/*.yaml
var data embed.FS

// Versions lists the Exchange versions that can be loaded.
func Versions() []string {
	names, err := fs.Glob(data, "data/*.yaml")
	if err != nil {
		panic(err) // the pattern is ours
	}
	var versions []string
	for _, n := range names {
		v := strings.TrimSuffix(strings.TrimPrefix(n, "data/"), ".yaml")
		if v != "base" {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions
}

// Known reports, with a reason, a version that cannot be loaded.
func Known(version string) error {
	known := strings.Join(Versions(), ", ")
	switch {
	case slices.Contains(Versions(), version):
		return nil
	case strings.EqualFold(version, "se"):
		return fmt.Errorf("profile: Exchange SE is simulated as %q, from which it came", "2019")
	}
	return fmt.Errorf("profile: Exchange version %q is not known; known are %s", version, known)
}

// Override is a user's file of facts.
type Override struct {
	Name string
	Data []byte
}

// Load makes the profile of a version, with the facts of a user's files in
// place of assumed ones. The error lists every mistake with its place.
func Load(version string, overrides ...Override) (*Profile, error) {
	if err := Known(version); err != nil {
		return nil, err
	}
	text, err := data.ReadFile("data/" + version + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	l := &loader{
		p:     &Profile{Version: version, Sources: map[string]Source{}, Connectors: map[string]Connector{}, Usages: map[string]Usage{}, Replies: map[string]string{}},
		facts: map[string]placed{}, connectors: map[string][]placedValue{},
	}
	if err := l.file("profile/"+version+".yaml", text, false); err != nil {
		return nil, err
	}
	for _, o := range overrides {
		if err := l.file(o.Name, o.Data, true); err != nil {
			return nil, err
		}
	}
	return l.p, l.finish()
}

// model is the form of a data file.
type model struct {
	Base        string                    `yaml:"base"`
	Exchange    string                    `yaml:"exchange"` // of a user's file: the only version that it is about
	Sources     map[string]Source         `yaml:"sources"`
	Ports       []Port                    `yaml:"ports"`
	Facts       yamlfile.Value            `yaml:"facts"`
	Connectors  map[string]yamlfile.Value `yaml:"connectors"`
	Permissions []Permission              `yaml:"permissions"`
	Usages      map[string]Usage          `yaml:"usages"`
	Replies     map[string]yamlfile.Value `yaml:"replies"`
}

// placed is a fact with its place in a file.
type placed struct {
	Fact
	file  *yamlfile.File
	value yamlfile.Value
}

// placedValue is a node with its file.
type placedValue struct {
	file  *yamlfile.File
	value yamlfile.Value
}

type loader struct {
	p     *Profile
	facts map[string]placed
	// connectors are what the files say of each, the base first.
	connectors map[string][]placedValue
}

// file loads one file over what is there; its base comes first.
func (l *loader) file(name string, text []byte, override bool) error {
	var m model
	f, err := yamlfile.Load(name, text, &m)
	if err != nil {
		return err
	}
	if !override {
		l.p.Lineage = append(l.p.Lineage, strings.TrimSuffix(strings.TrimPrefix(name, "profile/"), ".yaml"))
	} else if m.Exchange != "" && !strings.EqualFold(m.Exchange, l.p.Version) {
		f.Report(f.Root.Pos, "", "these are facts of Exchange %s, and this is %s", m.Exchange, l.p.Version)
	}
	if m.Base != "" && !override {
		base, err := data.ReadFile("data/" + m.Base + ".yaml")
		if err != nil {
			return fmt.Errorf("profile: base of %s: %w", name, err)
		}
		if err := l.file("profile/"+m.Base+".yaml", base, false); err != nil {
			return err
		}
	}
	if override && (m.Base != "" || m.Ports != nil || m.Connectors != nil || m.Permissions != nil || m.Usages != nil) {
		f.Report(f.Root.Pos, "the port table and the connectors are documented", "a file of yours holds sources, facts and replies only")
	}
	maps.Copy(l.p.Sources, m.Sources)
	for _, key := range slices.Sorted(maps.Keys(m.Connectors)) {
		l.connectors[key] = append(l.connectors[key], placedValue{f, m.Connectors[key]})
	}
	maps.Copy(l.p.Usages, m.Usages)
	if m.Permissions != nil {
		l.p.Permissions = m.Permissions
	}
	if m.Ports != nil {
		l.p.Ports = m.Ports
	}
	for _, pair := range m.Facts.Pairs {
		l.fact(f, pair.Key, pair.Pos, pair.Value, "value", override)
	}
	replies, _ := f.Root.Get("replies")
	for _, pair := range replies.Pairs {
		l.fact(f, "smtp.reply."+pair.Key, pair.Pos, pair.Value, "text", override)
	}
	l.checkSources(f, m)
	return f.Err()
}

// checkSources holds port rows and connectors to the rule for facts.
func (l *loader) checkSources(f *yamlfile.File, m model) {
	check := func(what string, standing Standing, source string) {
		if _, ok := l.p.Sources[source]; !ok || !standing.valid() {
			f.Report(yamlfile.Pos{}, "", "%s has no known source or standing (%q, %q)", what, source, standing)
		}
	}
	for _, r := range m.Ports {
		check("port row "+r.ID, r.Standing, r.Source)
	}
}

func (s Standing) valid() bool { return s == Documented || s == Observed || s == Assumed }

// fact takes one fact over what was there.
func (l *loader) fact(f *yamlfile.File, key string, at yamlfile.Pos, v yamlfile.Value, valueKey string, override bool) {
	var entry struct {
		Value    yamlfile.Value `yaml:"value"`
		Text     yamlfile.Value `yaml:"text"`
		Standing Standing       `yaml:"standing"`
		Source   string         `yaml:"source"`
		Note     string         `yaml:"note"`
	}
	f.Decode(v, &entry)
	value := entry.Value
	if valueKey == "text" {
		value = entry.Text
	}
	if value.Kind == yamlfile.None {
		f.Report(at, "", "fact %q has no %s", key, valueKey)
		return
	}
	old, known := l.facts[key]
	if override {
		if known && old.Standing != Assumed {
			f.Report(at, "only assumed facts can be overridden", "%q is %s (%s)", key, old.Standing, l.title(old.Source))
			return
		}
		if entry.Standing == "" {
			entry.Standing = Observed
		}
		if entry.Source == "" {
			entry.Source = f.Name
			l.p.Sources[f.Name] = Source{Title: "your file " + f.Name, Address: f.Name}
		}
	}
	if !entry.Standing.valid() {
		f.Report(at, "documented, observed or assumed", "fact %q has the standing %q", key, entry.Standing)
	}
	if _, ok := l.p.Sources[entry.Source]; !ok {
		f.Report(at, yamlfile.Suggest(entry.Source, slices.Sorted(maps.Keys(l.p.Sources))), "fact %q has no known source (%q)", key, entry.Source)
	}
	l.facts[key] = placed{Fact{key, render(value), entry.Standing, entry.Source, entry.Note}, f, value}
}

func (l *loader) title(source string) string {
	if s, ok := l.p.Sources[source]; ok {
		return s.Title
	}
	return source
}

// render prints a value for people.
func render(v yamlfile.Value) string {
	switch v.Kind {
	case yamlfile.List:
		parts := make([]string, len(v.Items))
		for i, item := range v.Items {
			parts[i] = render(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yamlfile.Map:
		parts := make([]string, len(v.Pairs))
		for i, p := range v.Pairs {
			parts[i] = p.Key + ": " + render(p.Value)
		}
		return strings.Join(parts, ", ")
	}
	return v.Text
}

// finish puts every fact into its place and reports unknown and missing ones.
func (l *loader) finish() error {
	bound := map[string]any{}
	for _, b := range l.p.bindings() {
		bound[b.key] = b.into
	}
	keys := slices.Sorted(maps.Keys(bound))
	touched := map[*yamlfile.File]bool{}
	for key, fact := range l.facts {
		touched[fact.file] = true
		if name, ok := strings.CutPrefix(key, "smtp.reply."); ok {
			l.p.Replies[name] = fact.value.Text
		} else if into, ok := bound[key]; ok {
			fact.file.Decode(fact.value, into)
			if r, ok := into.(*Refusal); ok {
				r.Standing = fact.Standing
			}
		} else {
			fact.file.Report(fact.value.Pos, yamlfile.Suggest(key, keys), "unknown fact %q", key)
		}
		l.p.Facts = append(l.p.Facts, fact.Fact)
	}
	slices.SortFunc(l.p.Facts, func(a, b Fact) int { return strings.Compare(a.Key, b.Key) })
	l.sane(bound)
	if err := l.finishConnectors(); err != nil {
		return err
	}
	for file := range touched {
		if err := file.Err(); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if _, ok := l.facts[key]; !ok {
			return fmt.Errorf("profile: %s has no fact %q", l.p.Version, key)
		}
	}
	return nil
}

// newConnector is the key of what New-ReceiveConnector gives.
const newConnector = "new"

// finishConnectors lays what is said of each connector over what a new one has.
func (l *loader) finishConnectors() error {
	for key, said := range l.connectors {
		var c Connector
		if key != newConnector {
			said = slices.Concat(l.connectors[newConnector], said)
		}
		for _, s := range said {
			s.file.DecodeOver(s.value, &c)
			if err := s.file.Err(); err != nil {
				return err
			}
		}
		if _, ok := l.p.Sources[c.Source]; !ok || !c.Standing.valid() {
			return fmt.Errorf("profile: connector %q has no known source or standing (%q, %q)", key, c.Source, c.Standing)
		}
		l.p.Connectors[key] = c
	}
	return nil
}

// sane reports values of the right kind that nothing could run with.
func (l *loader) sane(bound map[string]any) {
	check := func(key string, ok bool, want string) {
		if f, given := l.facts[key]; given && !ok {
			f.file.Report(f.value.Pos, want, "%s: %s", key, f.Value)
		}
	}
	for key := range l.facts {
		if strings.HasPrefix(key, "tls.check.") {
			if level, ok := bound[key].(*string); ok {
				check(key, slices.Contains([]string{"require", "warn", "ignore"}, *level), "require, warn or ignore")
			}
		}
		if r, ok := bound[key].(*Refusal); ok {
			check(key, r.Code >= 400 && r.Code <= 699, "a refusal is answered 400 to 699")
		}
	}
	p := l.p
	known := func(suite string) bool {
		return suite == "AES_CM_128_HMAC_SHA1_80" || suite == "AES_CM_128_HMAC_SHA1_32"
	}
	for key, suites := range map[string][]string{"sdp.crypto-suites": p.SDP.Suites, "sdp.more-crypto-suites": p.SDP.MoreSuites} {
		check(key, !slices.ContainsFunc(suites, func(s string) bool { return !known(s) }), "AES_CM_128_HMAC_SHA1_80 and _32 are spoken here")
	}
	check("tls.min-version", slices.Contains([]string{"1.0", "1.1", "1.2", "1.3"}, p.TLS.MinVersion), `"1.0", "1.1", "1.2" or "1.3"`)
	for key, h := range map[string]Host{"redirect.router-host": p.Redirect.RouterHost, "redirect.service-host": p.Redirect.ServiceHost} {
		check(key, h == HostEcho || h == HostFQDN || h == HostAddress, "address, server-fqdn or echo; a fixed name stands in redirect: of the organisation")
	}
	for key, d := range map[string]time.Duration{
		"um.input-timeout": p.UM.InputTimeout, "um.digit-timeout": p.UM.DigitTimeout, "um.ring-timeout": p.UM.RingTimeout, "transfer.timeout": p.Transfer.Timeout,
		"mwi.refresh": p.MWI.Refresh, "mwi.give-up": p.MWI.GiveUp, "mwi.retry": p.MWI.Retry, "mwi.timeout": p.MWI.Timeout,
	} {
		check(key, d > 0, "more than zero")
	}
	check("um.bad-history-info", p.UM.BadHistory == "refuse" || p.UM.BadHistory == "ignore", "refuse or ignore")
	check("um.diversion-order", p.UM.DiversionOrder == "first" || p.UM.DiversionOrder == "last", "first or last")
	check("um.submit-retry", p.UM.SubmitRetry >= time.Second, "at least 1s")
	check("um.probe-interval", p.UM.ProbeInterval > 0, "more than zero")
	check("um.tone-hz", p.UM.ToneHz > 0 && p.UM.ToneHz < 4000, "more than 0 and less than 4000 Hz")
}
