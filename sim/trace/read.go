package trace

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"os"
	"time"

	"github.com/klauspost/compress/s2"
)

// Follow yields every event from the first one on and then waits for more,
// until the log is closed or ctx is done.
func (l *Log) Follow(ctx context.Context) iter.Seq[Event] { return l.FollowFrom(ctx, 0) }

// FollowFrom yields every event from a sequence number on, as Follow does from
// the first.
func (l *Log) FollowFrom(ctx context.Context, seq uint64) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		c := l.cursor()
		defer c.close()
		c.skip(seq)
		for {
			e, ok, wake := c.next(true)
			if ok {
				if !yield(e) {
					return
				}
				continue
			}
			if wake == nil {
				return
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Events yields the events recorded so far.
func (l *Log) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		c := l.cursor()
		defer c.close()
		for {
			e, ok, _ := c.next(false)
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// cursor is one reader's place in the log.
type cursor struct {
	log   *Log
	chunk int    // index of the chunk being read
	seq   uint64 // of the next event
	off   int    // of the next event in buf
	buf   []byte // what is known of the chunk
	words []string
}

func (l *Log) cursor() *cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
	return &cursor{log: l}
}

func (c *cursor) close() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.readers--
}

// skip goes to an event that was recorded, or is the next one.
func (c *cursor) skip(seq uint64) {
	l := c.log
	l.mu.Lock()
	for c.chunk+1 < len(l.chunks) && l.chunks[c.chunk+1].first <= seq {
		c.chunk++
	}
	c.seq = l.chunks[c.chunk].first
	l.mu.Unlock()
	for c.seq < seq {
		if c.off >= len(c.buf) {
			if _, more := c.fill(false); !more {
				return
			}
			continue
		}
		c.off += 4 + int(binary.LittleEndian.Uint32(c.buf[c.off:]))
		c.seq++
	}
}

// next decodes the next event. Without one it returns, when wait is set and
// the log is open, a channel that closes at the next append.
func (c *cursor) next(wait bool) (Event, bool, <-chan struct{}) {
	for c.off >= len(c.buf) {
		wake, more := c.fill(wait)
		if !more {
			return Event{}, false, wake
		}
	}
	n := int(binary.LittleEndian.Uint32(c.buf[c.off:]))
	e := decode(c.buf[c.off+4:c.off+4+n], c.words)
	e.Seq = c.seq
	c.seq++
	c.off += 4 + n
	return e, true, nil
}

// fill looks for unread octets: more of the current chunk, or the next chunk.
func (c *cursor) fill(wait bool) (wake <-chan struct{}, more bool) {
	l := c.log
	l.mu.Lock()
	k := l.chunks[c.chunk]
	c.words = l.words
	size := k.size
	if k.buf != nil {
		size = len(k.buf)
	}
	if c.off >= size && c.chunk+1 < len(l.chunks) {
		c.chunk, c.off, c.buf = c.chunk+1, 0, nil
		l.mu.Unlock()
		return nil, true
	}
	if c.off >= size {
		defer l.mu.Unlock()
		if l.closed || !wait {
			return nil, false
		}
		if l.wake == nil {
			l.wake = make(chan struct{})
		}
		return l.wake, false
	}
	buf, file, off, disk := k.buf, l.spilled, k.off, k.disk
	l.mu.Unlock()
	if buf == nil {
		var err error
		if buf, err = unspill(file, off, disk); err != nil {
			l.fail(fmt.Errorf("trace: the spilled part cannot be read back: %w", err))
			return nil, false
		}
	}
	c.buf = buf
	return nil, true
}

func unspill(file *os.File, off int64, disk int) ([]byte, error) {
	packed := make([]byte, disk)
	if _, err := file.ReadAt(packed, off); err != nil {
		return nil, err
	}
	return s2.Decode(nil, packed)
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// decode reads one event as appendLocked wrote it. Everything is copied.
func decode(b []byte, words []string) Event {
	d := decoder{b}
	e := Event{At: time.Duration(d.uvarint())}
	e.Host = words[d.uvarint()]
	e.Listener = words[d.uvarint()]
	e.Name = words[d.uvarint()]
	e.Session = Session{words[d.uvarint()], uint32(d.uvarint())}
	e.Cause = Session{words[d.uvarint()], uint32(d.uvarint())}
	if n := d.uvarint(); n > 0 {
		e.Raw = append([]byte{}, d.take(int(n-1))...)
	}
	for len(d.b) > 0 {
		key := words[d.uvarint()]
		e.Fields = append(e.Fields, Field{key, d.value(e.Raw)})
	}
	return e
}

type decoder struct{ b []byte }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n int) []byte {
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) value(raw []byte) any {
	switch d.take(1)[0] {
	case kindText:
		return string(d.take(int(d.uvarint())))
	case kindInt:
		return d.varint()
	case kindFloat:
		return math.Float64frombits(binary.LittleEndian.Uint64(d.take(8)))
	case kindBool:
		return d.take(1)[0] == 1
	case kindDuration:
		return time.Duration(d.varint())
	}
	off, n := int(d.uvarint()), int(d.uvarint())
	return string(raw[off : off+n])
}

// Save writes the events recorded so far to a file as JSON lines.
func (l *Log) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = WriteJSON(f, l.Events())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
