package sim

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/speak/dns"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/transport"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
)

// Party is who has an address: a simulated machine, an actor, or a device.
type Party struct {
	Name, Role string
	Address    netip.Addr
}

// EventName is part of the contract with scenarios.
func (Party) EventName() string { return "bench.party" }

// AppendTo writes the fields.
func (p Party) AppendTo(f *trace.Fields) {
	f.Text("who", p.Name)
	f.Text("role", p.Role)
	f.Text("address", p.Address.String())
}

type workerStarted struct{ row, ports, why string }

func (workerStarted) EventName() string { return "um.worker_started" }
func (e workerStarted) AppendTo(f *trace.Fields) {
	f.Text("row", e.row)
	f.Text("ports", e.ports)
	f.Text("why", e.why)
}

type workerDraining struct {
	row   string
	calls int
}

func (workerDraining) EventName() string { return "um.worker_draining" }
func (e workerDraining) AppendTo(f *trace.Fields) {
	f.Text("row", e.row)
	f.Int("calls", int64(e.calls))
}

type workerStopped struct {
	row, why string
	calls    int
}

func (workerStopped) EventName() string { return "um.worker_stopped" }
func (e workerStopped) AppendTo(f *trace.Fields) {
	f.Text("row", e.row)
	f.Text("why", e.why)
	f.Int("calls", int64(e.calls))
}

type workerFailed struct {
	row string
	err error
}

func (workerFailed) EventName() string { return "um.worker_failed" }
func (e workerFailed) AppendTo(f *trace.Fields) {
	f.Text("row", e.row)
	f.Text("why", e.err.Error())
}

type maintenance struct {
	server string
	on     bool
}

func (maintenance) EventName() string { return "um.maintenance" }
func (e maintenance) AppendTo(f *trace.Fields) {
	f.Text("server", e.server)
	f.Text("state", map[bool]string{true: "inactive", false: "active"}[e.on])
}

// controlEvents are the life of a worker process, and the state of a server.
func controlEvents() []trace.EventType {
	row := trace.FieldType{Key: "row", Means: "its row of the port table: um-worker or um-worker-b"}
	why := trace.FieldType{Key: "why", Means: "the reason"}
	return []trace.EventType{
		{Name: "um.maintenance", Means: "Unified Messaging was set inactive on a server, or active again", Fields: []trace.FieldType{
			{Key: "server", Means: "the server"}, {Key: "state", Means: "active or inactive"}}},
		{Name: "um.worker_started", Means: "a worker process takes new calls (Exchange's event 1000)", Fields: []trace.FieldType{
			row, {Key: "ports", Means: "that it listens on"}, why}},
		{Name: "um.worker_failed", Means: "a worker process cannot be started; the old one goes on (Exchange's event 1001)", Fields: []trace.FieldType{row, why}},
		{Name: "um.worker_draining", Means: "a worker process takes no new calls any more", Fields: []trace.FieldType{
			row, {Key: "calls", Means: "that it still has"}}},
		{Name: "um.worker_stopped", Means: "a worker process has ended and its ports are closed", Fields: []trace.FieldType{
			row, why, {Key: "calls", Means: "that it had to end"}}},
	}
}

// Events lists every event that a run records, sorted by name. Names and
// fields are a contract with scenarios.
func Events() []trace.EventType {
	list := []trace.EventType{{Name: "bench.fault", Means: "exsim itself failed: the run proves nothing", Fields: []trace.FieldType{
		{Key: "where", Means: "part of exsim"}, {Key: "what", Means: "what happened"}}},
		{Name: "bench.file", Means: "what the run was made from; its text is in raw", Fields: []trace.FieldType{{Key: "file", Means: "its name"}}},
		{Name: "bench.party", Means: "who has an address, told once at the start", Fields: []trace.FieldType{
			{Key: "who", Means: "name of a server, an actor or a gateway object"}, {Key: "role", Means: "server, um-ip-gateway (an object), ip-gateway, mail-host or middlebox"},
			{Key: "address", Means: "its address"}}}}
	for _, more := range [][]trace.EventType{
		trace.Events(), admit.Events(), sip.Events(), rtp.Events(), smtp.Events(), um.Events(), controlEvents(), dns.Events(), transport.Events(),
	} {
		list = append(list, more...)
	}
	slices.SortFunc(list, func(a, b trace.EventType) int { return strings.Compare(a.Name, b.Name) })
	return list
}
