package sip

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Calls names calls in order of arrival. Requests with the same Call-ID and
// From tag are one call, whichever listeners they reach: that is how the
// INVITE of a redirected call keeps its name. The endpoints of one simulated
// organisation share one Calls. A name is forgotten 32 s after its last use;
// dialogs keep their own copy.
type Calls struct {
	seed maphash.Seed
	last atomic.Uint32

	notices atomic.Uint32
	seen    *aging[uint32]
}

// NewCalls begins at call-1.
func NewCalls() *Calls {
	return &Calls{seed: maphash.MakeSeed(), seen: newAging[uint32](32 * time.Second)}
}

// find returns the name of a call; only begin gives it one.
func (c *Calls) find(callID, fromTag []byte, begin bool) trace.Session {
	key := hash(c.seed, callID, fromTag, nil, nil)
	var n uint32
	if begin {
		n = getOr(c.seen, key, &c.last)
	} else {
		n, _ = c.seen.get(key, true)
	}
	switch {
	case n == 0:
		return trace.Session{}
	case n&notice != 0:
		return trace.Session{Kind: "notice", N: n &^ notice}
	}
	return trace.Session{Kind: "call", N: n}
}

// notice marks the number of a session that is no call: a request outside a
// dialog that somebody wants to find again.
const notice = 1 << 31

// begin names the session of such a request.
func (c *Calls) begin(callID, fromTag string) trace.Session {
	n := c.notices.Add(1)
	c.seen.put(hash(c.seed, []byte(callID), []byte(fromTag), nil, nil), n|notice)
	return trace.Session{Kind: "notice", N: n}
}

// Name names the call of a Call-ID and From tag, also before its first
// message.
func (c *Calls) Name(callID, fromTag string) trace.Session {
	return c.find([]byte(callID), []byte(fromTag), true)
}

// Close stops the forgetting.
func (c *Calls) Close() { c.seen.close() }

// hash mixes the parts of a key, kept apart by a zero octet.
func hash(seed maphash.Seed, a, b, c, d []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range [...][]byte{a, b, c, d} {
		_, _ = h.Write(p) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
