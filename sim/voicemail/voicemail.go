// Package voicemail reads the messages that Unified Messaging makes: which kind
// each is, who called, and what was said.
package voicemail

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Message is a stored message as a telephone tells it.
type Message struct {
	Class       string // value of Content-Class, "" of an ordinary mail
	Subject     string
	Caller      string // number of the caller
	Length      time.Duration
	Urgent      bool
	Private     bool
	Attachments []string // names of attached files
}

// voiceClasses are the values of Content-Class of messages with a recording
// ([MS-OXCMAIL] 2.1.3.2.3).
var voiceClasses = []string{"voice-ca", "voice", "voice-uc"}

// IsVoice reports whether a message is one to be listened to.
func (m *Message) IsVoice() bool {
	for _, c := range voiceClasses {
		if strings.EqualFold(m.Class, c) {
			return true
		}
	}
	return false
}

// limits of what is read of a message that anybody may have sent.
const (
	maxBody        = 64 << 20
	maxAttachments = 100
)

// Read reads a message, but no recording.
func Read(r io.Reader) (*Message, error) {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return nil, fmt.Errorf("voicemail: %w", err)
	}
	h := msg.Header
	m := &Message{
		Class: h.Get("Content-Class"), Caller: h.Get("X-CallingTelephoneNumber"),
		Urgent: strings.EqualFold(h.Get("Importance"), "high"), Private: strings.EqualFold(h.Get("Sensitivity"), "private"),
	}
	var dec mime.WordDecoder
	if m.Subject, err = dec.DecodeHeader(h.Get("Subject")); err != nil {
		m.Subject = h.Get("Subject")
	}
	if s, err := strconv.Atoi(h.Get("X-VoiceMessageDuration")); err == nil {
		m.Length = time.Duration(s) * time.Second
	}
	_ = parts(msg, func(p *multipart.Part) bool { // what is no multipart has no attachments
		if n := p.FileName(); n != "" {
			m.Attachments = append(m.Attachments, n)
		}
		return len(m.Attachments) < maxAttachments
	})
	return m, nil
}

// parts walks over the parts of the first level until next says no.
func parts(msg *mail.Message, next func(p *multipart.Part) bool) error {
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return errors.New("voicemail: nothing is attached")
	}
	r := multipart.NewReader(io.LimitReader(msg.Body, maxBody), params["boundary"])
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("voicemail: %w", err)
		}
		if !next(p) {
			return nil
		}
	}
}

// ReadFile reads a stored message.
func ReadFile(path string) (*Message, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("voicemail: %w", err)
	}
	defer f.Close()
	return Read(f)
}

// Recording is the WAV that is attached to a stored message.
func Recording(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("voicemail: %w", err)
	}
	defer f.Close()
	msg, err := mail.ReadMessage(f)
	if err != nil {
		return nil, fmt.Errorf("voicemail: %w", err)
	}
	var wav []byte
	var fault error
	err = parts(msg, func(p *multipart.Part) bool {
		if !strings.HasSuffix(strings.ToLower(p.FileName()), ".wav") {
			return true
		}
		wav, fault = io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		return false
	})
	if err = errors.Join(err, fault); err == nil && wav == nil {
		err = errors.New("voicemail: no WAV is attached")
	}
	return wav, err
}
