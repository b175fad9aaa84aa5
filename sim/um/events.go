package um

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// plain is an event with one text field.
type plain struct{ name, key, value string }

func (e plain) EventName() string        { return e.name }
func (e plain) AppendTo(f *trace.Fields) { f.Text(e.key, e.value) }

// workerLate says that no worker process was ready for a call.
type workerLate struct{}

func (workerLate) EventName() string      { return "um.worker_late" }
func (workerLate) AppendTo(*trace.Fields) {}

type refusedEvent struct {
	r    *refusal
	peer string
	a    *admitted

	callID string
}

func (refusedEvent) EventName() string { return "um.refused" }
func (e refusedEvent) AppendTo(f *trace.Fields) {
	f.Text("check", e.r.check)
	f.Int("status", int64(e.r.answer.Code))
	f.Text("standing", string(e.r.answer.Standing))
	f.Text("peer", e.peer)
	f.Text("why", e.r.cause)
	f.Text("fix", e.r.fix)
	f.Text("call_id", e.callID)
	if e.a != nil {
		e.a.appendTo(f)
	}
}

func (a *admitted) appendTo(f *trace.Fields) {
	f.Text("kind", string(a.kind))
	if a.gateway != nil {
		f.Text("gateway", a.gateway.Name)
	}
	if a.huntGroup != nil {
		f.Text("hunt_group", a.huntGroup.Name)
		f.Text("dial_plan", a.plan.Name)
	}
	f.Text("pilot", a.pilot)
	f.Text("caller", a.caller.User)
	if a.diversion != nil {
		f.Text("diverted", a.diversion.User)
		f.Text("reason", a.diversion.Reason)
	}
	f.Text("reason_for_call", reasonForCall(a.diversion))
	if a.mailbox != nil {
		f.Text("mailbox", a.mailbox.Address)
	}
	if a.attendant != nil {
		f.Text("attendant", a.attendant.Name)
	}
}

type redirected struct {
	to, row, contact string
	a                *admitted
}

func (redirected) EventName() string { return "um.redirected" }
func (e redirected) AppendTo(f *trace.Fields) {
	f.Text("to", e.to)
	f.Text("row", e.row)
	f.Text("contact", e.contact)
	e.a.appendTo(f)
}

type answeredEvent struct {
	a      *admitted
	agreed sdp.Agreed
	callID string
}

func (answeredEvent) EventName() string { return "um.answered" }
func (e answeredEvent) AppendTo(f *trace.Fields) {
	e.a.appendTo(f)
	f.Text("call_id", e.callID)
	if e.agreed.Codec.Name == "" {
		return // the peer made no offer: what is agreed comes with the ACK
	}
	f.Text("codec", e.agreed.Codec.Name)
	if k := e.agreed.Keys; k != nil {
		f.Text("srtp", k.Suite)
	}
	f.Text("remote", e.agreed.Remote.String())
}

type submitted struct{ m Message }

func (submitted) EventName() string { return "um.submitted" }
func (e submitted) AppendTo(f *trace.Fields) {
	f.Text("kind", e.m.Kind)
	f.Text("from", e.m.From)
	f.Text("to", e.m.To)
	f.Int("octets", int64(len(e.m.Data)))
}

type endedEvent struct{ how sip.End }

func (endedEvent) EventName() string          { return "um.ended" }
func (e endedEvent) AppendTo(f *trace.Fields) { f.Text("how", string(e.how)) }

type serverHealth struct {
	server string
	err    error
}

func (e serverHealth) EventName() string {
	if e.err != nil {
		return "um.server_down"
	}
	return "um.server_up"
}

func (e serverHealth) AppendTo(f *trace.Fields) {
	f.Text("server", e.server)
	if e.err != nil {
		f.Text("why", e.err.Error())
	}
}

type gatewayStatus struct {
	gateway string
	status  org.Status
}

func (gatewayStatus) EventName() string { return "um.gateway_status" }
func (e gatewayStatus) AppendTo(f *trace.Fields) {
	f.Text("gateway", e.gateway)
	f.Text("status", string(e.status))
}

type gatewayResolved struct {
	g     *org.UMIPGateway
	addrs []netip.Addr
}

func (gatewayResolved) EventName() string { return "um.gateway_resolved" }
func (e gatewayResolved) AppendTo(f *trace.Fields) {
	f.Text("gateway", e.g.Name)
	f.Text("fqdn", e.g.FQDN)
	f.Text("addresses", strings.Trim(fmt.Sprint(e.addrs), "[]"))
}

type gatewayUnresolved struct {
	g   *org.UMIPGateway
	why string
}

func (gatewayUnresolved) EventName() string { return "um.gateway_unresolved" }
func (e gatewayUnresolved) AppendTo(f *trace.Fields) {
	f.Text("gateway", e.g.Name)
	f.Text("fqdn", e.g.FQDN)
	f.Text("why", e.why)
}

type gatewayHealth struct {
	gateway string
	to      netip.AddrPort
	secure  bool
	status  int
	err     error
}

func (e gatewayHealth) EventName() string {
	if e.err != nil {
		return "um.gateway_down"
	}
	return "um.gateway_up"
}

