package rtp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However long a stream is, its course has few bins, and nothing in it is lost.
func TestCourse(t *testing.T) {
	for _, length := range []int{1, 10, courseBins * 10, courseBins*10 + 1, 100_000} {
		var c course
		for i := range length {
			at := time.Minute + time.Duration(i)*frameTime
			c.packet(at, uint64(i/100), time.Duration(i), PCMU, []byte{0x80, 0x80})
		}
		var sum bin
		for _, b := range c.bins {
			sum.add(b)
			require.Positive(t, b.packets, "a stretch in the middle is empty")
		}
		require.LessOrEqual(t, len(c.bins), courseBins)
		require.Equal(t, uint32(length), sum.packets)
		require.Equal(t, uint32((length-1)/100), sum.lost)
		require.Equal(t, time.Duration(length-1), sum.jitter)
		require.Equal(t, time.Minute, c.begin)
		require.GreaterOrEqual(t, time.Duration(len(c.bins))*c.width, time.Duration(length-1)*frameTime)
		require.Equal(t, 0, c.bins[0].decibels(), "the loudest octet is full scale")
	}
}

func TestDecibels(t *testing.T) {
	for _, c := range []struct {
		octet byte
		want  int
	}{{PCMU.Silence(), -90}, {PCMU.Encode(16384), -6}, {PCMU.Encode(3277), -20}, {PCMU.Encode(328), -40}} {
		var b bin
		b.add(bin{level: amplitude(PCMU, []byte{c.octet}), samples: 1})
		require.Equal(t, c.want, b.decibels())
	}
}
