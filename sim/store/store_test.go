package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeliver(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "mail"))
	require.NoError(t, err)
	items, err := s.Deliver(strings.NewReader("Subject: x\r\n\r\nhi\r\n"), "ada@contoso.lab", "../../alan")
	require.NoError(t, err)
	require.Len(t, items, 2)
	for _, i := range items {
		require.True(t, strings.HasPrefix(i.Path, s.Dir()), "no name leaves the store")
		list, err := s.List(i.Folder)
		require.NoError(t, err)
		require.Equal(t, []Item{i}, list)
		b, err := os.ReadFile(i.Path)
		require.NoError(t, err)
		require.Equal(t, "Subject: x\r\n\r\nhi\r\n", string(b))
		require.EqualValues(t, len(b), i.Size)
	}
	require.NoError(t, s.Remove(items[0]))
	list, err := s.List("ADA@contoso.lab")
	require.NoError(t, err)
	require.Empty(t, list)
}

// A message that breaks off is nowhere, and what a crash left is cleared.
func TestBroken(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	_, err = s.Deliver(io.MultiReader(strings.NewReader("half"), broken{}), "ada")
	require.ErrorContains(t, err, "cut")
	list, err := s.List("ada")
	require.NoError(t, err)
	require.Empty(t, list)

	d, err := s.Create()
	require.NoError(t, err)
	_, err = d.Write(make([]byte, maxMemory+1))
	require.NoError(t, err)
	require.NoError(t, d.f.Close()) // the process dies here
	_, err = Open(dir)
	require.NoError(t, err)
	left, err := os.ReadDir(s.tmp())
	require.NoError(t, err)
	require.Empty(t, left)

	_, err = Open("/dev/null/x")
	require.ErrorContains(t, err, "/dev/null")
}

// A folder is held by one exsim at a time.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorContains(t, err, "in use by another exsim")
	require.NoError(t, first.Close())
	again, err := Lock(dir)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cut") }
