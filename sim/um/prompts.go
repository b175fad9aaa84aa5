package um

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
)

//go:embed prompts/*.wav
var recordings embed.FS

// The shipped recordings, by the names of their files.
const (
	promptGreeting = "greeting"
	promptPilot    = "pilot"
)

// Prompts are recordings in mu-law at 8 kHz: the shipped ones by name, an
// organisation's own by their files.
type Prompts map[string][]byte

// named is a shipped recording, or what the organisation has in its place.
func (p Prompts) named(name string) []byte { return p[name] }

// or is the recording of a file, or a named one where there is no file.
func (p Prompts) or(file, name string) []byte {
	if file != "" {
		return p[file]
	}
	return p[name]
}

// LoadPrompts reads every recording that an organisation needs.
func LoadPrompts(o *org.Organisation) (Prompts, error) {
	p := Prompts{}
	names, err := fs.Glob(recordings, "prompts/*.wav")
	if err != nil {
		return nil, fmt.Errorf("um: prompts: %w", err)
	}
	for _, file := range names {
		b, err := recordings.ReadFile(file)
		if err == nil {
			p[strings.TrimSuffix(path.Base(file), ".wav")], err = rtp.ReadWAV(b, rtp.PCMU)
		}
		if err != nil {
			return nil, fmt.Errorf("um: prompt %s: %w", file, err)
		}
	}
	ours := slices.Sorted(maps.Keys(p))
	for name, file := range o.Prompts {
		if !slices.Contains(ours, name) {
			return nil, fmt.Errorf("um: there is no prompt %q; there are %s", name, strings.Join(ours, ", "))
		}
		if p[name], err = readPrompt(file); err != nil {
			return nil, err
		}
	}
	for _, file := range o.Recordings() {
		if p[file], err = readPrompt(file); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// PromptNames are the names of the shipped recordings.
func PromptNames() []string {
	files, err := fs.Glob(recordings, "prompts/*.wav")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".wav")
	}
	return files
}

// CheckRecording reports why a file cannot be played, nil if it can.
func CheckRecording(file string) error {
	_, err := readPrompt(file)
	return err
}

func readPrompt(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("a recording cannot be read: %w", err)
	}
	octets, err := rtp.ReadWAV(b, rtp.PCMU)
	if err != nil {
		return nil, fmt.Errorf("the recording %s cannot be played: %w", file, err)
	}
	return octets, nil
}
