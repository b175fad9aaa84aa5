package paths

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// PortSet is a set of ports, kept as ranges in order that neither touch nor
// overlap. The zero PortSet is empty. A copy shares its ranges with the
// original: only one of them may be added to, port by port.
type PortSet struct{ ranges []span }

type span struct{ low, high uint16 }

// Ports makes a set of single ports.
func Ports(list ...uint16) PortSet {
	var s PortSet
	for _, p := range list {
		s.Add(p)
	}
	return s
}

// PortsBetween makes the set of the ports from low to high.
func PortsBetween(low, high uint16) PortSet {
	if low > high {
		return PortSet{}
	}
	return PortSet{[]span{{low, high}}}
}

// Add puts a port into the set.
func (s *PortSet) Add(p uint16) {
	i, found := s.find(p)
	if found {
		return
	}
	before := i > 0 && s.ranges[i-1].high == p-1 && p != 0
	after := i < len(s.ranges) && s.ranges[i].low == p+1 && p != 65535
	switch {
	case before && after:
		s.ranges[i-1].high = s.ranges[i].high
		s.ranges = slices.Delete(s.ranges, i, i+1)
	case before:
		s.ranges[i-1].high = p
	case after:
		s.ranges[i].low = p
	default:
		s.ranges = slices.Insert(s.ranges, i, span{p, p})
	}
}

// AddSet puts all ports of another set into this one.
func (s *PortSet) AddSet(o PortSet) {
	switch {
	case len(o.ranges) == 0:
		return
	case len(s.ranges) == 0:
		s.ranges = slices.Clone(o.ranges)
		return
	}
	all := slices.Concat(s.ranges, o.ranges)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	joined := all[:1]
	for _, r := range all[1:] {
		last := &joined[len(joined)-1]
		if int(r.low) <= int(last.high)+1 {
			last.high = max(last.high, r.high)
			continue
		}
		joined = append(joined, r)
	}
	s.ranges = joined
}

// Has says whether a port is in the set.
func (s PortSet) Has(p uint16) bool {
	_, found := s.find(p)
	return found
}

// find is the range that holds a port, or the place where it would be.
func (s PortSet) find(p uint16) (at int, found bool) {
	return slices.BinarySearchFunc(s.ranges, p, func(r span, p uint16) int {
		switch {
		case r.high < p:
			return -1
		case r.low > p:
			return 1
		}
		return 0
	})
}

// Len counts the ports.
func (s PortSet) Len() int {
	n := 0
	for _, r := range s.ranges {
		n += int(r.high) - int(r.low) + 1
	}
	return n
}

// All yields the ports in order.
func (s PortSet) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for _, r := range s.ranges {
			for p := int(r.low); p <= int(r.high); p++ {
				if !yield(uint16(p)) {
					return
				}
			}
		}
	}
}

// Minus is what is in this set and not in the other.
func (s PortSet) Minus(o PortSet) PortSet {
	var d PortSet
	k := 0
	for _, r := range s.ranges {
		low := int(r.low)
		for k < len(o.ranges) && o.ranges[k].high < r.low {
			k++
		}
		for n := k; n < len(o.ranges) && o.ranges[n].low <= r.high; n++ {
			if low < int(o.ranges[n].low) {
				d.ranges = append(d.ranges, span{uint16(low), o.ranges[n].low - 1})
			}
			low = int(o.ranges[n].high) + 1
		}
		if low <= int(r.high) {
			d.ranges = append(d.ranges, span{uint16(low), r.high})
		}
	}
	return d
}

// And is what is in both sets.
func (s PortSet) And(o PortSet) PortSet { return s.Minus(s.Minus(o)) }

// First is the lowest port, 0 of an empty set.
func (s PortSet) First() uint16 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[0].low
}

// String gives the ranges as 25,1024-2047.
func (s PortSet) String() string {
	var b strings.Builder
	for i, r := range s.ranges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(r.low)))
		if r.high != r.low {
			fmt.Fprintf(&b, "-%d", r.high)
		}
	}
	return b.String()
}

// MarshalText writes what String gives.
func (s PortSet) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String gives.
func (s *PortSet) UnmarshalText(b []byte) error {
	*s = PortSet{}
	if len(b) == 0 {
		return nil
	}
	for part := range strings.SplitSeq(string(b), ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		l, err1 := strconv.ParseUint(low, 10, 16)
		h, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || l > h {
			return fmt.Errorf("%q is no port and no range LOW-HIGH", part)
		}
		s.AddSet(PortsBetween(uint16(l), uint16(h)))
	}
	return nil
}

// Edges are the ports at which a run of ports begins or has just ended.
func (s PortSet) Edges() []uint16 {
	var list []uint16
	for _, r := range s.ranges {
		list = append(list, r.low)
		if r.high < 65535 {
			list = append(list, r.high+1)
		}
	}
	return list
}

// Ranges yields the first and the last port of each range, in order.
func (s PortSet) Ranges() iter.Seq2[uint16, uint16] {
	return func(yield func(low, high uint16) bool) {
		for _, r := range s.ranges {
			if !yield(r.low, r.high) {
				return
			}
		}
	}
}

// Last is the highest port, 0 of an empty set.
func (s PortSet) Last() uint16 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[len(s.ranges)-1].high
}
