package store

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// contents are the messages of a folder, by what they hold.
func contents(t *testing.T, s *Store, folder string) map[string]int {
	t.Helper()
	items, err := s.List(folder)
	require.NoError(t, err)
	got := map[string]int{}
	for _, i := range items {
		b, err := os.ReadFile(i.Path)
		require.NoError(t, err)
		got[string(b)]++
	}
	return got
}

// What a crash takes of the files of mailboxes is made again: one that is gone,
// one that is cut, one whose octets never reached the disk. What was removed, or
// set aside, stays so.
func TestRestored(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	deliver := func(text string, folders ...string) []Item {
		items, err := s.Deliver(strings.NewReader(text), folders...)
		require.NoError(t, err)
		return items
	}
	gone := deliver("gone", "ada", "alan")
	cut := deliver("cut short", "ada")[0]
	empty := deliver("zeros", "ada")[0]
	deliver("whole", "ada")
	deliver("", "ada")
	removed := deliver("removed", "ada")[0]
	aside := deliver("aside", "ada")[0]
	require.NoError(t, s.Remove(removed))
	require.NoError(t, s.SetAside(aside, ".bad"))
	want := contents(t, s, "ada")

	require.NoError(t, os.RemoveAll(filepath.Dir(gone[1].Path))) // the machine dies here
	require.NoError(t, os.Remove(gone[0].Path))
	require.NoError(t, os.Truncate(cut.Path, 3))
	require.NoError(t, os.WriteFile(empty.Path, make([]byte, 5), 0o600))
	require.NoError(t, os.WriteFile(removed.Path, []byte("removed"), 0o600))

	s, err = Open(dir)
	require.NoError(t, err)
	require.Equal(t, want, contents(t, s, "ada"))
	require.Equal(t, map[string]int{"gone": 1}, contents(t, s, "alan"))
	left, err := os.ReadDir(filepath.Join(dir, journalDir))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = s.Deliver(strings.NewReader("after"), "ada")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s, err = Open(dir)
	require.NoError(t, err)
	require.Equal(t, len(want)+1, len(contents(t, s, "ada")))
}

// A segment that ends anywhere is read up to its last whole record, and bytes
// that are none are no message.
func TestTornJournal(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	for n := range 3 {
		_, err := s.Deliver(strings.NewReader(fmt.Sprintf("message %d", n)), "ada")
		require.NoError(t, err)
	}
	segment := filepath.Join(dir, journalDir, "00000001")
	whole, err := os.ReadFile(segment)
	require.NoError(t, err)
	for size := range len(whole) + 1 {
		torn := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(torn, journalDir), 0o700))
		b := append([]byte{}, whole[:size]...)
		if size%3 == 0 && size < len(whole) {
			b = append(b, "\x00\x00 garbage 99\n"...)
		}
		require.NoError(t, os.WriteFile(filepath.Join(torn, journalDir, "00000001"), b, 0o600))
		s, err := Open(torn)
		require.NoError(t, err)
		got := contents(t, s, "ada")
		for n := range 3 {
			if strings.Contains(string(b), fmt.Sprintf("message %d", n)) {
				require.Equal(t, 1, got[fmt.Sprintf("message %d", n)], "%d octets: %v", size, got)
				delete(got, fmt.Sprintf("message %d", n))
			}
		}
		require.Empty(t, got, "%d octets", size)
	}
	evil := t.TempDir()
	j := newJournal(evil)
	d := &Draft{mem: []byte("x"), size: 1}
	_, err = j.appendMessage(record{Paths: []string{"../outside.eml"}, Size: 1, CRC: crc32.Checksum([]byte("x"), castagnoli)}, d)
	require.NoError(t, err)
	_, err = Open(evil)
	require.ErrorContains(t, err, "no place in the store")
}

// Many write at once, over many segments: each message is there once, and no
// segment is left behind Close.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	s.journal.limit = 4 << 10
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 50 {
				_, err := s.Deliver(strings.NewReader(fmt.Sprintf("%d %d %s", w, n, strings.Repeat("x", n*7))), "ada", "alan")
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, contents(t, s, "ada"), 400)
	segments, err := os.ReadDir(filepath.Join(dir, journalDir))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	require.NotEqual(t, "00000001", segments[0].Name())
	require.NoError(t, s.Close())
	segments, err = os.ReadDir(filepath.Join(dir, journalDir))
	require.NoError(t, err)
	require.Empty(t, segments)
	s, err = Open(dir)
	require.NoError(t, err)
	require.Len(t, contents(t, s, "alan"), 400)
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("12 00000000\n{\"Size\":9999999999}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, journalDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, journalDir, "1"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Open(dir)
	})
}

// What takes the place of another is there alone, also where a crash has kept
// the other's file.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	items, err := s.Deliver(strings.NewReader("for two"), "queue")
	require.NoError(t, err)
	d, err := s.Create()
	require.NoError(t, err)
	_, err = d.Write([]byte("for one"))
	require.NoError(t, err)
	now, err := d.Replace(items[0])
	require.NoError(t, err)
	require.Equal(t, map[string]int{"for one": 1}, contents(t, s, "queue"))
	require.InDelta(t, items[0].Age(), now.Age(), float64(time.Second), "it is as old as what it takes the place of")
	path, err := func() (string, error) {
		d, err := s.Create()
		require.NoError(t, err)
		_, err = d.Write([]byte("for nobody"))
		require.NoError(t, err)
		return d.Aside("queue", ".bad")
	}()
	require.NoError(t, err)
	require.FileExists(t, path)

	require.NoError(t, os.WriteFile(items[0].Path, []byte("for two"), 0o600)) // the machine dies here
	require.NoError(t, os.Remove(now.Path))
	s, err = Open(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"for one": 1}, contents(t, s, "queue"))
}
