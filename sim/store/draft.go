package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Draft is a message being written. Either Commit or Abort ends it. It is in
// memory until it grows large.
type Draft struct {
	s    *Store
	id   string
	mem  []byte
	f    *os.File // what is too large for memory, nil before
	size int64
	crc  uint32

	named bool // the file has the name of an item
}

// maxMemory is what a draft holds in memory.
const maxMemory = 256 << 10

// drafts are used again.
var drafts = sync.Pool{New: func() any { b := make([]byte, 0, 80<<10); return &b }}

// Create begins a message.
func (s *Store) Create() (*Draft, error) {
	mem, _ := drafts.Get().(*[]byte)
	return &Draft{s: s, id: newID(), mem: (*mem)[:0]}, nil
}

// Size is how many octets were written.
func (d *Draft) Size() int64 { return d.size }

// ID is the one that its items will have.
func (d *Draft) ID() string { return d.id }

// Write appends to the message.
func (d *Draft) Write(b []byte) (n int, err error) {
	switch {
	case d.f == nil && len(d.mem)+len(b) <= maxMemory:
		d.mem = append(d.mem, b...)
		n = len(b)
	case d.f == nil:
		if err := d.spill(filepath.Join(d.s.tmp(), d.id)); err != nil {
			return 0, err
		}
		fallthrough
	default:
		n, err = d.f.Write(b)
	}
	d.size += int64(n)
	d.crc = crc32.Update(d.crc, castagnoli, b[:n])
	return n, err
}

// spill moves what there is to a file.
func (d *Draft) spill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	d.f = f
	_, err = f.Write(d.mem)
	return err
}

// Reader reads what was written so far.
func (d *Draft) Reader() (io.ReadCloser, error) {
	if d.f == nil {
		return io.NopCloser(bytes.NewReader(d.mem)), nil
	}
	return os.Open(d.f.Name())
}

// Abort throws the message away.
func (d *Draft) Abort() {
	if d.f != nil {
		_ = d.f.Close()
		if !d.named {
			_ = os.Remove(d.f.Name())
		}
	}
	if d.mem != nil {
		mem := d.mem
		d.mem = nil
		if cap(mem) <= maxMemory {
			drafts.Put(&mem)
		}
	}
}

// Commit puts the message into each folder: into the journal, synced, and then
// into files.
func (d *Draft) Commit(folders ...string) ([]Item, error) { return d.commit(nil, folders) }

// Replace puts the message into the folder of an item, in its place: a crash
// leaves the one or the other.
func (d *Draft) Replace(old Item) (Item, error) {
	items, err := d.commit([]string{d.s.below(old.Path)}, []string{old.Folder})
	if err != nil {
		return Item{}, err
	}
	_ = os.Remove(old.Path) // the journal knows that it is gone
	return items[0], nil
}

func (d *Draft) commit(old, folders []string) ([]Item, error) {
	defer d.Abort()
	if len(folders) == 0 {
		return nil, nil
	}
	items := make([]Item, 0, len(folders))
	r := record{Size: d.size, CRC: d.crc, Old: old}
	for _, folder := range folders {
		dir, err := d.s.folder(folder)
		if err != nil {
			return nil, err
		}
		item := Item{Folder: folder, ID: d.id, Path: filepath.Join(dir, d.id+".eml"), Size: d.size}
		items = append(items, item)
		r.Paths = append(r.Paths, d.s.below(item.Path))
	}
	made, err := d.s.journal.appendMessage(r, d)
	if err != nil {
		return nil, err
	}
	err = d.files(items)
	made()
	if err != nil && len(old) > 0 {
		return nil, err // what it takes the place of is gone: the journal makes it when the store is opened
	}
	if err != nil {
		undo(items)
		r.Size, r.CRC, r.Gone = 0, 0, true
		return nil, errors.Join(err, d.s.journal.append(r))
	}
	return items, nil
}

// halfMade is the end of the name of a message's file before it is whole.
const halfMade = ".part"

// files makes the files of items: one, that has its name when it is whole, and
// links to it.
func (d *Draft) files(items []Item) error {
	if d.f == nil {
		// In the folder that it stays in: a rename there is much cheaper.
		if err := d.spill(strings.TrimSuffix(items[0].Path, ".eml") + halfMade); err != nil {
			return err
		}
	}
	if err := os.Rename(d.f.Name(), items[0].Path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	d.named = true
	for _, i := range items[1:] {
		if err := os.Link(items[0].Path, i.Path); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// undo takes items away again: all or none.
func undo(items []Item) {
	for _, done := range items {
		_ = os.Remove(done.Path)
	}
}
