// Package cdr makes the call data records of Unified Messaging from the trace: a
// line of CSV for each call, with the columns that Microsoft documents
// (Interpret voice mail call records). The spelling of their names is ours.
package cdr

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Columns are the names of the fields.
var Columns = []string{
	"CallStartTime", "CallType", "CallIdentity", "ParentCallIdentity", "UMServerName", "DialPlanName", "CallDuration", "IPGatewayName",
	"CalledPhoneNumber", "CallerPhoneNumber", "OfferResult", "DropCallReason", "ReasonForCall", "DialedString", "CallerMailboxAlias",
	"CalleeMailboxAlias", "AutoAttendantName", "NMOS", "NMOSDegradation", "Jitter", "PacketLoss", "RoundTrip", "BurstLossLength", "AudioCodec",
}

// record is a call that is going on.
type record struct {
	begun, ended       time.Duration
	kind               string
	callID, parent     string
	server, plan       string
	gateway            string
	called, caller     string
	offer, drop        string
	reason, dialled    string
	callerAs, calleeAs string
	attendant          string
	codec              string
	voiced, recording  bool
	media              int // directions whose figures are not told yet
	quality            quality
}

// Recorder gathers records from the events of one trace, in their order.
type Recorder struct {
	start time.Time
	calls map[trace.Session]*record
	media map[port]bool // opened, and not closed
}

// port is whose media of a call are open: a simulated device has its own.
type port struct {
	host string
	call trace.Session
}

// New begins with a trace that began at a time.
func New(start time.Time) *Recorder {
	return &Recorder{start, map[trace.Session]*record{}, map[port]bool{}}
}

// Take takes an event, and returns the record of a call that it ends, else nil.
func (r *Recorder) Take(e *trace.Event) []string {
	switch e.Name {
	case "rtp.opened":
		r.media[port{e.Host, e.Session}] = true
	case "rtp.released", "rtp.ended":
		delete(r.media, port{e.Host, e.Session})
	case "um.answered", "um.calling":
		c := newRecord(e, "Answer")
		if r.media[port{e.Host, e.Session}] {
			c.media = 2
		}
		r.calls[e.Session] = c
	case "um.refused":
		if r.calls[e.Session] == nil { // one hop refuses, and it is the last
			c := newRecord(e, "Rejected")
			c.drop = e.Text("check")
			return r.row(c, e.At)
		}
	case "um.call_failed":
		if c := r.calls[e.Session]; c != nil {
			c.offer, c.drop = "Failed", e.Text("why")
			delete(r.calls, e.Session)
			return r.row(c, e.At)
		}
	}
	c := r.calls[e.Session]
	if c == nil || strings.HasPrefix(e.Name, "rtp.") && e.Host != c.server {
		return nil // also of the simulated device's own media
	}
	if c.take(e) {
		delete(r.calls, e.Session)
		delete(r.media, port{e.Host, e.Session})
		return r.row(c, e.At)
	}
	return nil
}

func newRecord(e *trace.Event, offer string) *record {
	c := &record{
		begun: e.At, kind: e.Text("kind"), callID: e.Text("call_id"), server: e.Host, plan: e.Text("dial_plan"), gateway: e.Text("gateway"),
		called: e.Text("pilot"), caller: e.Text("caller"), offer: offer, reason: e.Text("reason_for_call"), dialled: e.Text("number"),
		attendant: e.Text("attendant"), codec: e.Text("codec"),
	}
	if c.called == "" {
		c.called = c.dialled
	}
	switch c.kind {
	case "call-answering":
		c.calleeAs = e.Text("mailbox")
	default:
		c.callerAs = e.Text("mailbox")
	}
	return c
}

// take notes what happens in a call, and reports its end. The figures of the
// media come behind that: the row waits for them.
func (c *record) take(e *trace.Event) bool {
	switch e.Name {
	case "um.fax":
		c.kind = "fax"
	case "um.recording":
		c.recording = true
	case "um.recorded":
		c.recording, c.voiced = false, c.voiced || e.Text("voiced") == "true"
	case "um.phone_answered":
		c.codec = e.Text("codec")
	case "um.ended":
		c.ended, c.drop = e.At, dropReason(e.Text("how"))
	case "rtp.released":
		c.media = 0
	case "rtp.ended":
		c.media--
		if e.Text("direction") == "received" {
			c.quality = measured(e)
			if codec := e.Text("codec"); codec != "" {
				c.codec = codec
			}
		}
	}
	return c.drop != "" && c.media <= 0 && !c.recording
}

func dropReason(how string) string {
	switch how {
	case "bye", "local":
		return "Graceful Hangup"
	case "session expired", "no ack":
		return "Media Or Session Timeout"
	}
	return "Other"
}

// callType is the documented name of what a call was for.
func (c *record) callType() string {
	switch c.kind {
	case "call-answering":
		if c.voiced {
			return "Call Answering Voice Message"
		}
		return "Call Answering Missed Call"
	case "subscriber-access":
		return "Subscriber Access"
	case "auto-attendant":
		return "Auto Attendant"
	case "pilot":
		return "Unauthenticated Pilot Number"
	case "play-on-phone":
		return "PlayOnPhone"
	case "fax":
		return "Fax"
	}
	return "None"
}

func (r *Recorder) row(c *record, at time.Duration) []string {
	if c.ended == 0 {
		c.ended = at
	}
	row := []string{
		r.start.Add(c.begun).UTC().Format("2006-01-02 15:04:05"), c.callType(), c.callID, c.parent, c.server, c.plan,
		strconv.Itoa(int((c.ended - c.begun).Round(time.Second) / time.Second)), c.gateway, c.called, c.caller, c.offer, c.drop, c.reason, c.dialled,
		c.callerAs, c.calleeAs, c.attendant,
	}
	return append(append(row, c.quality.columns()...), c.codec)
}

// Writer appends records to one file a day, um_cdr_YYYY-MM-DD.csv.
type Writer struct {
	dir string
	day string
	f   *os.File
	csv *csv.Writer
}

// NewWriter writes into a folder, which is made if it is not there.
func NewWriter(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // records are no secret
		return nil, fmt.Errorf("cdr: %w", err)
	}
	return &Writer{dir: dir}, nil
}

// Write appends a record to the file of its day.
func (w *Writer) Write(row []string) error {
	if day := row[0][:len("2006-01-02")]; day != w.day {
		if err := w.open(day); err != nil {
			return err
		}
	}
	_ = w.csv.Write(row) // told by Error
	w.csv.Flush()
	return w.csv.Error()
}

func (w *Writer) open(day string) error {
	if err := w.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.dir, "um_cdr_"+day+".csv"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // records are no secret
	if err != nil {
		return fmt.Errorf("cdr: %w", err)
	}
	w.f, w.csv, w.day = f, csv.NewWriter(f), day
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil && end == 0 {
		err = w.csv.Write(Columns)
	}
	return err
}

// Close closes the file.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f, w.day = nil, ""
	return err
}
