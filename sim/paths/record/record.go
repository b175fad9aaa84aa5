// Package record is what the two ends of a probe write down: what one sent, what
// reached the other, and what answered. Records are JSON lines, so that a run
// that was cut short leaves a valid part, and those of both ends can be joined.
package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths"
)

// Format is the version of the lines.
const Format = 1

// Line is one line of a record; exactly one of its parts is set.
type Line struct {
	Host  string `json:"host"` // that wrote it
	Head  *Head  `json:"head,omitempty"`
	Bound *Bound `json:"bound,omitempty"`
	Sent  *Sent  `json:"sent,omitempty"`
	Got   *Got   `json:"got,omitempty"`
	Rate  *Rate  `json:"rate,omitempty"`
	End   *End   `json:"end,omitempty"`
}

// Head begins the record of a host.
type Head struct {
	Format  int       `json:"format"`
	Plan    string    `json:"plan"`
	Digest  string    `json:"digest"`
	Started time.Time `json:"started"`
	Clock   *Clock    `json:"clock,omitempty"`
	Offset  uint16    `json:"offset,omitempty"` // that is added to every port
}

// Clock is how the other end's clock differs.
type Clock struct {
	Peer   string        `json:"peer"`
	Offset time.Duration `json:"offset"` // nanoseconds that the peer's clock is ahead
	Within time.Duration `json:"within"` // of the truth, half the shortest round trip
}

// Bound says on which ports of a flow the receiver listened.
type Bound struct {
	Flow    string                   `json:"flow"`
	Ports   paths.PortSet            `json:"ports"`
	Held    paths.PortSet            `json:"held,omitzero"`   // by another program of that machine
	Failed  map[string]paths.PortSet `json:"failed,omitzero"` // by what the machine said
	Sockets string                   `json:"sockets,omitempty"`
}

// Sent is what became of a flow's probes at the sender. A port of Tried that is
// in no other set was never answered.
type Sent struct {
	Flow     string        `json:"flow"`
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took"` // nanoseconds
	Tried    paths.PortSet `json:"tried"`
	Answered paths.PortSet `json:"answered,omitzero"` // by the other end
	Served   paths.PortSet `json:"served,omitzero"`   // by something else that speaks
	Refused  paths.PortSet `json:"refused,omitzero"`  // by a reset or ICMP port unreachable
	Barred   paths.PortSet `json:"barred,omitzero"`   // by ICMP: no way, or prohibited
	Reset    paths.PortSet `json:"reset,omitzero"`    // connected, then reset
	Cut      paths.PortSet `json:"cut,omitzero"`      // connected, then closed
	Silent   paths.PortSet `json:"silent,omitzero"`   // connected, then nothing
	Mangled  paths.PortSet `json:"mangled,omitzero"`  // the answer was not what the other end says
	Slowly   paths.PortSet `json:"slowly,omitzero"`   // of Answered: only when sent slowly
	// Failed are those that the sender's own machine would not send.
	Failed map[string]paths.PortSet `json:"failed,omitzero"`
	From   []netip.AddrPort         `json:"from,omitempty"` // of the first few
	DSCP   int                      `json:"dscp,omitempty"` // that media was marked with
	Stream *Stream                  `json:"stream,omitempty"`
}

// Got is what reached the receiver.
type Got struct {
	Flow     string           `json:"flow"`
	Accepted paths.PortSet    `json:"accepted,omitzero"` // TCP connections, whatever they said
	Arrived  paths.PortSet    `json:"arrived,omitzero"`  // good tokens
	Half     paths.PortSet    `json:"half,omitzero"`     // TCP: a SYN of the sender came, and nothing behind its answer
	From     []netip.AddrPort `json:"from,omitempty"`    // of the first few
	Sources  int              `json:"sources,omitempty"` // different addresses
	DSCP     []int            `json:"dscp,omitempty"`    // marks of media packets
	Other    paths.PortSet    `json:"other,omitzero"`    // bore no good token, and seems to be of the sender
	Trouble  string           `json:"trouble,omitempty"` // why connections could not be accepted
	Strange  []Strange        `json:"strange,omitempty"` // the first few of that
	Stream   *Stream          `json:"stream,omitempty"`
}

