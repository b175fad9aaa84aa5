package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// journal is where messages are safe: one file that they are appended to, whose
// syncs are shared by all that wait for one. The files of mailboxes are made
// beside it and synced when a segment is full; what a crash has taken of them is
// made again from the segments when the store is opened.
type journal struct {
	dir, root string
	limit     int64 // of a segment

	mu      sync.Mutex
	changed sync.Cond
	f       *os.File // the segment, nil before the first record
	number  int
	size    int64
	written uint64 // records
	synced  uint64 // of them
	syncing bool
	making  int   // messages whose files are not made yet
	err     error // a sync that failed: nothing is acknowledged any more
}

// record is the head of an entry: a message that lies in folders, or one that
// does so no more.
type record struct {
	Paths []string // below the store, of .eml files
	Size  int64    // of the message, which follows
	CRC   uint32   // of it
	Gone  bool     // the paths are no messages any more
	Old   []string // paths that are no messages any more, because this one is
}

// segmentSize is what a segment holds before the next one is begun.
const segmentSize = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newJournal(root string) *journal {
	j := &journal{dir: filepath.Join(root, journalDir), root: root, limit: segmentSize}
	j.changed.L = &j.mu
	return j
}

// journalDir is the folder of the segments, which no mailbox can have.
const journalDir = ".journal"

// append writes a record without a message and returns when it is on disk.
func (j *journal) append(r record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.room(); err != nil {
		return err
	}
	return j.write(r, nil)
}

// appendMessage writes a record with its message and returns when it is on disk.
// The segment stays until made says that the files of the message are there.
func (j *journal) appendMessage(r record, d *Draft) (made func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.room(); err != nil {
		return nil, err
	}
	j.making++
	made = func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.making--
		j.changed.Broadcast()
	}
	if err := j.write(r, d); err != nil {
		j.making--
		return nil, err
	}
	return made, nil
}

// write writes a record, and its message, and returns when it is on disk. j.mu is
// held.
func (j *journal) write(r record, d *Draft) error {
	head, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b := fmt.Appendf(nil, "%d %08x\n%s\n", len(head), crc32.Checksum(head, castagnoli), head)
	n, err := j.f.Write(b)
	j.size += int64(n)
	if err == nil && d != nil {
		var message io.ReadCloser
		if message, err = d.Reader(); err == nil {
			var m int64
			m, err = io.Copy(j.f, message)
			j.size += m
			_ = message.Close()
			if err == nil && m != r.Size {
				err = io.ErrUnexpectedEOF
			}
		}
	}
	if err != nil { // a record that is cut ends its segment: nothing behind it could be read
		j.err = fmt.Errorf("store: %w", err)
		return j.err
	}
	j.written++
	return j.sync(j.written)
}

// sync waits until a record is on disk; who finds no sync under way begins one
// for all that are written. j.mu is held.
func (j *journal) sync(seq uint64) error {
	for j.synced < seq && j.err == nil {
		if j.syncing {
			j.changed.Wait()
			continue
		}
		j.syncing = true
		upto, f := j.written, j.f
		j.mu.Unlock()
		err := datasync(f)
		j.mu.Lock()
		j.syncing = false
		if err != nil {
			j.err = fmt.Errorf("store: %w", err)
		} else {
			j.synced = upto
		}
		j.changed.Broadcast()
	}
	return j.err
}

// fail ends the journal: nothing is acknowledged any more, and its segments stay.
func (j *journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = fmt.Errorf("store: %w", err)
	j.changed.Broadcast()
	return j.err
}

