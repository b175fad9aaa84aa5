package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// View lists the messages in a store that another process may be writing to; it
// changes nothing. folder is a mailbox, "" for all of them; the oldest come first.
func View(dir, folder string) ([]Item, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var items []Item
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "tmp" || e.Name() == journalDir || folder != "" && !strings.EqualFold(e.Name(), folder) {
			continue
		}
		list, err := listed(filepath.Join(dir, e.Name()), e.Name())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		items = append(items, list...)
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.ID, b.ID) })
	return items, nil
}