// Strange is something that arrived and was no probe of the other end.
type Strange struct {
	Port uint16         `json:"port"`
	From netip.AddrPort `json:"from"`
	At   time.Time      `json:"at"`
	Head []byte         `json:"head,omitempty"` // its first octets
}

// Stream is all that one end sent and received in a dialogue, in clear.
type Stream struct {
	Sent     []byte `json:"sent,omitempty"`
	Received []byte `json:"received,omitempty"`
	TLS      *TLS   `json:"tls,omitempty"`
	Stage    string `json:"stage,omitempty"` // how far it came, in words
	Error    string `json:"error,omitempty"` // why it came no further
}

// TLS is what one end saw of a handshake.
type TLS struct {
	Version string `json:"version,omitempty"`
	Suite   string `json:"suite,omitempty"`
	ALPN    string `json:"alpn,omitempty"`
	Own     string `json:"own,omitempty"`    // SHA-256 of the certificate that it showed
	Peer    string `json:"peer,omitempty"`   // of the one that it was shown
	Issuer  string `json:"issuer,omitempty"` // of the one that it was shown
	Error   string `json:"error,omitempty"`
}

// Rate is what a sender asked of the network in all.
type Rate struct {
	Flows   int     `json:"flows"`
	Limit   float64 `json:"limit"` // new flows a second, 0 is none
	Open    int     `json:"open"`  // at most at once
	Seconds float64 `json:"seconds"`
	Sampled bool    `json:"sampled"`
	Contact string  `json:"contact,omitempty"`
}

// End closes the record of a host.
type End struct {
	How string    `json:"how"` // done, interrupted
	At  time.Time `json:"at"`
}

// Log takes lines, and writes each to a file as it comes.
type Log struct {
	mu    sync.Mutex
	lines []Line
	w     io.Writer
	err   error
}

// NewLog makes a log; w may be nil.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// Add takes a line.
func (l *Log) Add(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if l.w == nil || l.err != nil {
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(line)
	if err == nil {
		_, err = l.w.Write(b.Bytes())
	}
	l.err = err
}

// Keep takes lines that are written already.
func (l *Log) Keep(lines []Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, lines...)
}

// Lines are those so far.
func (l *Log) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line(nil), l.lines...)
}

// Err says why the file could not be written.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// maxLine bounds a line that is read.
const maxLine = 16 << 20

// Read reads a record. A last line that was cut off is left out.
func Read(name string, r io.Reader) ([]Line, error) {
	var lines []Line
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	var bad error
	for n := 1; s.Scan(); n++ {
		if bad != nil {
			return nil, bad
		}
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var l Line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			bad = fmt.Errorf("%s:%d: no line of a record: %w", name, n, err)
			continue
		}
		if l.Head != nil && l.Head.Format != Format {
			return nil, fmt.Errorf("%s:%d: the record has format %d, and %d is read here", name, n, l.Head.Format, Format)
		}
		if l.Sent != nil && l.Sent.Tried.Len() == 0 {
			return nil, fmt.Errorf("%s:%d: a probe of no port", name, n)
		}
		lines = append(lines, l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(lines) == 0 || lines[0].Head == nil {
		return nil, errors.Join(fmt.Errorf("%s is no record of exsim listen or exsim probe: its first line is no head", name), bad)
	}
	return lines, nil
}

// Mend cuts off a last line that was not written whole, so that more can be
// written behind it.
func Mend(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	if whole == len(b) {
		return nil
	}
	return os.Truncate(name, int64(whole))
}

// Lost are the ports from which nothing came back.
func (s *Sent) Lost() paths.PortSet {
	rest := s.Tried
	for _, set := range []paths.PortSet{s.Answered, s.Served, s.Refused, s.Barred, s.Reset, s.Cut, s.Silent, s.Mangled} {
		rest = rest.Minus(set)
	}
	for _, set := range s.Failed {
		rest = rest.Minus(set)
	}
	return rest
}