func (e gatewayHealth) AppendTo(f *trace.Fields) {
	f.Text("gateway", e.gateway)
	f.Text("transport", map[bool]string{false: "TCP", true: "TLS"}[e.secure])
	f.Text("address", e.to.Addr().String())
	f.Int("port", int64(e.to.Port()))
	f.Int("status", int64(e.status))
	if e.err != nil {
		f.Text("why", e.err.Error())
	}
}

// gatewayEvents are what is known of the gateways themselves.
func gatewayEvents() []trace.EventType {
	name := trace.FieldType{Key: "gateway", Means: "UM IP gateway"}
	fqdn := trace.FieldType{Key: "fqdn", Means: "its name in DNS"}
	why := trace.FieldType{Key: "why", Means: "the reason"}
	health := []trace.FieldType{name, {Key: "transport", Means: "TCP or TLS"}, {Key: "address", Means: "of the gateway"},
		{Key: "port", Means: "of the gateway"}, {Key: "status", Means: "of the answer, 0 without one"}}
	return []trace.EventType{
		{Name: "um.gateway_up", Means: "a gateway answers OPTIONS: the first time, or again", Fields: health},
		{Name: "um.gateway_down", Means: "a gateway does not answer OPTIONS with 200 (Exchange's event 1400)", Fields: append(health[:len(health):len(health)], why)},
		{Name: "um.gateway_status", Means: "a gateway object was enabled or disabled", Fields: []trace.FieldType{name, {Key: "status", Means: "Enabled, Disabled or NoNewCalls"}}},
		{Name: "um.gateway_resolved", Means: "the addresses of a gateway's name have changed", Fields: []trace.FieldType{name, fqdn, {Key: "addresses", Means: "that it has now"}}},
		{Name: "um.gateway_unresolved", Means: "a gateway's name has no address of its own (Exchange's event 1175 where another gateway has it)", Fields: []trace.FieldType{name, fqdn, why}},
	}
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	return slices.Concat(gatewayEvents(), callEvents(), talkEvents(), handOverEvents(), outCallEvents())
}

// callEvents are the life of a call that comes in, and of the servers that take
// it.
func callEvents() []trace.EventType {
	call := []trace.FieldType{
		{Key: "kind", Means: "call-answering, subscriber-access, auto-attendant, or pilot for a caller that nobody knows"},
		{Key: "gateway", Means: "UM IP gateway"}, {Key: "hunt_group", Means: "hunt group"}, {Key: "dial_plan", Means: "dial plan"},
		{Key: "pilot", Means: "number dialled"}, {Key: "caller", Means: "calling party"},
		{Key: "diverted", Means: "diverting party that names the mailbox"}, {Key: "reason", Means: "reason of the diversion"},
		{Key: "reason_for_call", Means: "Direct, DivertForward, DivertBusy or DivertNoAnswer, as the call data records have it"},
		{Key: "mailbox", Means: "address of the mailbox: of the party that was called, or of the subscriber who calls"},
		{Key: "attendant", Means: "auto attendant"},
	}
	why := trace.FieldType{Key: "why", Means: "the reason"}
	callID := trace.FieldType{Key: "call_id", Means: "Call-ID of SIP, the call identity of the call data records"}
	return []trace.EventType{
		{Name: "um.refused", Means: "a call was refused; of the call itself it has what was known until then", Fields: append([]trace.FieldType{
			{Key: "check", Means: "the check that failed"}, {Key: "status", Means: "SIP status of the answer"},
			{Key: "standing", Means: "how well that status is known"}, {Key: "peer", Means: "who called"}, why,
			{Key: "fix", Means: "what would let the call in"}, callID}, call...)},
		{Name: "um.worker_late", Means: "a call finds no worker process that has started (Exchange's event 1038)"},
		{Name: "um.redirected", Means: "a call was redirected", Fields: append([]trace.FieldType{
			{Key: "to", Means: "server"}, {Key: "row", Means: "row of the port table"}, {Key: "contact", Means: "Contact of the answer"}}, call...)},
		{Name: "um.answered", Means: "a worker answers a call", Fields: append(call[:len(call):len(call)],
			callID, trace.FieldType{Key: "codec", Means: "encoding agreed on"}, trace.FieldType{Key: "srtp", Means: "suite of SRTP; absent where RTP is in clear"}, trace.FieldType{Key: "remote", Means: "where media go"})},
		{Name: "um.offer_unanswered", Means: "an offer of Unified Messaging has no usable answer", Fields: []trace.FieldType{why}},
		{Name: "um.hang_up", Means: "Unified Messaging ends the call", Fields: []trace.FieldType{why}},
		{Name: "um.ended", Means: "the call is over", Fields: []trace.FieldType{
			{Key: "how", Means: "bye (the caller), local, no ack, session expired, closed"}}},
		{Name: "um.server_down", Means: "a UM service does not answer the call router", Fields: []trace.FieldType{
			{Key: "server", Means: "the server"}, why}},
		{Name: "um.server_up", Means: "a UM service answers again", Fields: []trace.FieldType{{Key: "server", Means: "the server"}}},
	}
}
