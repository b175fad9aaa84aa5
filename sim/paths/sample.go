package paths

import (
	"crypto/sha256"
	"encoding/binary"
)

// sampledFrom is the size from which a flow is tried by a sample; one port in
// sampleStep is in it, or one in callStep where each costs a call.
const (
	sampledFrom = 128
	sampleStep  = 64
	callStep    = 1024
)

// edges are ports at which filters often begin or end a range.
var edges = []uint16{1023, 1024, 5060, 16383, 16384, 32767, 32768, 49151, 49152, 61000}

// Sample is the part of a flow's ports that is tried: all of a small flow, and
// of a large one both ends, the usual edges of ranges, and one in 64, even and
// odd in turn. Both ends of a probe take the same.
func (f *Flow) Sample() PortSet {
	if f.Ports.Len() < sampledFrom {
		return f.Ports
	}
	var s PortSet
	for _, r := range f.Ports.ranges {
		for i := range uint16(4) {
			s.Add(r.low + min(i, r.high-r.low))
			s.Add(r.high - min(i, r.high-r.low))
		}
	}
	for _, e := range edges {
		if f.Ports.Has(e) {
			s.Add(e)
		}
	}
	h := sha256.Sum256([]byte(f.ID))
	step := sampleStep
	if len(f.Calls) > 0 {
		step = callStep
	}
	n := int(binary.BigEndian.Uint32(h[:4]) % uint32(step))
	parity := uint16(h[4] & 1)
	for p := range f.Ports.All() {
		if n--; n < 0 && p&1 == parity {
			s.Add(p)
			parity ^= 1
			n = step - 1
		}
	}
	return s
}

// IsSampled says whether Sample leaves ports out.
func (f *Flow) IsSampled() bool { return f.Ports.Len() >= sampledFrom }
