package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim/capture"
)

const bundleText = `This archive was made by exsim for a ticket.

report.html   what happened, as one page: open it in a browser
report.txt    the same as text
traces/       the timelines: exsim report FILE tells them again
captures/     what passed, for Wireshark; the comment of a file says how protocols
              on unusual ports are decoded (Statistics, Capture File Properties)
files/        what the runs were made from
versions.txt  of exsim, of the simulated Exchange, and the seeds
SHA256SUMS    checksums: sha256sum -c SHA256SUMS

Passwords, PINs and what the files call secret are starred. Names, numbers,
addresses, and what was said in the calls, are as they were.
`

// bundle is an archive in the making.
type bundle struct {
	zip  *zip.Writer
	sums strings.Builder
	made time.Time
	used map[string]bool
}

// writeBundle makes one archive of traces and of what belongs to them.
func writeBundle(file, title string, args []string, runs []report.Run) error {
	if file == "" {
		return nil
	}
	var traces []string
	for _, arg := range args {
		files, err := tracesOf(arg)
		if err != nil {
			return input(err)
		}
		traces = append(traces, files...)
	}
	return writeFile(file, func(w io.Writer) error {
		b := &bundle{zip: zip.NewWriter(w), made: time.Now(), used: map[string]bool{}}
		return errors.Join(b.fill(title, traces, runs), b.zip.Close())
	})
}

func (b *bundle) fill(title string, traces []string, runs []report.Run) error {
	var page, text bytes.Buffer
	if err := errors.Join(report.HTML(&page, title, runs), printRuns(&text, runs)); err != nil {
		return err
	}
	if err := errors.Join(b.add("README.txt", strings.NewReader(bundleText)), b.add("report.html", &page), b.add("report.txt", &text)); err != nil {
		return err
	}
	for i, name := range traces {
		if err := b.copy(b.free("traces", name), name); err != nil {
			return err
		}
		taken := strings.TrimSuffix(name, traceSuffix) + captureSuffix
		switch belongs, err := ofRun(taken, &runs[i]); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case !belongs:
			fmt.Fprintf(os.Stderr, "exsim: %s is left out: it is of another run than %s\n", taken, name)
		default:
			if err := b.copy(b.free("captures", taken), taken); err != nil {
				return err
			}
		}
	}
	if err := b.sources(runs); err != nil {
		return err
	}
	if err := b.add("versions.txt", strings.NewReader(versionsOf(traces, runs))); err != nil {
		return err
	}
	sums := b.sums.String()
	return b.add("SHA256SUMS", strings.NewReader(sums))
}

// ofRun reports whether a capture is of a run, as its comment says.
func ofRun(file string, r *report.Run) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	begun, err := time.Parse(time.RFC3339Nano, r.Events[0].Text("wall"))
	return err == nil && bytes.Contains(head[:n], []byte(capture.RunMark(begun))), nil
}

// sources adds each file once that runs were made from.
func (b *bundle) sources(runs []report.Run) error {
	seen := map[string]bool{}
	for i := range runs {
		for j := range runs[i].Events {
			e := &runs[i].Events[j]
			if e.Name != "bench.file" || len(e.Raw) == 0 || seen[e.Text("file")+string(e.Raw)] {
				continue
			}
			seen[e.Text("file")+string(e.Raw)] = true
			if err := b.add(b.free("files", e.Text("file")), bytes.NewReader(e.Raw)); err != nil {
				return err
			}
		}
	}
	return nil
}

// free is a name in a folder of the archive that is not there yet.
func (b *bundle) free(folder, name string) string {
	base := path.Base(strings.ReplaceAll(name, "\\", "/"))
	base = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`:*?"<>|`, r) {
			return '_'
		}
		return r
	}, base)
	if strings.Trim(base, "./ ") == "" {
		base = "file"
	}
	end := path.Ext(base)
	for n := 1; ; n++ {
		full := path.Join(folder, base)
		if n > 1 {
			full = path.Join(folder, fmt.Sprintf("%s-%d%s", strings.TrimSuffix(base, end), n, end))
		}
		if !b.used[full] {
			b.used[full] = true
			return full
		}
	}
}

func (b *bundle) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return b.add(name, f)
}

func (b *bundle) add(name string, from io.Reader) error {
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.made})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), from); err != nil {
		return err
	}
	fmt.Fprintf(&b.sums, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), name)
	return nil
}

// versionsOf says what made the runs, and the archive.
func versionsOf(traces []string, runs []report.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "bundle: exsim %s, %s, %s/%s\n\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for i := range runs {
		if len(runs[i].Events) == 0 || i >= len(traces) {
			continue
		}
		fmt.Fprintf(&b, "%s\n", filepath.Base(traces[i]))
		h := &runs[i].Events[0]
		for _, key := range []string{"exsim", "profile", "scenario", "plan", "variant", "planted", "seed", "wall"} {
			if v := h.Text(key); v != "" {
				fmt.Fprintf(&b, "  %-9s %s\n", key+":", v)
			}
		}
	}
	return b.String()
}
