// Package eventlog tells what stands in Exchange's own event log when something
// happens, by the real ids: these are what administrators search for. The ids
// are data (entries.yaml) with source and standing; the texts are our own.
package eventlog

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed entries.yaml
var entriesYAML []byte

// The names under which Exchange writes these entries.
const (
	sourceUM        = "MSExchange Unified Messaging"
	sourceTransport = "MSExchangeTransport"
)

// Kind is an entry as it is known.
type Kind struct {
	ID       int               `yaml:"id,required"`
	Level    string            `yaml:"level,required"`
	Event    string            `yaml:"event,required"` // of the trace
	Listener string            `yaml:"listener"`       // regular expression
	Where    map[string]string `yaml:"where"`          // regular expressions of fields
	Text     string            `yaml:"text,required"`
	Standing string            `yaml:"standing,required"`
	Source   string            `yaml:"source,required"`
}

// Entry is one line of the log.
type Entry struct {
	ID     int
	Level  string
	Source string // under which Exchange writes it
	Host   string
	At     time.Time // UTC
	Text   string
}

// String is the entry as a line.
func (e Entry) String() string {
	return fmt.Sprintf("%s  %-11s  %s  %d  %s: %s", e.At.Format("2006-01-02 15:04:05"), e.Level, e.Source, e.ID, e.Host, e.Text)
}

// Kinds lists every entry that is known.
var Kinds = sync.OnceValue(func() []Kind {
	var file struct {
		Sources map[string]struct {
			Title   string `yaml:"title,required"`
			Address string `yaml:"address,required"`
		} `yaml:"sources"`
		Entries []Kind `yaml:"entries"`
	}
	if _, err := yamlfile.Load("entries.yaml", entriesYAML, &file); err != nil {
		panic(err) // the file is ours
	}
	for _, k := range file.Entries {
		if _, ok := file.Sources[k.Source]; !ok {
			panic(fmt.Sprintf("entries.yaml: %d has no source %q", k.ID, k.Source))
		}
	}
	return file.Entries
})

// Of is what an event of the trace, which began at start, leaves in the log.
func Of(e *trace.Event, start time.Time) []Entry {
	var list []Entry
	for _, k := range Kinds() {
		if k.Event == e.Name && k.fits(e) {
			list = append(list, Entry{k.ID, k.Level, k.writer(), e.Host, start.Add(e.At).UTC(), fill(k.Text, e)})
		}
	}
	return list
}

// writer is who writes the entry: what an event of SMTP leaves, transport does.
func (k *Kind) writer() string {
	if strings.HasPrefix(k.Event, "smtp.") || strings.HasPrefix(k.Event, "send.") {
		return sourceTransport
	}
	return sourceUM
}

func (k *Kind) fits(e *trace.Event) bool {
	if k.Listener != "" && !matches(k.Listener, e.Listener) {
		return false
	}
	for key, pattern := range k.Where {
		if !matches(pattern, e.Text(key)) {
			return false
		}
	}
	return true
}

var compiled sync.Map // pattern to *regexp.Regexp: the patterns are ours, and few

func matches(pattern, text string) bool {
	re, ok := compiled.Load(pattern)
	if !ok {
		re, _ = compiled.LoadOrStore(pattern, regexp.MustCompile(pattern))
	}
	return re.(*regexp.Regexp).MatchString(text) //nolint:forcetypeassert // nothing else is stored
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

func fill(text string, e *trace.Event) string {
	filled := placeholder.ReplaceAllStringFunc(text, func(name string) string { return e.Text(strings.Trim(name, "{}")) })
	return strings.Join(strings.Fields(filled), " ")
}
