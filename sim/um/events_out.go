package um

import "github.com/exsim/exsim/sim/trace"

type transferEvent struct {
	name, number, target string
	status               int
	why                  string
}

func (e transferEvent) EventName() string { return e.name }
func (e transferEvent) AppendTo(f *trace.Fields) {
	f.Text("number", e.number)
	f.Text("refer_to", e.target)
	f.Int("status", int64(e.status))
	if e.why != "" {
		f.Text("why", e.why)
	}
}

type mwiEvent struct {
	mailbox, gateway, counts string
	status                   int
	why                      string
	session                  trace.Session
}

func (e mwiEvent) EventName() string {
	if e.why != "" {
		return "um.mwi_failed"
	}
	return "um.mwi"
}

func (e mwiEvent) AppendTo(f *trace.Fields) {
	f.Text("mailbox", e.mailbox)
	f.Text("gateway", e.gateway)
	f.Text("counts", e.counts)
	f.Int("status", int64(e.status))
	if e.why != "" {
		f.Text("why", e.why)
	}
}

type faxEvent struct{ name, by, to string }

func (e faxEvent) EventName() string { return e.name }
func (e faxEvent) AppendTo(f *trace.Fields) {
	f.Text("by", e.by)
	f.Text("to", e.to)
}

// handOverEvents are what becomes of callers that are handed on, and what
// gateways are told.
func handOverEvents() []trace.EventType {
	why := trace.FieldType{Key: "why", Means: "the reason"}
	mwi := []trace.FieldType{{Key: "mailbox", Means: "address of the mailbox"}, {Key: "gateway", Means: "UM IP gateway"},
		{Key: "counts", Means: "new/old, and in brackets how many of them are urgent"}, {Key: "status", Means: "of the answer, 0 without one"}}
	transfer := []trace.FieldType{{Key: "number", Means: "that the caller is handed to"}, {Key: "refer_to", Means: "value of Refer-To"},
		{Key: "status", Means: "last status that the gateway reported, 0 without one"}, why}
	return []trace.EventType{
		{Name: "um.transferring", Means: "the caller is handed to another number by REFER", Fields: transfer},
		{Name: "um.transferred", Means: "the gateway has done so", Fields: transfer},
		{Name: "um.transfer_failed", Means: "the gateway has not done so: the caller comes back to the menu", Fields: transfer},
		{Name: "um.fax", Means: "a fax machine calls: the caller is referred to the fax partner", Fields: []trace.FieldType{
			{Key: "by", Means: "CNG, or re-INVITE with what it offers"}, {Key: "to", Means: "the partner"}}},
		{Name: "um.fax_refused", Means: "an offer for a fax is refused: no partner takes it", Fields: []trace.FieldType{
			{Key: "by", Means: "what was offered"}, {Key: "to", Means: "why nobody takes it"}}},
		{Name: "um.mwi", Means: "a gateway was told how many messages a mailbox has", Fields: mwi},
		{Name: "um.mwi_failed", Means: "a gateway did not take an indication of waiting messages (Exchange's event 1344): the next one is asked", Fields: append(mwi[:len(mwi):len(mwi)], why)},
		{Name: "um.mwi_given_up", Means: "no gateway took an indication of waiting messages for as long as it is tried", Fields: []trace.FieldType{why}},
	}
}
