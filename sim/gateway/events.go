package gateway

import "github.com/exsim/exsim/sim/trace"

type answered struct {
	contact string
	hops    int
}

func (answered) EventName() string { return "gateway.answered" }
func (e answered) AppendTo(f *trace.Fields) {
	f.Text("contact", e.contact)
	f.Int("invites", int64(e.hops))
}

type took struct{ uri string }

func (took) EventName() string          { return "gateway.took" }
func (e took) AppendTo(f *trace.Fields) { f.Text("uri", e.uri) }

type failed struct {
	status int
	why    string
	hops   int
}

func (failed) EventName() string { return "gateway.failed" }
func (e failed) AppendTo(f *trace.Fields) {
	f.Int("status", int64(e.status))
	f.Text("why", e.why)
	f.Int("invites", int64(e.hops))
}

type talked struct {
	octets int
	sha256 string
}

func (talked) EventName() string { return "gateway.talked" }
func (e talked) AppendTo(f *trace.Fields) {
	f.Int("octets", int64(e.octets))
	f.Text("sha256", e.sha256)
}

type referred struct {
	target string
	status int
}

func (referred) EventName() string { return "gateway.referred" }
func (e referred) AppendTo(f *trace.Fields) {
	f.Text("target", e.target)
	f.Int("status", int64(e.status))
}

type lamp struct{ waiting, account, counts string }

func (lamp) EventName() string { return "gateway.lamp" }
func (e lamp) AppendTo(f *trace.Fields) {
	f.Text("waiting", e.waiting)
	f.Text("account", e.account)
	f.Text("counts", e.counts)
}

type hungUp struct{ how string }

func (hungUp) EventName() string          { return "gateway.ended" }
func (e hungUp) AppendTo(f *trace.Fields) { f.Text("how", e.how) }

// Events lists the events that this package records.
func Events() []trace.EventType {
	invites := trace.FieldType{Key: "invites", Means: "INVITEs sent, the first included"}
	return []trace.EventType{
		{Name: "gateway.answered", Means: "the simulated gateway's call was answered", Fields: []trace.FieldType{
			{Key: "contact", Means: "Contact of the 200"}, invites}},
		{Name: "gateway.took", Means: "the simulated gateway has answered a call to it", Fields: []trace.FieldType{
			{Key: "uri", Means: "that was called"}}},
		{Name: "gateway.failed", Means: "the simulated gateway's call was not answered", Fields: []trace.FieldType{
			{Key: "status", Means: "last status, 0 if there was none"}, {Key: "why", Means: "what happened"}, invites}},
		{Name: "gateway.talked", Means: "the simulated gateway begins to speak", Fields: []trace.FieldType{
			{Key: "octets", Means: "of G.711"}, {Key: "sha256", Means: "of these octets"}}},
		{Name: "gateway.referred", Means: "the simulated gateway has tried what a REFER asked for", Fields: []trace.FieldType{
			{Key: "target", Means: "URI of Refer-To"}, {Key: "status", Means: "that it reports"}}},
		{Name: "gateway.lamp", Means: "the simulated gateway was told of waiting messages (RFC 3842)", Fields: []trace.FieldType{
			{Key: "waiting", Means: "yes or no"}, {Key: "account", Means: "Message-Account"}, {Key: "counts", Means: "value of Voice-Message: new/old (urgent new/old)"}}},
		{Name: "gateway.ended", Means: "the simulated gateway's call is over", Fields: []trace.FieldType{
			{Key: "how", Means: "bye (the other side), local, closed"}}},
	}
}
