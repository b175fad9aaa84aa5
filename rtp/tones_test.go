package rtp

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heardIn feeds audio to a listener, packet by packet.
func heardIn(c Codec, audio []byte) string {
	l := listener{digits: true}
	var b strings.Builder
	for len(audio) >= frameSamples {
		b.WriteString(string(l.frame(c, audio[:frameSamples])))
		audio = audio[frameSamples:]
	}
	return b.String()
}

// Keys are found in both laws, wherever packets cut them, also in noise; speech
// and pure tones are no keys.
func TestTonesAreHeard(t *testing.T) {
	const all = "1234567890*#ABCD"
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, c := range []Codec{PCMU, PCMA} {
		for shift := range 20 {
			audio := append(Quiet(c, time.Duration(shift)*time.Millisecond), Keys(c, all)...)
			for i := range audio {
				audio[i] = c.Encode(c.Decode(audio[i]) + int16(rnd.IntN(600)-300))
			}
			require.Equal(t, all, heardIn(c, audio), "%s, cut at %d ms", c, shift)
		}
		require.Equal(t, "CNG", heardIn(c, Tone(c, CNGHz, 500*time.Millisecond)))
		require.Empty(t, heardIn(c, Tone(c, CNGHz, 300*time.Millisecond)), "too short")
		require.Empty(t, heardIn(c, Tone(c, 1000, time.Second)))
		require.Empty(t, heardIn(c, Tone(c, 697, time.Second)))
	}
	speech, err := os.ReadFile("../sim/gateway/speech.wav")
	require.NoError(t, err)
	octets, err := ReadWAV(speech, PCMU)
	require.NoError(t, err)
	require.Empty(t, heardIn(PCMU, octets))
}

// multimon-ng hears in our tones what we put there.
func TestTonesByMultimon(t *testing.T) {
	multimon, err := exec.LookPath("multimon-ng")
	sox, serr := exec.LookPath("sox")
	if err != nil || serr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("multimon-ng and sox are not there: sudo make peers")
		}
		t.Skip("multimon-ng and sox are not there: sudo make peers")
	}
	file := filepath.Join(t.TempDir(), "keys.wav")
	require.NoError(t, os.WriteFile(file, WAV(PCMU, Keys(PCMU, "1234567890*#ABCD")), 0o600))
	raw := strings.TrimSuffix(file, "wav") + "raw"
	out, err := exec.CommandContext(t.Context(), sox, file, "-r", "22050", "-e", "signed", "-b", "16", raw).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.CommandContext(t.Context(), multimon, "-q", "-a", "DTMF", "-t", "raw", raw).CombinedOutput()
	require.NoError(t, err, string(out))
	var heard strings.Builder
	for line := range strings.Lines(string(out)) {
		if d, ok := strings.CutPrefix(strings.TrimSpace(line), "DTMF: "); ok {
			heard.WriteString(d)
		}
	}
	require.Equal(t, "1234567890*#ABCD", heard.String())
}
