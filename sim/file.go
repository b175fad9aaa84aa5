package sim

import (
	"bytes"
	"slices"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// File is a file that a run was made from; its text goes with the event.
type File struct{ Name string }

// EventName is part of the contract with scenarios.
func (File) EventName() string { return "bench.file" }

// AppendTo writes the fields.
func (e File) AppendTo(f *trace.Fields) { f.Text("file", e.Name) }

// RecordFile keeps the text of an organisation or a scenario with what it led
// to, its passwords and PINs starred.
func RecordFile(src *trace.Source, name string, text []byte) {
	src.Record(trace.Session{}, trace.Session{}, File{name}, Starred(name, text))
}

// Starred is the text of a YAML file with stars for the values of its keys
// password and pin, and for digits that it calls secret. What is no YAML is
// left out.
func Starred(name string, text []byte) []byte {
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil
	}
	secrets := secretsOf(f.Root)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one that is part of another leaves no rest
	for _, s := range secrets {
		text = bytes.ReplaceAll(text, []byte(s), bytes.Repeat([]byte("*"), len(s)))
	}
	return text
}

func secretsOf(v yamlfile.Value) (list []string) {
	for _, item := range v.Items {
		list = append(list, secretsOf(item)...)
	}
	hidden, _ := v.Get("secret")
	for _, p := range v.Pairs {
		secret := p.Key == "password" || p.Key == "pin" || p.Key == "digits" && hidden.Text == "true"
		if secret && p.Value.Text != "" {
			list = append(list, p.Value.Text)
		}
		list = append(list, secretsOf(p.Value)...)
	}
	return list
}
