package um

import (
	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
)

type logonEvent struct {
	mailbox, result string
	failures        int
}

func (logonEvent) EventName() string { return "um.logon" }
func (e logonEvent) AppendTo(f *trace.Fields) {
	f.Text("mailbox", e.mailbox)
	f.Text("result", e.result)
	f.Int("failures", int64(e.failures))
}

type unplayable struct{ message, why string }

func (unplayable) EventName() string { return "um.message_unusable" }
func (e unplayable) AppendTo(f *trace.Fields) {
	f.Text("message", e.message)
	f.Text("why", e.why)
}

type inputEvent struct{ menu, digits, why string }

func (inputEvent) EventName() string { return "um.input_failed" }
func (e inputEvent) AppendTo(f *trace.Fields) {
	f.Text("menu", e.menu)
	f.Text("digits", e.digits)
	f.Text("why", e.why)
}

type recordedEvent struct {
	r  rtp.Recording
	by string
}

func (recordedEvent) EventName() string { return "um.recorded" }
func (e recordedEvent) AppendTo(f *trace.Fields) {
	f.Text("by", e.by)
	f.Duration("length", e.r.Duration())
	f.Int("octets", int64(len(e.r.Octets)))
	f.Bool("voiced", e.r.Voiced)
}

// talkEvents are what happens in conversations.
func talkEvents() []trace.EventType {
	why := trace.FieldType{Key: "why", Means: "the reason"}
	mailbox := []trace.FieldType{{Key: "mailbox", Means: "address of the mailbox"}}
	message := []trace.FieldType{{Key: "message", Means: "its ID in the mailbox"}}
	return []trace.EventType{
		{Name: "um.greeting", Means: "the greeting begins", Fields: mailbox},
		{Name: "um.pilot_greeting", Means: "no mailbox is named: the pilot's greeting begins", Fields: []trace.FieldType{why}},
		{Name: "um.tone", Means: "the tone before the recording begins", Fields: []trace.FieldType{{Key: "length", Means: "its length"}}},
		{Name: "um.recording", Means: "the recording begins", Fields: mailbox},
		{Name: "um.recorded", Means: "the recording is over", Fields: []trace.FieldType{
			{Key: "by", Means: "key, silence, length or hang-up"}, {Key: "length", Means: "of the recording"},
			{Key: "octets", Means: "of G.711"}, {Key: "voiced", Means: "false if nothing was louder than silence"}}},
		{Name: "um.missed_call", Means: "the caller hung up before the tone", Fields: mailbox},
		{Name: "um.greeting_failed", Means: "a greeting cannot be played: the caller is told of a system error, and the call ends", Fields: []trace.FieldType{{Key: "greeting", Means: "file, or name of the shipped recording"}}},
		{Name: "um.mailbox_full", Means: "the caller is told that the mailbox is full", Fields: mailbox},
		{Name: "um.menu", Means: "a menu is said", Fields: []trace.FieldType{{Key: "menu", Means: "main, options, or the auto attendant"}}},
		{Name: "um.input_failed", Means: "what was pressed means nothing here", Fields: []trace.FieldType{
			{Key: "menu", Means: "where"}, {Key: "digits", Means: "what was pressed"}, why}},
		{Name: "um.logon", Means: "somebody tried to log on to a mailbox by telephone", Fields: []trace.FieldType{
			{Key: "mailbox", Means: "address of the mailbox"}, {Key: "result", Means: "right, wrong, reset (a new PIN is mailed), locked, not allowed"},
			{Key: "failures", Means: "wrong PINs in a row, over calls"}}},
		{Name: "um.logon_failed", Means: "the call ends for too many wrong PINs", Fields: mailbox},
		{Name: "um.playing", Means: "a message is played to its owner", Fields: message},
		{Name: "um.deleted", Means: "its owner deleted a message", Fields: message},
		{Name: "um.message_unusable", Means: "a message cannot be played, or is not there any more: the next one follows", Fields: append(message[:1:1], why)},
		{Name: "um.submitted", Means: "a message goes to transport", Fields: []trace.FieldType{
			{Key: "kind", Means: "voice or missed"}, {Key: "from", Means: "envelope sender"}, {Key: "to", Means: "envelope recipient"},
			{Key: "octets", Means: "size"}}},
	}
}
