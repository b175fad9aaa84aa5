package um

import (
	"embed"
	"fmt"
	"os"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
)

//go:embed prompts/*.wav
var prompts embed.FS

// Prompts are recordings in mu-law at 8 kHz.
type Prompts struct{ Greeting, Pilot []byte }

// LoadPrompts reads the organisation's recordings, and ours where it has none.
func LoadPrompts(p org.Prompts) (Prompts, error) {
	var out Prompts
	for _, r := range []struct {
		file, ours string
		into       *[]byte
	}{{p.Greeting, "prompts/greeting.wav", &out.Greeting}, {p.Pilot, "prompts/pilot.wav", &out.Pilot}} {
		var b []byte
		var err error
		if r.file != "" {
			b, err = os.ReadFile(r.file)
		} else {
			b, err = prompts.ReadFile(r.ours)
		}
		if err != nil {
			return out, fmt.Errorf("um: prompt: %w", err)
		}
		if *r.into, err = rtp.ReadWAV(b, rtp.PCMU); err != nil {
			return out, fmt.Errorf("um: prompt %s: %w", r.file, err)
		}
	}
	return out, nil
}
