package um

import "time"

// VoiceMail is a voice message in a mailbox.
type VoiceMail struct {
	ID     string
	Caller string // number
	Read   bool
	Urgent bool
	Length time.Duration
}

// Mailboxes is what Unified Messaging reads and changes in mailboxes, each
// named by its SMTP address.
type Mailboxes interface {
	// Voice lists the voice messages, the oldest first.
	Voice(address string) ([]VoiceMail, error)
	// Recording is a message's WAV.
	Recording(address, id string) ([]byte, error)
	MarkRead(address, id string) error
	Delete(address, id string) error
	// Size is how many octets all messages have.
	Size(address string) (int64, error)
}
