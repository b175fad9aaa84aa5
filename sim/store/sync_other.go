//go:build !linux

package store

import (
	"io/fs"
	"os"
	"path/filepath"
)

// datasync puts on disk what a file holds.
func datasync(f *os.File) error { return f.Sync() }

// syncAll puts on disk what is in a folder, file by file.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil // it is gone meanwhile
		}
		defer f.Close()
		return f.Sync()
	})
}
