package sim

import (
	"slices"

	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sim/voicemail"
)

// mailboxes gives Unified Messaging what is stored.
type mailboxes struct {
	store   *store.Store
	changed func(address string) // is told of what was read or deleted
}

var _ um.Mailboxes = mailboxes{}

func (m mailboxes) Voice(address string) ([]um.VoiceMail, error) {
	items, err := m.store.List(address)
	if err != nil {
		return nil, err
	}
	var list []um.VoiceMail
	for _, i := range items {
		msg, err := voicemail.ReadFile(i.Path)
		if err != nil || !msg.IsVoice() {
			continue // what cannot be read is no voice message
		}
		list = append(list, um.VoiceMail{ID: i.ID, Caller: msg.Caller, Read: i.Read, Urgent: msg.Urgent, Length: msg.Length})
	}
	return list, nil
}

func (m mailboxes) Recording(address, id string) ([]byte, error) {
	i, err := m.store.Find(address, id)
	if err != nil {
		return nil, err
	}
	return voicemail.Recording(i.Path)
}

func (m mailboxes) MarkRead(address, id string) error {
	i, err := m.store.Find(address, id)
	if err != nil || i.Read {
		return err
	}
	if err = m.store.MarkRead(i); err == nil {
		m.changed(address)
	}
	return err
}

func (m mailboxes) Delete(address, id string) error {
	i, err := m.store.Find(address, id)
	if err == nil {
		err = m.store.Remove(i)
	}
	if err == nil {
		m.changed(address)
	}
	return err
}

func (m mailboxes) Size(address string) (int64, error) {
	items, err := m.store.List(address)
	total := int64(0)
	for i := range slices.Values(items) {
		total += i.Size
	}
	return total, err
}

// mailboxChanged is told when a message came, was read, or was deleted.
func (x *Exchange) mailboxChanged(address string) { x.lamps.Changed(address) }

func (x *Exchange) mailboxes() um.Mailboxes { return mailboxes{x.store, x.mailboxChanged} }
