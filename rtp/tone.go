package rtp

import (
	"math"
	"time"
)

// samples in a frame of 20 ms and in a millisecond, at 8 kHz.
const (
	frameSamples = 160
	perMs        = 8
)

// Tone makes a sine of a frequency in Hz and a length, at half of full scale,
// with edges of 5 ms against clicks.
func Tone(c Codec, hz float64, length time.Duration) []byte {
	n := int(length/time.Millisecond) * perMs
	b := make([]byte, n)
	edge := min(5*perMs, n/2)
	for i := range b {
		level := 16000.0
		if d := min(i, n-1-i); d < edge {
			level *= float64(d) / float64(edge)
		}
		b[i] = c.Encode(int16(level * math.Sin(2*math.Pi*hz*float64(i)/8000)))
	}
	return b
}

// Quiet makes silence of a length.
func Quiet(c Codec, length time.Duration) []byte {
	b := make([]byte, int(length/time.Millisecond)*perMs)
	for i := range b {
		b[i] = c.Silence()
	}
	return b
}
