package sim

import (
	"slices"
	"sync"

	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sim/voicemail"
)

// mailboxes gives Unified Messaging what is stored.
type mailboxes struct {
	store   *store.Store
	changed func(address string) // is told of what was read or deleted

	mu sync.Mutex
	// seen is what was read of messages, by mailbox and ID: a message does not
	// change, and a full mailbox is not read anew with each that comes.
	seen map[string]map[string]voicemail.Message
}

var _ um.Mailboxes = (*mailboxes)(nil)

func (m *mailboxes) Voice(address string) ([]um.VoiceMail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	items, err := m.store.List(address)
	if err != nil {
		return nil, err
	}
	var list []um.VoiceMail
	now := make(map[string]voicemail.Message, len(items)) // and nothing of those that are gone
	for _, i := range items {
		msg, known := m.seen[address][i.ID]
		if !known {
			read, err := voicemail.ReadFile(i.Path)
			if err != nil {
				continue // what cannot be read is no voice message, for now
			}
			msg = *read
			msg.Attachments = nil
		}
		now[i.ID] = msg
		if !msg.IsVoice() {
			continue
		}
		list = append(list, um.VoiceMail{ID: i.ID, Caller: msg.Caller, Read: i.Read, Urgent: msg.Urgent, Length: msg.Length})
	}
	m.seen[address] = now
	return list, nil
}

func (m *mailboxes) Recording(address, id string) ([]byte, error) {
	i, err := m.store.Find(address, id)
	if err != nil {
		return nil, err
	}
	return voicemail.Recording(i.Path)
}

func (m *mailboxes) MarkRead(address, id string) error {
	i, err := m.store.Find(address, id)
	if err != nil || i.Read {
		return err
	}
	if err = m.store.MarkRead(i); err == nil {
		m.changed(address)
	}
	return err
}

func (m *mailboxes) Delete(address, id string) error {
	i, err := m.store.Find(address, id)
	if err == nil {
		err = m.store.Remove(i)
	}
	if err == nil {
		m.changed(address)
	}
	return err
}

func (m *mailboxes) Size(address string) (int64, error) {
	items, err := m.store.List(address)
	total := int64(0)
	for i := range slices.Values(items) {
		total += i.Size
	}
	return total, err
}

// mailboxChanged is told when a message came, was read, or was deleted.
func (x *Exchange) mailboxChanged(address string) { x.lamps.Changed(address) }

func (x *Exchange) newMailboxes() *mailboxes {
	return &mailboxes{store: x.store, changed: x.mailboxChanged, seen: map[string]map[string]voicemail.Message{}}
}
