package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
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
	d.s.names.Lock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	d.s.names.Unlock()
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
func (d *Draft) Commit(folders ...string) ([]Item, error) {
	defer d.Abort()
	if len(folders) == 0 {
		return nil, nil
	}
	items, r, err := d.places("", folders...)
	if err != nil {
		return nil, err
	}
	made, err := d.s.journal.appendMessage(r, d)
	if err != nil {
		return nil, err
	}
	err = d.files(items)
	made()
	if err != nil {
		undo(items)
		r.Size, r.CRC, r.Gone = 0, 0, true
		return nil, errors.Join(err, d.s.journal.append(r))
	}
	return items, nil
}

// Aside puts the message into a folder under another ending, with which it is none
// of the folder's.
func (d *Draft) Aside(folder, ending string) (path string, err error) {
	defer d.Abort()
	items, r, err := d.places(ending, folder)
	if err != nil {
		return "", err
	}
	made, err := d.s.journal.appendMessage(r, d)
	if err != nil {
		return "", err
	}
	defer made()
	return items[0].Path, d.files(items)
}

// Replace puts the message into the folder of an item, in its place and with its
// age: a crash leaves the one or the other.
func (d *Draft) Replace(old Item) (Item, error) {
	defer d.Abort()
	begun, _, _ := strings.Cut(old.ID, "-")
	_, unique, _ := strings.Cut(d.id, "-")
	d.id = begun + "-" + unique
	items, r, err := d.places("", old.Folder)
	if err != nil {
		return Item{}, err
	}
	r.Old = []string{d.s.below(old.Path)}
	if err := d.half(items[0]); err != nil { // behind the journal nothing is left that needs room
		return Item{}, err
	}
	made, err := d.s.journal.appendMessage(r, d)
	if err != nil {
		return Item{}, err
	}
	defer made()
	if err = d.files(items); err == nil {
		err = os.Remove(old.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Item{}, d.s.journal.fail(err) // it is put right when the store is opened
	}
	return items[0], nil
}

// places are the items that the message will be, and their record.
func (d *Draft) places(ending string, folders ...string) (items []Item, r record, err error) {
	r = record{Size: d.size, CRC: d.crc}
	for _, folder := range folders {
		dir, err := d.s.folder(folder)
		if err != nil {
			return nil, r, err
		}
		item := Item{Folder: folder, ID: d.id, Path: filepath.Join(dir, d.id+".eml"+ending), Size: d.size}
		items = append(items, item)
		r.Paths = append(r.Paths, d.s.below(item.Path))
	}
	return items, r, nil
}

// halfMade is the end of the name of a message's file before it is whole.
const halfMade = ".part"

// half makes the file under another name, in the folder that it stays in: a rename
// there is much cheaper.
func (d *Draft) half(item Item) error {
	if d.f != nil {
		return nil
	}
	return d.spill(strings.TrimSuffix(item.Path, ".eml") + halfMade)
}

// files makes the files of items: one, that has its name when it is whole, and
// links to it.
func (d *Draft) files(items []Item) error {
	if err := d.half(items[0]); err != nil {
		return err
	}
	d.s.names.Lock()
	defer d.s.names.Unlock()
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
