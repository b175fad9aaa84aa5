package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/cdr"
	"github.com/exsim/exsim/sim/eventlog"
	"github.com/exsim/exsim/sim/maillog"
	"github.com/exsim/exsim/sim/trace"
)

// watched are files of what administrators of Exchange watch.
type watched struct{ events, records, mail string }

func (w *watched) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.events, "event-log", "", "append to `FILE` what would stand in Exchange's event log, with its ids")
	cmd.Flags().StringVar(&w.records, "cdr", "", "append call data records to um_cdr_DATE.csv in `FOLDER`")
	cmd.Flags().StringVar(&w.mail, "mail-logs", "", "append to protocol logs and the message tracking log (RECV, SEND, MSGTRK) in `FOLDER`")
}

// check reports files that could not be written, before anything runs.
func (w *watched) check() error {
	k, err := w.open(time.Now())
	if err != nil {
		return err
	}
	return k.close()
}

// open makes what takes the events of a trace that began at a time; nil if
// nothing is wanted.
func (w *watched) open(start time.Time) (*watching, error) {
	if w.events == "" && w.records == "" && w.mail == "" {
		return nil, nil
	}
	k := &watching{start: start}
	var err error
	if w.events != "" {
		if k.log, err = os.OpenFile(w.events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil { //nolint:gosec // a log is no secret
			return nil, input(err)
		}
	}
	if w.records != "" {
		if k.writer, err = cdr.NewWriter(w.records); err != nil {
			return nil, input(err)
		}
		k.recorder = cdr.New(start)
	}
	if w.mail != "" {
		if k.mail, err = maillog.NewWriter(w.mail, mailLogVersion, start); err != nil {
			return nil, input(err)
		}
	}
	return k, nil
}

// watching writes them.
type watching struct {
	start    time.Time
	log      *os.File
	recorder *cdr.Recorder
	writer   *cdr.Writer
	mail     *maillog.Writer
	err      error // the first
}

// take takes an event. What cannot be written is told at the end.
func (k *watching) take(e *trace.Event) {
	if k == nil {
		return
	}
	if k.log != nil {
		for _, entry := range eventlog.Of(e, k.start) {
			_, err := fmt.Fprintln(k.log, entry)
			k.fault(err)
		}
	}
	if k.recorder != nil {
		if row := k.recorder.Take(e); row != nil {
			k.fault(k.writer.Write(row))
		}
	}
	if k.mail != nil {
		k.fault(k.mail.Take(e))
	}
}

func (k *watching) fault(err error) {
	if k.err == nil {
		k.err = err
	}
}

func (k *watching) close() error {
	if k == nil {
		return nil
	}
	err := k.err
	if k.log != nil {
		err = errors.Join(err, k.log.Close())
	}
	if k.writer != nil {
		err = errors.Join(err, k.writer.Close())
	}
	if k.mail != nil {
		err = errors.Join(err, k.mail.Close())
	}
	if err != nil {
		return input(err)
	}
	return nil
}

// mailLogVersion stands in the head of mail logs, where Exchange has its build.
const mailLogVersion = "15.01.0669.032"
