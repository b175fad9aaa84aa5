package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// datasync puts on disk what a file holds.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// syncAll puts all on disk that is in a folder, and whatever else is on the disk
// that it lies on.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
