package rtp

import (
	"math"
	"time"
)

// The pairs of tones behind the keys of a telephone (ITU-T Q.23), and the
// calling tone of a fax machine, CNG (ITU-T T.30 §4.2.1).
var (
	lowTones  = [4]float64{697, 770, 852, 941}
	highTones = [4]float64{1209, 1336, 1477, 1633}
	keys      = [4]string{"123A", "456B", "789C", "*0#D"}
)

// CNGHz is the frequency of a fax machine's calling tone: half a second on,
// three seconds off.
const CNGHz = 1100

const (
	sampleRate = 8000

	keyTone  = 100 // ms of a key in the audio
	keyPause = 100
)

// Keys are digits as tones in the audio.
func Keys(c Codec, digits string) []byte {
	var b []byte
	for _, d := range digits {
		for row, line := range keys {
			for column, key := range line {
				if key == d {
					b = append(b, pair(c, lowTones[row], highTones[column], keyTone*perMs)...)
					b = append(b, Quiet(c, keyPause*time.Millisecond)...)
				}
			}
		}
	}
	return b
}

func pair(c Codec, low, high float64, samples int) []byte {
	b := make([]byte, samples)
	for i := range b {
		at := 2 * math.Pi * float64(i) / sampleRate
		b[i] = c.Encode(int16(6000 * (math.Sin(low*at) + math.Sin(high*at))))
	}
	return b
}

// listener finds tones in received audio, frame by frame (Goertzel).
type listener struct {
	digits bool // keys, too

	digit   byte // of the last frame, 0 for none
	frames  int  // in a row that it has lasted
	told    bool
	cng     int // milliseconds of the calling tone
	cngTold bool
}

// Heard is something heard in the audio: a key, or CNG.
type Heard string

// CNG is the calling tone of a fax machine, heard or signalled.
const CNG Heard = "CNG"

// cngLength is how much of half a second must be heard in a row.
const cngLength = 400

// frame looks at one packet's audio and returns what has just been recognised,
// "" for nothing new.
func (l *listener) frame(c Codec, b []byte) Heard {
	if len(b) < 80 {
		return ""
	}
	samples := make([]float64, len(b))
	energy := 0.0
	for i, o := range b {
		samples[i] = float64(c.Decode(o))
		energy += samples[i] * samples[i]
	}
	if energy/float64(len(b)) < quietLevel*quietLevel {
		l.rest()
		return ""
	}
	if !l.cngTold && share(samples, energy, CNGHz) > 0.8 {
		l.cng += len(b) / perMs
		if l.cng >= cngLength {
			l.cngTold = true
			return CNG
		}
		return ""
	}
	l.cng = 0
	if l.digits {
		return l.key(samples, energy)
	}
	return ""
}

func (l *listener) rest() { l.cng, l.digit, l.frames, l.told = 0, 0, 0, false }

// key finds a pair of tones that lasts two frames.
func (l *listener) key(samples []float64, energy float64) Heard {
	row, low := strongest(samples, energy, lowTones)
	column, high := strongest(samples, energy, highTones)
	if low < 0.2 || high < 0.2 || low+high < 0.8 {
		l.digit, l.frames, l.told = 0, 0, false
		return ""
	}
	d := keys[row][column]
	if d != l.digit {
		l.digit, l.frames, l.told = d, 0, false
	}
	l.frames++
	if l.frames < 2 || l.told {
		return ""
	}
	l.told = true
	return Heard(d)
}

func strongest(samples []float64, energy float64, tones [4]float64) (at int, most float64) {
	for i, hz := range tones {
		if s := share(samples, energy, hz); s > most {
			at, most = i, s
		}
	}
	return at, most
}

// share is how much of the energy is at a frequency, 0 to 1.
func share(samples []float64, energy, hz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hz/sampleRate)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = x+k*s1-s2, s1
	}
	return (s1*s1 + s2*s2 - k*s1*s2) * 2 / (energy * float64(len(samples)))
}
