package mailhost

import "github.com/exsim/exsim/sim/trace"

type taken struct {
	server string
	tries  int
}

func (taken) EventName() string { return "mailhost.taken" }
func (e taken) AppendTo(f *trace.Fields) {
	f.Text("server", e.server)
	f.Int("tries", int64(e.tries))
}

type refused struct {
	server, why string
	final       bool
	tries       int
}

func (refused) EventName() string { return "mailhost.refused" }
func (e refused) AppendTo(f *trace.Fields) {
	f.Text("server", e.server)
	f.Text("why", e.why)
	f.Bool("final", e.final)
	f.Int("tries", int64(e.tries))
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	actions := trace.FieldType{Key: "actions", Means: "how many were done before one failed"}
	said := trace.FieldType{Key: "said", Means: "the commands that were said, each once, separated by blanks"}
	heard := trace.FieldType{Key: "heard", Means: "the last reply, as it came"}
	local := trace.FieldType{Key: "local", Means: "address and port that it was said from"}
	server := trace.FieldType{Key: "server", Means: "address and port of the connector"}
	tries := trace.FieldType{Key: "tries", Means: "how often it was tried"}
	return []trace.EventType{
		{Name: "mailhost.taken", Means: "a message of the simulated mail host was taken", Fields: []trace.FieldType{server, tries}},
		{Name: "mailhost.received", Means: "the simulated mail host has taken a message; its header section is in raw", Fields: []trace.FieldType{
			{Key: "peer", Means: "who sent it"}, {Key: "from", Means: "envelope sender"}, {Key: "to", Means: "recipients"}, {Key: "subject", Means: "as it stands there"},
			{Key: "octets", Means: "of the message"}, {Key: "tls", Means: "whether it came encrypted"}}},
		{Name: "mailhost.played", Means: "the simulated mail host has said what a session of single lines wants", Fields: []trace.FieldType{
			server, actions, said, heard, local, {Key: "why", Means: "what was not as wanted; empty if nothing"}}},
		{Name: "mailhost.refused", Means: "a message of the simulated mail host was not taken", Fields: []trace.FieldType{
			server, {Key: "why", Means: "the reply, or what broke"}, {Key: "final", Means: "whether it is given up; else it is tried again"}, tries}},
	}
}
