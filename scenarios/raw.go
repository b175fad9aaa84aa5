package scenarios

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/yamlfile"
)

// raw replaces parts of a simulated actor's message, or all of it.
type raw struct {
	Headers map[string]string `yaml:"headers" doc:"headers with the values that they have instead; one that is not there is added, an empty value takes it away; From keeps its tag, by which the call is known, unless it is given one"`
	Message string            `yaml:"message" doc:"the message in place of the actor's own; {Via} and other names stand for the values of its headers, {body} for its body"`
}

// raw checks that an actor can send it.
func (l *loader) raw(at yamlfile.Pos, r *raw, actor string) {
	switch {
	case r == nil:
	case l.s.Actors[actor].Device == External:
		l.f.Report(at, "", "raw: %s is an external device: it sends what it sends", actor)
	case len(r.Headers) > 0 && r.Message != "":
		l.f.Report(at, "{headers: {From: ...}} or {message: ...}", "raw: wants headers or a message, not both")
	case len(r.Headers) == 0 && r.Message == "":
		l.f.Report(at, "{headers: {From: ...}} or {message: ...}", "raw: wants headers, or a message")
	default:
		for _, name := range names(r.Headers) {
			if name == "" || strings.Trim(name, headerLetters) != "" {
				l.f.Report(at, "letters, digits and hyphens, without the colon", "raw: %q is no name of a header", name)
			}
			if strings.ContainsAny(r.Headers[name], "\r\n") {
				l.f.Report(at, "message: replaces the whole", "raw: the value of %s has a line end", name)
			}
		}
	}
}

// headerLetters are those of a token (RFC 3261 §25.1).
const headerLetters = nameLetters + "!%*+`'~"

var placeName = regexp.MustCompile(`\{[A-Za-z-]+\}`)

// apply makes of a message what is sent in its place.
func (r *raw) apply(message []byte) []byte {
	if r == nil {
		return message
	}
	head, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	if r.Message != "" {
		text := placeName.ReplaceAllStringFunc(r.Message, func(name string) string {
			name = strings.Trim(name, "{}")
			if name == "body" {
				return string(body)
			}
			value, _ := header(message, name)
			return value
		})
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
		if !strings.Contains(text, "\r\n\r\n") {
			text = strings.TrimRight(text, "\r\n") + "\r\n\r\n"
		}
		return []byte(text)
	}
	lines := strings.Split(string(head), "\r\n")
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		lines = replaced(lines, name, tagged(message, name, r.Headers[name]))
	}
	return append([]byte(strings.Join(lines, "\r\n")+"\r\n\r\n"), body...)
}

// tagged keeps the tag of From and To, by which the call is known, unless the
// new value has one.
func tagged(message []byte, name, value string) string {
	was, _ := header(message, name)
	_, tag, has := strings.Cut(was, ";tag=")
	party := strings.EqualFold(name, "From") || strings.EqualFold(name, "To")
	if !party || !has || value == "" || strings.Contains(value, ";tag=") {
		return value
	}
	return value + ";tag=" + tag
}

// replaced gives a header another value; the first line is not one of them
// where it has no name, as that of SIP.
func replaced(lines []string, name, value string) []string {
	var out []string
	done := value == ""
	for _, l := range lines {
		if key, _, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			if !done {
				out, done = append(out, name+": "+value), true
			}
			continue
		}
		out = append(out, l)
	}
	if !done {
		out = append(out, name+": "+value)
	}
	return out
}
