package rtp

import (
	"math"
	"strconv"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// A course is at first a bin for each 200 ms; a long one has wider bins.
const (
	courseBin  = 200 * time.Millisecond
	courseBins = 240
)

// course is one direction of a stream over time: what a plot shows.
type course struct {
	begin time.Duration // since the log began
	width time.Duration // of a bin
	bins  []bin
	lost  uint64 // counted so far
}

// bin is a stretch of a course.
type bin struct {
	packets, lost uint32
	jitter        time.Duration // the highest
	level         uint64        // sum of the amplitudes
	samples       uint32
}

func (b *bin) add(o bin) {
	b.packets += o.packets
	b.lost += o.lost
	b.jitter = max(b.jitter, o.jitter)
	b.level += o.level
	b.samples += o.samples
}

// at is the bin of a moment.
func (c *course) at(when time.Duration) *bin {
	if c.width == 0 {
		c.begin, c.width = when, courseBin
	}
	i := max(int((when-c.begin)/c.width), 0)
	for ; i >= courseBins; i /= 2 {
		c.widen()
	}
	for len(c.bins) <= i {
		c.bins = append(c.bins, bin{})
	}
	return &c.bins[i]
}

// widen makes one bin of two.
func (c *course) widen() {
	n := 0
	for i := 0; i < len(c.bins); i += 2 {
		c.bins[n] = c.bins[i]
		if i+1 < len(c.bins) {
			c.bins[n].add(c.bins[i+1])
		}
		n++
	}
	c.bins = c.bins[:n]
	c.width *= 2
}

// packet counts one; lost is what is missing of the whole stream by now, audio
// is nil where the packet has none.
func (c *course) packet(when time.Duration, lost uint64, jitter time.Duration, codec Codec, audio []byte) {
	b := c.at(when)
	b.packets++
	if lost > c.lost {
		b.lost += uint32(lost - c.lost)
	}
	c.lost = lost
	b.jitter = max(b.jitter, jitter)
	b.level += amplitude(codec, audio)
	b.samples += uint32(len(audio))
}

// amplitude is the sum of the amplitudes of audio.
func amplitude(c Codec, audio []byte) (sum uint64) {
	table := &loudMu
	if c == PCMA {
		table = &loudA
	}
	all := uint32(0) // of a packet it is enough
	for _, octet := range audio {
		all += uint32(table[octet])
	}
	return uint64(all)
}

// loudMu and loudA are the amplitudes of octets.
var loudMu, loudA = func() (mu, a [256]uint16) {
	for i := range 256 {
		v, w := int(decodeMu(byte(i))), int(decodeA(byte(i)))
		mu[i], a[i] = uint16(max(v, -v)), uint16(max(w, -w))
	}
	return mu, a
}()

// fullScale is the highest amplitude of 16 bits.
const fullScale = 1 << 15

// decibels of the mean amplitude below full scale, -90 for silence.
func (b *bin) decibels() int {
	if b.level == 0 {
		return -90
	}
	mean := float64(b.level) / float64(b.samples)
	return max(int(math.Round(20*math.Log10(mean/fullScale))), -90)
}

// plotted is the event of a course.
type plotted struct {
	direction string
	c         *course
}

func (plotted) EventName() string { return "rtp.course" }
func (e plotted) AppendTo(f *trace.Fields) {
	f.Text("direction", e.direction)
	f.Duration("begin", e.c.begin)
	f.Duration("width", e.c.width)
	list := func(key string, value func(b *bin) int64) {
		var text []byte
		for i := range e.c.bins {
			if i > 0 {
				text = append(text, ' ')
			}
			text = strconv.AppendInt(text, value(&e.c.bins[i]), 10)
		}
		f.Bytes(key, text)
	}
	list("packets", func(b *bin) int64 { return int64(b.packets) })
	list("level", func(b *bin) int64 { return int64(b.decibels()) })
	if e.direction == "received" {
		list("lost", func(b *bin) int64 { return int64(b.lost) })
		list("jitter", func(b *bin) int64 { return b.jitter.Microseconds() })
	}
}
