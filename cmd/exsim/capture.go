package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/capture"
	"github.com/exsim/exsim/sim/trace"
)

// captureSuffix ends the names of captures.
const captureSuffix = ".pcapng"

// captureFlag is --pcapng of a command that makes one file.
func captureFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "pcapng", "", "write what passed to `FILE` as pcapng, with the keys of TLS in it, and SRTP once more in clear")
}

// newCapture begins one if a file is wanted; nil if none is.
func newCapture(file, dir string) (*capture.Capture, error) {
	if file == "" {
		return nil, nil
	}
	c, err := capture.New(dir)
	if err != nil {
		return nil, bench(err)
	}
	return c, nil
}

// saveCapture writes a capture, if there is one, and ends it.
func saveCapture(c *capture.Capture, file string, log *trace.Log, secrets []string) error {
	if c == nil {
		return nil
	}
	err := writeFile(file, func(w io.Writer) error {
		return c.Write(w, capture.Options{Program: version, Log: log, Secrets: secrets})
	})
	return errors.Join(err, c.Close())
}

// captureFolder prepares where the captures of runs go: a folder, or one file
// where there is one run.
func captureFolder(name string, runs int) error {
	switch {
	case name == "":
		return nil
	case !strings.HasSuffix(name, captureSuffix):
		if err := os.MkdirAll(name, 0o755); err != nil {
			return input(err)
		}
		return nil
	case runs > 1:
		return input(fmt.Errorf("--pcapng %s is one file, and there are %d runs: name a folder", name, runs))
	}
	return writable(name)
}

// captureOf is where the capture of a run goes.
func captureOf(name, run string) string {
	if name == "" || strings.HasSuffix(name, captureSuffix) {
		return name
	}
	return filepath.Join(name, run+captureSuffix)
}
