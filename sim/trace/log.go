package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/klauspost/compress/s2"
)

// Config says how much a Log keeps in memory and where the rest goes.
type Config struct {
	// Memory bounds the part kept in memory, in octets; 0 means 8 MiB.
	Memory int
	// Dir holds the spill file, made when first needed and removed by Close;
	// "" means the system's folder for temporary files.
	Dir string
	// Header's fields become those of the first event, run.started.
	Header []Field
	// Mask lists secrets: asterisks stand in their place, in texts and in raw
	// bytes, also where they are written as base64.
	Mask []string
}

const (
	chunkSize     = 512 << 10
	defaultMemory = 8 << 20
)

// Log is the timeline. Its methods may be called from any goroutine.
type Log struct {
	start   time.Time
	conf    Config
	secrets [][]byte

	mu      sync.Mutex
	chunks  []*chunk // in order; the last one is being written
	next    uint64   // sequence number of the next event
	ids     map[string]uint64
	words   []string // ids turned round
	recent  [1024]recentWord
	wake    chan struct{} // closed at the next append; nil while nobody waits
	closed  bool
	inMem   int // chunks not yet on disk
	fields  Fields
	spilled *os.File
	spillAt int64
	err     error  // the first failure to spill
	readers int    // cursors that may look at a chunk's buffer
	free    []byte // of the next chunk

	packed []byte // what the spiller writes; only it touches it

	spill     chan struct{} // wakes the spiller
	spillDone chan struct{}
}

// chunk holds consecutive events, in memory or on disk.
type chunk struct {
	first uint64 // sequence number of its first event
	n     int    // events
	buf   []byte // nil once on disk
	size  int    // of buf before it went to disk
	off   int64  // on disk
	disk  int    // octets there, packed
}

// New begins a log with the event run.started.
func New(conf Config) *Log {
	if conf.Memory <= 0 {
		conf.Memory = defaultMemory
	}
	l := &Log{
		start:     time.Now(),
		conf:      conf,
		ids:       map[string]uint64{"": 0},
		words:     []string{""},
		chunks:    []*chunk{{}},
		inMem:     1,
		spill:     make(chan struct{}, 1),
		spillDone: make(chan struct{}),
	}
	byLength := func(a, b string) int { return len(b) - len(a) } // one that is part of another leaves no rest
	for _, secret := range slices.SortedFunc(slices.Values(conf.Mask), byLength) {
		if strings.Trim(secret, "*") != "" {
			l.secrets = append(l.secrets, []byte(secret), []byte(base64.StdEncoding.EncodeToString([]byte(secret))))
		}
	}
	go l.spiller()
	l.Source("", "").Record(Session{}, Session{}, started{conf.Header, l.start}, nil)
	return l
}

// Start is the wall-clock time at which the log began.
func (l *Log) Start() time.Time { return l.start }

// Now is the time an event recorded now would carry; 0 for a nil Log.
func (l *Log) Now() time.Duration {
	if l == nil {
		return 0
	}
	return time.Since(l.start)
}

// Source is where events come from: one listener or role of one host. A nil
// Source records nothing.
type Source struct {
	log            *Log
	host, listener uint64
}

// Source returns the recorder for a listener of a host.
func (l *Log) Source(host, listener string) *Source {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Source{log: l, host: l.id(host), listener: l.id(listener)}
}

// Record appends one event. raw is copied.
func (s *Source) Record(session, cause Session, p Payload, raw []byte) {
	if s == nil {
		return
	}
	s.log.append(s, session, cause, p, raw)
}

// Host is the simulated machine or actor, "" for a nil Source.
func (s *Source) Host() string {
	if s == nil {
		return ""
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.words[s.host]
}

// Log returns the log behind the source, nil for a nil Source.
func (s *Source) Log() *Log {
	if s == nil {
		return nil
	}
	return s.log
}

func (l *Log) append(s *Source, session, cause Session, p Payload, raw []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.appendLocked(s, session, cause, p, raw)
}

func (l *Log) appendLocked(s *Source, session, cause Session, p Payload, raw []byte) {
	c := l.chunks[len(l.chunks)-1]
	if c.buf == nil {
		if c.buf, l.free = l.free, nil; c.buf == nil {
			c.buf = newBuffer()
		}
	}
	begin := len(c.buf)
	b := append(c.buf, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(time.Since(l.start)))
	b = binary.AppendUvarint(b, s.host)
	b = binary.AppendUvarint(b, s.listener)
	b = binary.AppendUvarint(b, l.id(p.EventName()))
	b = binary.AppendUvarint(b, l.id(session.Kind))
	b = binary.AppendUvarint(b, uint64(session.N))
	b = binary.AppendUvarint(b, l.id(cause.Kind))
	b = binary.AppendUvarint(b, uint64(cause.N))
	if raw == nil {
		b = binary.AppendUvarint(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(raw))+1)
		b = append(b, raw...)
		l.mask(b[len(b)-len(raw):])
	}
	l.fields = Fields{log: l, buf: b}
	p.AppendTo(&l.fields)
	b = l.fields.buf
	l.fields.buf = nil
	binary.LittleEndian.PutUint32(b[begin:], uint32(len(b)-begin-4))
	c.buf = b
	c.n++
	l.next++
	if len(b) >= chunkSize {
		l.chunks = append(l.chunks, &chunk{first: l.next})
		l.inMem++
		if l.inMem*chunkSize > l.conf.Memory {
			select {
			case l.spill <- struct{}{}:
			default:
			}
		}
	}
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// mask stars the secrets in what was just written.
func (l *Log) mask(b []byte) {
	for _, secret := range l.secrets {
		for at := bytes.Index(b, secret); at >= 0; at = bytes.Index(b, secret) {
			for i := range secret {
				b[at+i] = '*'
			}
		}
	}
}

func newBuffer() []byte { return make([]byte, 0, chunkSize+chunkSize/8) }

// id interns a word. Names, keys, hosts and listeners are few; values are
// never interned. Nearly all are constants, which a small table finds by their
// place in memory without hashing them; constants lie side by side, unaligned.
func (l *Log) id(word string) uint64 {
	p := unsafe.StringData(word)
	slot := &l.recent[uintptr(unsafe.Pointer(p))%uintptr(len(l.recent))]
	if slot.at == p && slot.n == len(word) && p != nil {
		return slot.id
	}
	id := l.intern(word)
	*slot = recentWord{p, len(word), id}
	return id
}

// recentWord keeps its word alive, so that the place cannot be another's.
type recentWord struct {
	at *byte
	n  int
	id uint64
}

func (l *Log) intern(word string) uint64 {
	if n, ok := l.ids[word]; ok {
		return n
	}
	n := uint64(len(l.words))
	l.ids[word] = n
	l.words = append(l.words, word)
	return n
}

// Kinds of a field's value as stored.
const (
	kindText = iota
	kindInt
	kindFloat
	kindBool
	kindDuration
	kindPart // a part of the raw bytes
)

// Fields is what a Payload writes its fields to.
type Fields struct {
	log *Log
	buf []byte
}

func (f *Fields) key(key string, kind byte) {
	f.buf = binary.AppendUvarint(f.buf, f.log.id(key))
	f.buf = append(f.buf, kind)
}

// Text adds a text field.
func (f *Fields) Text(key, v string) {
	f.key(key, kindText)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(v)))
	f.buf = append(f.buf, v...)
	f.log.mask(f.buf[len(f.buf)-len(v):])
}

