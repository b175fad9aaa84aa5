// Package store keeps mailboxes and waiting messages on disk, each a file of its
// own. What it has acknowledged survives a crash: a message is in the journal,
// which is synced for many at once, before Deliver returns.
package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Store is a folder with a folder for each mailbox.
type Store struct {
	dir     string
	journal *journal
	names   sync.Mutex // of files: two that change a folder would wait in the kernel, and burn their time there
}

// Open uses a folder, making it if it is not there. Half-written files of an
// earlier crash are removed: they were never acknowledged.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, journal: newJournal(dir)}
	if err := os.MkdirAll(s.tmp(), 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.clear(); err != nil {
		return nil, err
	}
	return s, s.journal.replay()
}

// clear removes half-written files.
func (s *Store) clear() error {
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Dir(path) != s.tmp() && filepath.Ext(path) != halfMade {
			return err
		}
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Close puts the last messages on disk in files of their own. A store that is not
// closed does so when it is opened again.
func (s *Store) Close() error { return s.journal.close() }

func (s *Store) tmp() string { return filepath.Join(s.dir, "tmp") }

// Dir is the folder of the store.
func (s *Store) Dir() string { return s.dir }

// Item is a stored message.
type Item struct {
	Folder string // mailbox or queue
	ID     string
	Path   string
	Size   int64
	Read   bool // its owner has seen or heard it
}

// Age is how long ago the message was begun, 0 where its ID does not tell.
func (i Item) Age() time.Duration {
	at, _, _ := strings.Cut(i.ID, "-")
	begun, err := time.Parse("20060102T150405.000000000Z", at)
	if err != nil {
		return 0
	}
	return time.Since(begun)
}

// newID sorts by time and is unique.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Now().UTC().Format("20060102T150405.000000000Z-") + hex.EncodeToString(b[:])
}

// below is a path as the journal has it.
func (s *Store) below(path string) string {
	p, err := filepath.Rel(s.dir, path)
	if err != nil {
		panic(err) // items lie in the store
	}
	return p
}

// readMark is the end of the name of an empty file beside a message that was
// read: the message itself keeps its name.
const readMark = ".read"

func (i Item) mark() string { return strings.TrimSuffix(i.Path, ".eml") + readMark }

// MarkRead notes that a message was read.
func (s *Store) MarkRead(i Item) error {
	if err := os.WriteFile(i.mark(), nil, 0o600); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(filepath.Dir(i.Path))
}

// folder makes a folder and returns its path. A name becomes one element of a
// path, whatever it holds.
func (s *Store) folder(name string) (string, error) {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == os.PathSeparator || r < ' ' || r == ':' {
			return '_'
		}
		return r
	}, strings.ToLower(name))
	if safe == "" || strings.Trim(safe, ".") == "" || safe == "tmp" || safe == journalDir {
		safe = "_" + safe
	}
	dir := filepath.Join(s.dir, safe)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return dir, syncDir(s.dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) { // some systems sync no folders
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Deliver writes a whole message into folders.
func (s *Store) Deliver(r io.Reader, folders ...string) ([]Item, error) {
	d, err := s.Create()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(d, r); err != nil {
		d.Abort()
		return nil, fmt.Errorf("store: %w", err)
	}
	return d.Commit(folders...)
}

// Find is a message of a folder by its ID.
func (s *Store) Find(folder, id string) (Item, error) {
	items, err := s.List(folder)
	if err != nil {
		return Item{}, err
	}
	if i := slices.IndexFunc(items, func(i Item) bool { return i.ID == id }); i >= 0 {
		return items[i], nil
	}
	return Item{}, fmt.Errorf("store: %s has no message %q", folder, id)
}

// List returns the messages of a folder, the oldest first.
func (s *Store) List(folder string) ([]Item, error) {
	dir, err := s.folder(folder)
	if err != nil {
		return nil, err
	}
	return listed(dir, folder)
}

// listed are the messages in a folder's path.
func listed(dir, folder string) ([]Item, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var items []Item
	read := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), readMark); ok {
			read[id] = true
		}
		id, ok := strings.CutSuffix(e.Name(), ".eml")
		info, err := e.Info()
		if !ok || err != nil {
			continue
		}
		items = append(items, Item{Folder: folder, ID: id, Path: filepath.Join(dir, e.Name()), Size: info.Size()})
	}
	for i := range items {
		items[i].Read = read[items[i].ID]
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.ID, b.ID) })
	return items, nil
}

// Remove takes a message out.
func (s *Store) Remove(i Item) error {
	if _, err := os.Stat(i.Path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	// The journal knows it first: a crash in between removes the file when the
	// store is opened again.
	if err := s.journal.append(record{Paths: []string{s.below(i.Path)}, Gone: true}); err != nil {
		return err
	}
	_ = os.Remove(i.mark()) // there is none unless it was read
	if err := os.Remove(i.Path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// SetAside gives a message's file another ending: it is none of the folder any
// more.
func (s *Store) SetAside(i Item, ending string) error {
	if err := os.Rename(i.Path, i.Path+ending); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return s.journal.append(record{Paths: []string{s.below(i.Path)}, Gone: true})
}