// room makes a segment with room; a full one goes when the files of all its
// messages are on disk. j.mu is held.
func (j *journal) room() error {
	for (j.syncing || j.making > 0) && j.size >= j.limit {
		j.changed.Wait()
	}
	switch {
	case j.err != nil:
		return j.err
	case j.f != nil && j.size < j.limit:
		return nil
	case j.f != nil:
		if err := j.drop(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	j.number++
	f, err := os.OpenFile(filepath.Join(j.dir, fmt.Sprintf("%08d", j.number)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	j.f, j.size = f, 0
	return errors.Join(syncDir(j.dir), syncDir(j.root))
}

// drop ends the segment: its messages are on disk in files of their own.
func (j *journal) drop() error {
	if err := errors.Join(datasync(j.f), syncAll(j.root)); err != nil {
		j.err = fmt.Errorf("store: %w", err)
		return j.err
	}
	j.synced = j.written
	name := j.f.Name()
	err := errors.Join(j.f.Close(), os.Remove(name))
	j.f = nil
	return err
}

// close leaves no segment behind.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.syncing || j.making > 0 {
		j.changed.Wait()
	}
	if j.f == nil || j.err != nil {
		return j.err
	}
	return j.drop()
}

// replay makes again what a crash has taken, and begins anew.
func (j *journal) replay() error {
	entries, err := os.ReadDir(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(j.dir, e.Name()))
	}
	slices.Sort(names)
	alive := map[string]place{}
	for _, name := range names {
		if err := scan(name, alive); err != nil {
			return err
		}
	}
	for path, at := range alive {
		if err := at.restore(filepath.Join(j.root, path)); err != nil {
			return err
		}
	}
	if err := syncAll(j.root); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// place is where a message lies in a segment; one that is gone has no segment.
type place struct {
	segment string
	offset  int64
	record
}

// scan reads a segment's records up to its end, or to one that was cut: behind
// that nothing was acknowledged.
func scan(name string, alive map[string]place) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	offset := int64(0)
	for {
		rec, n, ok := readHead(r)
		if !ok {
			return nil
		}
		offset += n
		sum := crc32.New(castagnoli)
		if m, err := io.CopyN(sum, r, rec.Size); err != nil || m != rec.Size || rec.Size > 0 && sum.Sum32() != rec.CRC {
			return nil //nolint:nilerr // the record was cut
		}
		for _, p := range rec.Paths {
			if !filepath.IsLocal(p) {
				return fmt.Errorf("store: %s names %q, which is no place in the store", name, p)
			}
			alive[p] = place{name, offset, rec}
		}
		for _, p := range rec.Old {
			if !filepath.IsLocal(p) {
				return fmt.Errorf("store: %s names %q, which is no place in the store", name, p)
			}
			alive[p] = place{record: record{Gone: true}}
		}
		offset += rec.Size
	}
}

// maxRecord bounds the head of a record.
const maxRecord = 16 << 20

func readHead(r *bufio.Reader) (rec record, n int64, ok bool) {
	line, err := r.ReadString('\n')
	var size int
	var sum uint32
	if _, serr := fmt.Sscanf(line, "%d %x\n", &size, &sum); err != nil || serr != nil || size <= 0 || size > maxRecord {
		return rec, 0, false
	}
	head := make([]byte, size+1)
	if _, err := io.ReadFull(r, head); err != nil || crc32.Checksum(head[:size], castagnoli) != sum || json.Unmarshal(head[:size], &rec) != nil || rec.Size < 0 {
		return rec, 0, false
	}
	return rec, int64(len(line) + size + 1), true
}

// restore makes the file of a message as it was acknowledged, if it is not that;
// or takes away that of one that is gone.
func (p *place) restore(path string) error {
	if p.Gone {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store: %w", err)
		}
		return nil
	}
	if whole(path, p.Size, p.CRC) {
		return nil
	}
	from, err := os.Open(p.segment)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer from.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	// The file may be one with others, by links, that are not whole either: a new
	// one takes its place.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = io.Copy(f, io.NewSectionReader(from, p.offset, p.Size))
	return errors.Join(err, f.Close())
}

// whole reports whether a file holds what it should.
func whole(path string, size int64, crc uint32) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, f)
	return err == nil && n == size && (size == 0 || sum.Sum32() == crc)
}