// Bytes adds a text field from octets.
func (f *Fields) Bytes(key string, v []byte) {
	f.key(key, kindText)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(v)))
	f.buf = append(f.buf, v...)
	f.log.mask(f.buf[len(f.buf)-len(v):])
}

// Part adds a text field that is n octets of the event's raw bytes from off:
// nothing is copied.
func (f *Fields) Part(key string, off, n int) {
	f.key(key, kindPart)
	f.buf = binary.AppendUvarint(f.buf, uint64(off))
	f.buf = binary.AppendUvarint(f.buf, uint64(n))
}

// Int adds a whole number.
func (f *Fields) Int(key string, v int64) {
	f.key(key, kindInt)
	f.buf = binary.AppendVarint(f.buf, v)
}

// Float adds a number.
func (f *Fields) Float(key string, v float64) {
	f.key(key, kindFloat)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, math.Float64bits(v))
}

// Bool adds a truth value.
func (f *Fields) Bool(key string, v bool) {
	f.key(key, kindBool)
	if v {
		f.buf = append(f.buf, 1)
	} else {
		f.buf = append(f.buf, 0)
	}
}

// Duration adds a span of time.
func (f *Fields) Duration(key string, v time.Duration) {
	f.key(key, kindDuration)
	f.buf = binary.AppendVarint(f.buf, int64(v))
}

// spiller writes full chunks to disk while too many are in memory.
func (l *Log) spiller() {
	defer close(l.spillDone)
	for range l.spill {
		for l.spillOne() {
		}
	}
}

// spillOne moves the oldest full chunk to disk; false when there is no need or
// no way. It is packed first: the words of a protocol repeat, and to write a
// tenth costs less than to write it all.
func (l *Log) spillOne() bool {
	l.mu.Lock()
	var c *chunk
	if l.err == nil && l.inMem*chunkSize > l.conf.Memory {
		i := len(l.chunks) - l.inMem
		if i < len(l.chunks)-1 {
			c = l.chunks[i]
		}
	}
	l.mu.Unlock()
	if c == nil {
		return false
	}
	err := l.openSpill()
	if err == nil {
		l.packed = s2.Encode(l.packed[:cap(l.packed)], c.buf)
		_, err = l.spilled.WriteAt(l.packed, l.spillAt)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = errors.Join(errors.New("trace: cannot spill, the log stays in memory"), err)
		return false
	}
	l.free = c.buf[:0]
	if l.readers > 0 {
		l.free = newBuffer() // one of them may be looking at the old one
	}
	c.off, c.disk, c.size, c.buf = l.spillAt, len(l.packed), len(c.buf), nil
	l.spillAt += int64(c.disk)
	l.inMem--
	return true
}

// openSpill makes the spill file. It is unlinked at once where the system
// allows that, so that nothing stays behind a crash.
func (l *Log) openSpill() error {
	if l.spilled != nil {
		return nil
	}
	f, err := os.CreateTemp(l.conf.Dir, "exsim-trace-*")
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name())
	l.mu.Lock()
	l.spilled = f
	l.mu.Unlock()
	return nil
}

// Err reports why the log could not be spilled, nil if all is well. Nothing is
// lost by such a failure: the log then grows in memory.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close appends run.ended, so that the absence of an event can be judged, and
// ends every Follow. The events stay readable. Later events are not recorded.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.spillDone
		return l.Err()
	}
	l.appendLocked(&Source{log: l}, Session{}, Session{}, ended{l.next}, nil)
	l.closed = true
	close(l.spill)
	l.mu.Unlock()
	<-l.spillDone
	return l.Err()
}
