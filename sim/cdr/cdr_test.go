package cdr

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

var begun = time.Date(2026, 11, 22, 23, 59, 58, 0, time.UTC)

type event struct {
	name   string
	fields map[string]string
}

func (e event) EventName() string { return e.name }
func (e event) AppendTo(f *trace.Fields) {
	for k, v := range e.fields {
		f.Text(k, v)
	}
}

func rows(t *testing.T, events ...event) []map[string]string {
	t.Helper()
	log := trace.New(trace.Config{})
	src := log.Source("MBX1", "um-worker")
	for _, e := range events {
		src.Record(trace.Session{Kind: "call", N: 1}, trace.Session{}, e, nil)
	}
	require.NoError(t, log.Close())
	r := New(begun)
	var list []map[string]string
	for e := range log.Events() {
		if row := r.Take(&e); row != nil {
			require.Len(t, row, len(Columns))
			m := map[string]string{}
			for i, c := range Columns {
				m[c] = row[i]
			}
			list = append(list, m)
		}
	}
	require.Empty(t, r.calls, "no call is kept behind its end")
	require.Empty(t, r.media)
	return list
}

// A record is complete only behind the recording and both figures of the media,
// in whatever order they come.
func TestRecordWaits(t *testing.T) {
	answered := event{"um.answered", map[string]string{"kind": "call-answering", "call_id": "x@y", "reason_for_call": "DivertBusy", "mailbox": "ada@contoso.lab"}}
	for _, end := range [][]event{
		{{"um.recorded", map[string]string{"voiced": "true"}}, {"um.ended", map[string]string{"how": "bye"}}, {"rtp.ended", map[string]string{"direction": "received"}}, {"rtp.ended", map[string]string{"direction": "sent"}}},
		{{"um.ended", map[string]string{"how": "bye"}}, {"rtp.ended", map[string]string{"direction": "sent"}}, {"rtp.ended", map[string]string{"direction": "received"}}, {"um.recorded", map[string]string{"voiced": "true"}}},
	} {
		list := rows(t, append([]event{{"rtp.opened", nil}, answered, {"um.recording", nil}}, end...)...)
		require.Len(t, list, 1)
		require.Equal(t, "Call Answering Voice Message", list[0]["CallType"])
		require.Equal(t, "DivertBusy", list[0]["ReasonForCall"])
		require.Equal(t, "x@y", list[0]["CallIdentity"])
		require.Equal(t, "Graceful Hangup", list[0]["DropCallReason"])
		require.Equal(t, "ada@contoso.lab", list[0]["CalleeMailboxAlias"])
	}
	list := rows(t, answered, event{"um.ended", map[string]string{"how": "closed"}})
	require.Equal(t, "Call Answering Missed Call", list[0]["CallType"], "signalling only: there are no media to wait for")
	require.Equal(t, "Other", list[0]["DropCallReason"])

	list = rows(t, event{"um.refused", map[string]string{"check": "hunt-group"}})
	require.Equal(t, "Rejected hunt-group", list[0]["OfferResult"]+" "+list[0]["DropCallReason"])
	list = rows(t, event{"rtp.opened", nil}, event{"um.calling", map[string]string{"kind": "play-on-phone", "number": "4055"}}, event{"um.call_failed", map[string]string{"why": "answered 486"}}, event{"rtp.released", nil})
	require.Equal(t, "PlayOnPhone Failed 4055", list[0]["CallType"]+" "+list[0]["OfferResult"]+" "+list[0]["CalledPhoneNumber"])
}

// Anchors of ITU-T G.107: an undisturbed call, and what each per cent of loss
// takes from it.
func TestNMOS(t *testing.T) {
	require.InDelta(t, 4.40, NMOS(0, 0), 0.02)
	require.InDelta(t, 4.32, NMOS(1, 0), 0.03)
	require.InDelta(t, 3.84, NMOS(5, 0), 0.1)
	require.Less(t, NMOS(30, 0), 2.5)
	require.InDelta(t, 1, NMOS(100, time.Second), 0.6)
	last := 5.0
	for loss := range 100 {
		got := NMOS(float64(loss), 0)
		require.LessOrEqual(t, got, last)
		last = got
	}
}

// Each day has a file with one line of names.
func TestWriter(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		w, err := NewWriter(dir)
		require.NoError(t, err)
		row := make([]string, len(Columns))
		for _, day := range []string{"2026-11-22 10:00:00", "2026-11-23 10:00:00"} {
			row[0] = day
			require.NoError(t, w.Write(row))
		}
		require.NoError(t, w.Close())
	}
	for _, day := range []string{"2026-11-22", "2026-11-23"} {
		f, err := os.Open(filepath.Join(dir, "um_cdr_"+day+".csv"))
		require.NoError(t, err)
		all, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		require.Len(t, all, 3)
		require.Equal(t, Columns, all[0])
		require.NoError(t, f.Close())
	}
	_, err := NewWriter("/dev/null/x")
	require.Error(t, err)
}
