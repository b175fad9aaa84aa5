package scenarios

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Value is a condition on one value. A plain value means equal; a mapping may
// hold is, matches, lacks, in, min, max, present.
type Value struct {
	yamlfile.Value
	re      *regexp.Regexp
	lacks   *regexp.Regexp
	min     float64
	max     float64
	present bool
}

// TakeValue is part of yamlfile.Taker.
func (v *Value) TakeValue(y yamlfile.Value) { v.Value = y }

// conditions are the keys of a mapping.
var conditions = []struct{ name, usage string }{
	{"is", "the value is this text"},
	{"matches", "this regular expression (Go's syntax) is found in it"},
	{"lacks", "this regular expression is not found in it, also where there is no value"},
	{"in", "it is one of this list"},
	{"min", "it is a number, at least this"},
	{"max", "it is a number, at most this"},
	{"present", "true: there is a value; false: there is none"},
	{"absent", "the other way round"},
}

func conditionNames() []string {
	names := make([]string, len(conditions))
	for i, c := range conditions {
		names[i] = c.name
	}
	return names
}

// compile checks a condition when the file is loaded.
func (v *Value) compile(f *yamlfile.File) {
	if v.Kind == yamlfile.List {
		f.Report(v.Pos, "write {in: [...]}", "a list is no condition")
	}
	if v.Kind == yamlfile.Map && len(v.Pairs) == 0 {
		f.Report(v.Pos, "{present: true} is met by any value", "an empty condition")
	}
	for _, p := range v.Pairs {
		var err error
		if p.Key != "in" && p.Value.Kind != yamlfile.Scalar && slices.Contains(conditionNames(), p.Key) {
			f.Report(p.Value.Pos, "", "%s: wants a value, got %v", p.Key, p.Value.Kind)
			continue
		}
		switch p.Key {
		case "is":
		case "matches":
			v.re, err = regexp.Compile(p.Value.Text)
		case "lacks":
			v.lacks, err = regexp.Compile(p.Value.Text)
		case "min":
			v.min, err = amount(p.Value.Text)
		case "max":
			v.max, err = amount(p.Value.Text)
		case "in":
			if p.Value.Kind != yamlfile.List {
				err = fmt.Errorf("in wants a list")
			}
		case "present", "absent":
			v.present, err = strconv.ParseBool(p.Value.Text)
			if p.Key == "absent" {
				v.present = !v.present
			}
		default:
			f.Report(p.Pos, yamlfile.Suggest(p.Key, conditionNames()), "unknown condition %q", p.Key)
		}
		if err != nil {
			f.Report(p.Value.Pos, "", "%s: %v", p.Key, err)
		}
	}
}

// amount is a number, or a time in seconds.
func amount(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err == nil {
		return n, nil
	}
	if d, timeErr := time.ParseDuration(text); timeErr == nil {
		return d.Seconds(), nil
	}
	return 0, err
}

// check reports whether a value meets the condition.
func (v *Value) check(got string, present bool) bool {
	if v.Kind == yamlfile.Scalar {
		return present && got == v.Text
	}
	for _, p := range v.Pairs {
		n, numErr := strconv.ParseFloat(got, 64)
		ok := false
		switch p.Key {
		case "is":
			ok = present && got == p.Value.Text
		case "matches":
			ok = present && v.re.MatchString(got)
		case "lacks":
			ok = !v.lacks.MatchString(got)
		case "min":
			ok = present && numErr == nil && n >= v.min
		case "max":
			ok = present && numErr == nil && n <= v.max
		case "in":
			ok = present && slices.ContainsFunc(p.Value.Items, func(i yamlfile.Value) bool { return i.Text == got })
		case "present", "absent":
			ok = present == v.present
		}
		if !ok {
			return false
		}
	}
	return true
}

// String prints the condition as it is read.
func (v *Value) String() string {
	if v.Kind == yamlfile.Scalar {
		return v.Text
	}
	parts := make([]string, len(v.Pairs))
	for i, p := range v.Pairs {
		text := p.Value.Text
		if p.Value.Kind == yamlfile.List {
			var items []string
			for _, item := range p.Value.Items {
				items = append(items, item.Text)
			}
			text = strings.Join(items, "|")
		}
		parts[i] = p.Key + " " + text
	}
	return strings.Join(parts, " and ")
}

