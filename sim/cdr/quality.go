package cdr

import (
	"math"
	"strconv"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// quality is what was received of a call.
type quality struct {
	packets, lost int64
	jitter, gap   time.Duration
	known         bool
}

func measured(e *trace.Event) quality {
	duration := func(key string) time.Duration {
		v, _ := e.Get(key)
		d, _ := v.(time.Duration)
		return d
	}
	return quality{e.Int("packets"), e.Int("lost"), duration("jitter"), duration("longest_gap"), true}
}

func (q quality) loss() float64 {
	if q.packets+q.lost == 0 {
		return 0
	}
	return 100 * float64(q.lost) / float64(q.packets+q.lost)
}

// columns are NMOS, its degradation, jitter (ms), loss (%), round trip (not
// known: no RTCP answers are timed), and the longest gap (ms).
func (q quality) columns() []string {
	if !q.known || q.packets == 0 {
		return []string{"", "", "", "", "", ""}
	}
	mos := NMOS(q.loss(), q.jitter)
	ms := func(d time.Duration) string {
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
	}
	return []string{
		strconv.FormatFloat(mos, 'f', 2, 64), strconv.FormatFloat(NMOS(0, 0)-mos, 'f', 2, 64), ms(q.jitter),
		strconv.FormatFloat(q.loss(), 'f', 2, 64), "", ms(q.gap),
	}
}

// NMOS estimates how a listener would rate narrow-band speech in G.711, 1 to 5,
// from packets lost (per cent) and jitter: the E-model of ITU-T G.107 with
// random loss, concealment of appendix I (Bpl 25.1), and a jitter buffer of
// twice the jitter as its only delay.
func NMOS(loss float64, jitter time.Duration) float64 {
	const (
		base = 93.2 // R of an undisturbed call
		bpl  = 25.1
	)
	impairment := 95 * loss / (loss + bpl)
	delay := 20 + 2*float64(jitter)/float64(time.Millisecond)
	r := base - impairment - 0.024*delay - 0.11*math.Max(0, delay-177.3)
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
}
