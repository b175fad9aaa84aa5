// Package faults makes sockets and servers misbehave by an exact dose: the
// messages of a byte stream, datagrams, and the replies of a mail server. What
// it does is recorded, so that nobody takes it for the work of the other side.
package faults

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Kind is what goes wrong.
type Kind string

// The kinds that befall messages of a stream: SIP messages, or lines of SMTP.
const (
	Delay     Kind = "delay"         // it and all behind it leave For later
	Silence   Kind = "silence"       // it does not leave
	Duplicate Kind = "duplicate"     // it leaves twice
	Rewrite   Kind = "rewrite"       // its Header, or its SDP line, has another Value
	Strip     Kind = "strip"         // it has no Header; of EHLO's answer, no Keyword
	Mask      Kind = "mask"          // X stands in place of a Keyword, and of parameters
	Stars     Kind = "stars"         // the banner is starred
	CRLF      Kind = "crlf"          // a line feed alone becomes a carriage return and a line feed
	LongLine  Kind = "long-line"     // of more than Octet octets: it does not leave, and the connection ends
	Large     Kind = "large-records" // of more than Octet octets: it does not leave, nor anything behind it
	Answer    Kind = "answer"        // it does not leave: Value is answered in its place
	Split     Kind = "split"         // it leaves in two pieces, cut at Octet, For apart
	Cut       Kind = "cut"           // Octet octets of it leave, then the connection ends
)

// The kinds that befall datagrams.
const (
	Lose    Kind = "rtp-loss"
	Burst   Kind = "rtp-burst" // it and Count-1 behind it are lost
	Jitter  Kind = "rtp-jitter"
	Reorder Kind = "rtp-reorder" // it leaves behind the next one
	Repeat  Kind = "rtp-duplicate"
	Stop    Kind = "rtp-stop" // from For after the first on, all are lost
	Deaf    Kind = "rtp-deaf" // what arrives is not heard
)

// The kinds that befall the replies of a mail server.
const (
	Reply    Kind = "reply"    // Value is answered, and nothing done
	Drop     Kind = "drop"     // it is done; the connection ends in place of the answer
	Stall    Kind = "stall"    // it is done; the answer comes For later
	Truncate Kind = "truncate" // it is done; Octet octets of the answer leave, then the connection ends
)

// The kinds that befall a request that opens a transaction, or a connection.
const (
	Status      Kind = "status"            // Code is answered, and nothing done
	TLSAbort    Kind = "tls-abort"         // the handshake is broken off behind its first message
	NoTLS       Kind = "no-tls"            // no handshake: it speaks in clear
	Certificate Kind = "other-certificate" // it shows one that is wrong in the way Value
	OutOfPorts  Kind = "out-of-ports"      // a call finds no port for its media
	WorkerLate  Kind = "worker-late"       // a call finds no worker process that is ready
	BadGreeting Kind = "corrupt-greeting"  // a greeting cannot be played
)

// Dose says which of the things that a fault can befall it does befall. The
// zero value is all of them.
type Dose struct {
	Nth     int     // this one alone, counted from 1
	From    int     // this one and all behind it
	Every   int     // each of this number
	Percent float64 // by chance
}

// Fault is one thing that goes wrong.
type Fault struct {
	Do Kind
	As Kind // what it is called in events, Do if empty
	Dose
	Of      string // the messages: a method, a status, a verb, a reply's code; the stage of a reply
	Header  string
	SDP     string // letter of a line of a session description, such as c
	Keyword string // of EHLO
	Value   string
	Code    int
	Octet   int
	Count   int
	For     time.Duration
}

// Counted is a fault that counts what it can befall, wherever it is planted.
type Counted struct {
	Fault

	mu     sync.Mutex
	seen   int // that it could befall
	left   int // of a burst
	chance *rand.Rand
}

// New makes a fault that has befallen nothing yet; its chance comes from rnd.
func New(f Fault, rnd func() uint64) *Counted {
	return &Counted{Fault: f, chance: rand.New(rand.NewPCG(rnd(), rnd()))}
}

// due counts, and decides; n is the number of the thing.
func (c *Counted) due() (n int, hit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen++
	if c.left > 0 {
		c.left--
		return c.seen, true
	}
	hit = c.hits(c.seen)
	if hit && c.Do == Burst {
		c.left = c.Count - 1
	}
	return c.seen, hit
}

// hits says whether the n-th is one of the dose.
func (c *Counted) hits(n int) bool {
	switch {
	case c.Nth > 0:
		return n == c.Nth
	case c.From > 0:
		return n >= c.From
	case c.Every > 0:
		return n%c.Every == 0
	case c.Percent > 0:
		return c.chance.Float64()*100 < c.Percent
	}
	return true
}

// Set are the faults of one party, planted and lifted at any time. A nil Set
// has none.
type Set struct {
	src  *trace.Source
	rand func() uint64

	mu      sync.Mutex
	planted []*Counted
}

// NewSet makes a set without faults. What they do is recorded to src; rnd says
// how late a packet is.
func NewSet(src *trace.Source, rnd func() uint64) *Set { return &Set{src: src, rand: rnd} }

// Plant adds a fault; lift takes it away again.
func (s *Set) Plant(c *Counted) (lift func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planted = append(s.planted, c)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.planted = slices.DeleteFunc(s.planted, func(k *Counted) bool { return k == c })
	}
}

// strike is a fault that befalls something, and which one that is of those that
// it can befall.
type strike struct {
	Fault
	n int
}

// strikes are the faults that befall the next thing, of those that can.
func (s *Set) strikes(could func(f *Fault) bool) (list []strike) {
	for _, c := range s.all() {
		if !could(&c.Fault) {
			continue
		}
		if n, hit := c.due(); hit {
			list = append(list, strike{c.Fault, n})
		}
	}
	return list
}

// first is the first fault that befalls the next thing, nil if none does; those
// behind it do not count what it takes.
func (s *Set) first(could func(f *Fault) bool) *strike {
	for _, c := range s.all() {
		if !could(&c.Fault) {
			continue
		}
		if n, hit := c.due(); hit {
			return &strike{c.Fault, n}
		}
	}
	return nil
}

func (s *Set) all() []*Counted {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.planted)
}

// note records that a fault struck.
func (s *Set) note(k *strike, raw []byte) {
	s.src.Record(trace.Session{}, trace.Session{}, struck{cmp.Or(k.As, k.Do), k.n, k.Of}, raw)
}

// Struck records a fault that a party does by itself.
func (s *Set) Struck(do Kind, of string) {
	if s != nil {
		s.src.Record(trace.Session{}, trace.Session{}, struck{do, 1, of}, nil)
	}
}

type struck struct {
	do Kind
	n  int
	of string
}

func (struck) EventName() string { return "fault.struck" }
func (e struck) AppendTo(f *trace.Fields) {
	f.Text("do", string(e.do))
	f.Int("number", int64(e.n))
	f.Text("of", e.of)
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	return []trace.EventType{
		{Name: "fault.struck", Means: "a planted fault has befallen a message, a connection or a reply, or the first datagram", Fields: []trace.FieldType{
			{Key: "do", Means: "the fault"}, {Key: "number", Means: "which one it befell, counted from 1 among those that it can befall"},
			{Key: "of", Means: "the messages, or the stage, that it is about; empty for all"}}},
	}
}
