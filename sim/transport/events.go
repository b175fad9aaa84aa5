package transport

import (
	"bytes"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/voicemail"
)

// deliveredEvent is a message in a mailbox; its header section is in raw.
type deliveredEvent struct {
	item        store.Item
	mailbox     *org.Mailbox
	messageID   string
	internalID  int64
	from        string
	subject     string
	class       string
	attachments []string
}

func (deliveredEvent) EventName() string { return "mail.delivered" }

func (e deliveredEvent) AppendTo(f *trace.Fields) {
	f.Text("mailbox", e.mailbox.Address)
	f.Text("extension", e.mailbox.Extension)
	f.Text("from", e.from)
	f.Text("subject", e.subject)
	f.Text("content_class", e.class)
	f.Text("attachments", strings.Join(e.attachments, "; "))
	f.Int("octets", e.item.Size)
	f.Text("path", e.item.Path)
	f.Text("message_id", e.messageID)
	f.Int("internal_id", e.internalID)
}

// receivedEvent is a message that is acknowledged, whoever it is for.
type receivedEvent struct {
	from, recipients, messageID, subject string
	count                                int
	internalID, octets                   int64
}

func (receivedEvent) EventName() string { return "mail.received" }
func (e receivedEvent) AppendTo(f *trace.Fields) {
	f.Text("from", e.from)
	f.Text("recipients", e.recipients)
	f.Int("count", int64(e.count))
	f.Text("subject", e.subject)
	f.Text("message_id", e.messageID)
	f.Int("internal_id", e.internalID)
	f.Int("octets", e.octets)
}

// delivered describes a stored message.
func delivered(item store.Item, m *org.Mailbox, from string, head *head) deliveredEvent {
	e := deliveredEvent{item: item, mailbox: m, from: from}
	read := func() (*voicemail.Message, error) { return voicemail.Read(bytes.NewReader(head.text())) }
	if strings.HasPrefix(strings.ToLower(head.field("content-type")), "multipart/") { // it may have attachments
		read = func() (*voicemail.Message, error) { return voicemail.ReadFile(item.Path) }
	}
	if msg, err := read(); err == nil {
		e.subject, e.class, e.attachments = msg.Subject, msg.Class, msg.Attachments
	}
	return e
}

// permissions are what a session may do from here on.
type permissions struct{ user, group, rights string }

func (permissions) EventName() string { return "smtp.permissions" }
func (e permissions) AppendTo(f *trace.Fields) {
	f.Text("user", e.user)
	f.Text("group", e.group)
	f.Text("rights", e.rights)
}

// submitFailed is a submission that did not succeed.
type submitFailed struct {
	why   string
	final bool
	path  string
}

func (submitFailed) EventName() string { return "um.submit_failed" }

func (e submitFailed) AppendTo(f *trace.Fields) {
	f.Text("why", e.why)
	f.Bool("final", e.final)
	f.Text("path", e.path)
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	connector := trace.FieldType{Key: "connector", Means: "name of the send connector"}
	recipient := trace.FieldType{Key: "recipient", Means: "who it is for"}
	from := trace.FieldType{Key: "from", Means: "envelope sender"}
	subject := trace.FieldType{Key: "subject", Means: "as it stands there"}
	id := trace.FieldType{Key: "message_id", Means: "Message-ID, or the one that it was given"}
	internal := trace.FieldType{Key: "internal_id", Means: "InternalId of the reply that it was taken with"}
	return []trace.EventType{
		{Name: "mail.delivered", Means: "a message is in a mailbox, on disk; its header section is in raw", Fields: []trace.FieldType{
			{Key: "mailbox", Means: "SMTP address of the mailbox"}, {Key: "extension", Means: "its extension"},
			{Key: "from", Means: "envelope sender"}, {Key: "subject", Means: "subject, decoded"},
			{Key: "content_class", Means: "Content-Class: voice-ca or missedcall from Unified Messaging"},
			{Key: "attachments", Means: "names of the attached files, separated by semicolons"},
			{Key: "octets", Means: "size of the file"}, {Key: "path", Means: "where it lies"},
			{Key: "message_id", Means: "Message-ID, or the one that it was given"}, {Key: "internal_id", Means: "InternalId of the reply"}}},
		{Name: "mail.received", Means: "a message is on disk for all that it is for, and is about to be acknowledged", Fields: []trace.FieldType{
			{Key: "from", Means: "envelope sender"}, {Key: "recipients", Means: "separated by semicolons"}, {Key: "count", Means: "how many they are"},
			{Key: "subject", Means: "as it stands there"}, {Key: "message_id", Means: "Message-ID, or the one that it was given"},
			{Key: "internal_id", Means: "InternalId of the reply"}, {Key: "octets", Means: "of the message"}}},
		{Name: "smtp.permissions", Means: "what a session may do from here on", Fields: []trace.FieldType{
			{Key: "user", Means: "whom it serves"}, {Key: "group", Means: "permission group"},
			{Key: "rights", Means: "as a protocol log names them, separated by blanks"}}},
		{Name: "send.queued", Means: "a message for another domain is on disk and waits for its send connector", Fields: []trace.FieldType{
			connector, recipient}},
		{Name: "send.connected", Means: "a send connector is connected to its next hop", Fields: []trace.FieldType{
			connector, {Key: "to", Means: "address and port of the next hop"}, {Key: "local", Means: "from where"}}},
		{Name: "send.disconnected", Means: "this connection is over", Fields: []trace.FieldType{connector}},
		{Name: "send.taken", Means: "the next hop has taken a message for a recipient", Fields: []trace.FieldType{
			connector, recipient, {Key: "answer", Means: "of the next hop"}, from, subject, id, internal}},
		{Name: "send.failed", Means: "a message was not taken; it stays on disk", Fields: []trace.FieldType{
			connector, recipient, {Key: "why", Means: "what a queue's LastError says"}, {Key: "final", Means: "true if it will not be tried again"},
			{Key: "path", Means: "where it waits; empty where others have it"}, from, subject, id, internal}},
		{Name: "smtp.domain_security", Means: "a sender of a domain that needs mutual TLS was held against what its server showed", Fields: []trace.FieldType{
			{Key: "domain", Means: "of the sender"}, {Key: "why", Means: "what is wrong; empty if nothing"}}},
		{Name: "smtp.blocked", Means: "a connection was dropped behind its recipients: the address is on the block list", Fields: []trace.FieldType{
			{Key: "peer", Means: "the address"}}},
		{Name: "smtp.delayed_ack", Means: "an answer to a message was held back until the next hop had it", Fields: []trace.FieldType{
			{Key: "interval", Means: "for how long"}, {Key: "outcome", Means: "Delivered; Failed where the next hop refused it for good; Expired where it was given anyway"}}},
		{Name: "smtp.no_certificate", Means: "a connector has a name for which the server has no certificate: it offers no TLS", Fields: []trace.FieldType{
			{Key: "connector", Means: "its name"}, {Key: "wanted", Means: "its tls-certificate-name, or the name that it says"}}},
		{Name: "transport.state", Means: "a server's transport was set so", Fields: []trace.FieldType{
			{Key: "what", Means: "component, or back pressure"}, {Key: "state", Means: "its new state"}}},
		{Name: "um.submit_failed", Means: "a message of Unified Messaging was not taken; it stays on disk", Fields: []trace.FieldType{
			{Key: "why", Means: "the peer's answer, or what broke"}, {Key: "final", Means: "true if it will not be tried again"},
			{Key: "path", Means: "where it waits"}}},
	}
}
