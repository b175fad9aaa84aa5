package um

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// plain is an event with one text field.
type plain struct{ name, key, value string }

func (e plain) EventName() string        { return e.name }
func (e plain) AppendTo(f *trace.Fields) { f.Text(e.key, e.value) }

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
	mailbox := []trace.FieldType{{Key: "mailbox", Means: "address of the mailbox"}}
	message := []trace.FieldType{{Key: "message", Means: "its ID in the mailbox"}}
	mwi := []trace.FieldType{{Key: "mailbox", Means: "address of the mailbox"}, {Key: "gateway", Means: "UM IP gateway"},
		{Key: "counts", Means: "new/old, and in brackets how many of them are urgent"}, {Key: "status", Means: "of the answer, 0 without one"}}
	transfer := []trace.FieldType{{Key: "number", Means: "that the caller is handed to"}, {Key: "refer_to", Means: "value of Refer-To"},
		{Key: "status", Means: "last status that the gateway reported, 0 without one"}, why}
	return append(append(gatewayEvents(), outCallEvents()...), []trace.EventType{
		{Name: "um.refused", Means: "a call was refused; of the call itself it has what was known until then", Fields: append([]trace.FieldType{
			{Key: "check", Means: "the check that failed"}, {Key: "status", Means: "SIP status of the answer"},
			{Key: "standing", Means: "how well that status is known"}, {Key: "peer", Means: "who called"}, why,
			{Key: "fix", Means: "what would let the call in"}, callID}, call...)},
		{Name: "um.redirected", Means: "a call was redirected", Fields: append([]trace.FieldType{
			{Key: "to", Means: "server"}, {Key: "row", Means: "row of the port table"}, {Key: "contact", Means: "Contact of the answer"}}, call...)},
		{Name: "um.answered", Means: "a worker answers a call", Fields: append(call[:len(call):len(call)],
			callID, trace.FieldType{Key: "codec", Means: "encoding agreed on"}, trace.FieldType{Key: "srtp", Means: "suite of SRTP; absent where RTP is in clear"}, trace.FieldType{Key: "remote", Means: "where media go"})},
		{Name: "um.greeting", Means: "the greeting begins", Fields: mailbox},
		{Name: "um.pilot_greeting", Means: "no mailbox is named: the pilot's greeting begins", Fields: []trace.FieldType{why}},
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
		{Name: "um.mailbox_full", Means: "the caller is told that the mailbox is full", Fields: mailbox},
		{Name: "um.transferring", Means: "the caller is handed to another number by REFER", Fields: transfer},
		{Name: "um.transferred", Means: "the gateway has done so", Fields: transfer},
		{Name: "um.transfer_failed", Means: "the gateway has not done so: the caller comes back to the menu", Fields: transfer},
		{Name: "um.mwi", Means: "a gateway was told how many messages a mailbox has", Fields: mwi},
		{Name: "um.mwi_failed", Means: "a gateway did not take an indication of waiting messages (Exchange's event 1344): the next one is asked", Fields: append(mwi[:len(mwi):len(mwi)], why)},
		{Name: "um.mwi_given_up", Means: "no gateway took an indication of waiting messages for as long as it is tried", Fields: []trace.FieldType{why}},
		{Name: "um.fax", Means: "a fax machine calls: the caller is referred to the fax partner", Fields: []trace.FieldType{
			{Key: "by", Means: "CNG, or re-INVITE with what it offers"}, {Key: "to", Means: "the partner"}}},
		{Name: "um.fax_refused", Means: "an offer for a fax is refused: no partner takes it", Fields: []trace.FieldType{
			{Key: "by", Means: "what was offered"}, {Key: "to", Means: "why nobody takes it"}}},
		{Name: "um.tone", Means: "the tone before the recording begins", Fields: []trace.FieldType{{Key: "length", Means: "its length"}}},
		{Name: "um.recording", Means: "the recording begins", Fields: mailbox},
		{Name: "um.recorded", Means: "the recording is over", Fields: []trace.FieldType{
			{Key: "by", Means: "key, silence, length or hang-up"}, {Key: "length", Means: "of the recording"},
			{Key: "octets", Means: "of G.711"}, {Key: "voiced", Means: "false if nothing was louder than silence"}}},
		{Name: "um.missed_call", Means: "the caller hung up before the tone", Fields: mailbox},
		{Name: "um.submitted", Means: "a message goes to transport", Fields: []trace.FieldType{
			{Key: "kind", Means: "voice or missed"}, {Key: "from", Means: "envelope sender"}, {Key: "to", Means: "envelope recipient"},
			{Key: "octets", Means: "size"}}},
		{Name: "um.offer_unanswered", Means: "an offer of Unified Messaging has no usable answer", Fields: []trace.FieldType{why}},
		{Name: "um.hang_up", Means: "Unified Messaging ends the call", Fields: []trace.FieldType{why}},
		{Name: "um.ended", Means: "the call is over", Fields: []trace.FieldType{
			{Key: "how", Means: "bye (the caller), local, no ack, session expired, closed"}}},
		{Name: "um.server_down", Means: "a UM service does not answer the call router", Fields: []trace.FieldType{
			{Key: "server", Means: "the server"}, why}},
		{Name: "um.server_up", Means: "a UM service answers again", Fields: []trace.FieldType{{Key: "server", Means: "the server"}}},
	}...)
}