// calls maps the ids of call steps to their sessions, as the trace tells.
type calls map[string]trace.Session

// matches reports whether an event is what the matcher describes. If its name
// and call are, misses counts the conditions that are not met and why tells
// the first of them.
func (m *Matcher) matches(e *trace.Event, known calls) (ok bool, misses int, why string) {
	if e.Name != m.Event {
		return false, 0, ""
	}
	if m.Call != "" && (e.Session != known[m.Call] && e.Cause != known[m.Call] || known[m.Call] == trace.Session{}) {
		return false, 0, ""
	}
	unmet := unmet(m.Where, func(key string) (string, bool) {
		v, ok := e.Get(key)
		if !ok {
			return "", false
		}
		return trace.FormatValue(v), true
	})
	for _, w := range missing(m.Header, e.Raw) {
		unmet = append(unmet, "header "+w)
	}
	unmet = append(unmet, m.content(e.Raw)...)
	if m.At != "" && m.At != e.Listener && m.At != e.Host {
		unmet = append([]string{"it is at " + e.Listener + " of " + e.Host}, unmet...)
	}
	if len(unmet) == 0 {
		return true, 0, ""
	}
	return false, len(unmet), unmet[0]
}

// content names the conditions on the body of a message that are not met.
func (m *Matcher) content(raw []byte) (list []string) {
	body := bodyOf(raw)
	for _, w := range unmet(m.SDP, func(key string) (string, bool) { return description(body, key) }) {
		list = append(list, "sdp "+w)
	}
	if m.Body.Kind != yamlfile.None && !m.Body.check(string(body), len(body) > 0) {
		list = append(list, fmt.Sprintf("the body has %d octets that do not match", len(body)))
	}
	return list
}

func bodyOf(raw []byte) []byte {
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return body
}

// description finds the first line of a session description by its letter, or
// the first attribute by its name (RFC 8866 §5); direction is that of the media.
func description(body []byte, key string) (string, bool) {
	if key == "direction" {
		return directionIn(body), len(body) > 0
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if value, ok := strings.CutPrefix(line, key+"="); ok && len(key) == 1 {
			return value, true
		}
		if attribute, ok := strings.CutPrefix(line, "a="); ok {
			if name, value, _ := strings.Cut(attribute, ":"); name == key {
				return value, true
			}
		}
	}
	return "", false
}

func missing(conditions map[string]Value, raw []byte) []string {
	return unmet(conditions, func(key string) (string, bool) { return header(raw, key) })
}

// unmet names the conditions that are not met, in the order of the keys.
func unmet(conditions map[string]Value, get func(key string) (string, bool)) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(conditions)) {
		v := conditions[key]
		got, present := get(key)
		switch {
		case v.check(got, present):
		case !present:
			list = append(list, key+" is absent")
		default:
			list = append(list, key+" is "+strconv.Quote(got))
		}
	}
	return list
}

// header finds the first header of a raw SIP or mail message, folded lines
// joined.
func header(raw []byte, name string) (string, bool) {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	for i, l := range lines {
		key, value, ok := strings.Cut(l, ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(key), name) {
			continue
		}
		for _, next := range lines[i+1:] {
			if next == "" || next[0] != ' ' && next[0] != '\t' {
				break
			}
			value += " " + strings.TrimSpace(next)
		}
		return strings.TrimSpace(value), true
	}
	return "", false
}

// String prints the matcher as it is read.
func (m *Matcher) String() string {
	var b strings.Builder
	b.WriteString(m.Event)
	if m.At != "" {
		b.WriteString(" at " + m.At)
	}
	if m.Call != "" {
		b.WriteString(" of " + m.Call)
	}
	sep := " where "
	for _, part := range []struct {
		prefix string
		values map[string]Value
	}{{"", m.Where}, {"header ", m.Header}, {"sdp ", m.SDP}} {
		for _, key := range slices.Sorted(maps.Keys(part.values)) {
			v := part.values[key]
			b.WriteString(sep + part.prefix + key + " " + v.String())
			sep = ", "
		}
	}
	if m.Body.Kind != yamlfile.None {
		b.WriteString(sep + "body " + m.Body.String())
	}
	return b.String()
}
