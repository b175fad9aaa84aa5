package sim

import (
	"path/filepath"
	"slices"

	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sim/yamlfile"
)

// CheckRecordings reads the recordings that an organisation's file names, and
// reports each that cannot be played at its place.
func CheckRecordings(name string, text []byte) error {
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return err
	}
	in := func(v yamlfile.Value) {
		file := v.Text
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(name), file)
		}
		if err := um.CheckRecording(file); v.Text != "" && err != nil {
			f.Report(v.Pos, "WAV, 8 kHz, one channel: PCM16, mu-law or A-law", "%v", err)
		}
	}
	if prompts, ok := f.Root.Get("prompts"); ok {
		known := um.PromptNames()
		for _, p := range prompts.Pairs {
			if !slices.Contains(known, p.Key) {
				f.Report(p.Pos, yamlfile.Suggest(p.Key, known), "there is no prompt %q", p.Key)
			}
			in(p.Value)
		}
	}
	for _, list := range []string{"mailboxes", "auto-attendants"} {
		if v, ok := f.Root.Get(list); ok {
			eachRecording(v, in)
		}
	}
	return f.Err()
}

// eachRecording finds what names a recording below a value.
func eachRecording(v yamlfile.Value, in func(v yamlfile.Value)) {
	for _, item := range v.Items {
		eachRecording(item, in)
	}
	for _, p := range v.Pairs {
		if p.Value.Kind == yamlfile.Scalar && slices.Contains([]string{"greeting", "menu", "audio"}, p.Key) {
			in(p.Value)
		}
		eachRecording(p.Value, in)
	}
}
