package maillog

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Writer appends to the logs of a folder, one file of each kind a day:
// RECVyyyymmdd-1.log, SENDyyyymmdd-1.log and MSGTRKyyyymmdd-1.log.
type Writer struct {
	dir      string
	version  string
	protocol *Protocol
	tracking *Tracking
	files    map[string]*file // by kind
}

type file struct {
	day string
	f   *os.File
	csv *csv.Writer
}

// NewWriter writes into a folder, which is made if it is not there, for a trace
// that began at a time. version stands in the head of each file.
func NewWriter(dir, version string, start time.Time) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // logs are no secret
		return nil, fmt.Errorf("maillog: %w", err)
	}
	return &Writer{dir: dir, version: version, protocol: NewProtocol(start), tracking: NewTracking(start), files: map[string]*file{}}, nil
}

// Take writes the lines of an event.
func (w *Writer) Take(e *trace.Event) error {
	var errs []error
	for _, l := range w.protocol.Take(e) {
		kind, title := "RECV", "SMTP Receive Protocol Log"
		if l.Sends {
			kind, title = "SEND", "SMTP Send Protocol Log"
		}
		errs = append(errs, w.write(kind, title, ProtocolFields, l.Row))
	}
	for _, row := range w.tracking.Take(e) {
		errs = append(errs, w.write("MSGTRK", "Message Tracking Log", TrackingFields, row))
	}
	return errors.Join(errs...)
}

func (w *Writer) write(kind, title string, fields, row []string) error {
	day := strings.ReplaceAll(row[0][:len("2006-01-02")], "-", "")
	f := w.files[kind]
	if f == nil || f.day != day {
		if f != nil {
			_ = f.f.Close()
		}
		var err error
		if f, err = w.open(kind, title, day, fields, row[0]); err != nil {
			return err
		}
		w.files[kind] = f
	}
	_ = f.csv.Write(row) // told by Error
	f.csv.Flush()
	return f.csv.Error()
}

func (w *Writer) open(kind, title, day string, fields []string, at string) (*file, error) {
	f, err := os.OpenFile(filepath.Join(w.dir, kind+day+"-1.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // logs are no secret
	if err != nil {
		return nil, fmt.Errorf("maillog: %w", err)
	}
	c := csv.NewWriter(f)
	c.UseCRLF = true
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil && end == 0 {
		_, err = fmt.Fprintf(f, "#Software: Microsoft Exchange Server\r\n#Version: %s\r\n#Log-type: %s\r\n#Date: %s\r\n#Fields: %s\r\n", w.version, title, at, strings.Join(fields, ","))
	}
	return &file{day, f, c}, err
}

// Close closes the files.
func (w *Writer) Close() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.f.Close())
	}
	return errors.Join(errs...)
}
