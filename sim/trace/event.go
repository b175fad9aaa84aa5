// Package trace keeps the one timeline of a run: an append-only log of events.
//
// Writers append under a short lock and never wait for a reader; readers
// follow from the first event at their own pace and miss nothing. A bounded
// part of the log stays in memory, the older part lies on disk and is read back
// from there. The package knows no protocol: each protocol package owns its
// typed events and gives the log a name, flat fields and the raw bytes.
package trace

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Session names one call or mail session in order of arrival, as "call-2".
// The zero Session means none.
type Session struct {
	Kind string // "call", "smtp"
	N    uint32 // counts from 1 within its kind
}

// String gives "call-2", or "" for the zero Session.
func (s Session) String() string {
	if s.Kind == "" {
		return ""
	}
	return s.Kind + "-" + strconv.FormatUint(uint64(s.N), 10)
}

// ParseSession reads what String wrote.
func ParseSession(text string) (Session, error) {
	if text == "" {
		return Session{}, nil
	}
	i := strings.LastIndexByte(text, '-')
	if i < 1 {
		return Session{}, fmt.Errorf("trace: session %q is not KIND-NUMBER", text)
	}
	n, err := strconv.ParseUint(text[i+1:], 10, 32)
	if err != nil {
		return Session{}, fmt.Errorf("trace: session %q is not KIND-NUMBER", text)
	}
	return Session{Kind: text[:i], N: uint32(n)}, nil
}

// Event is one entry of the timeline as a reader sees it.
type Event struct {
	Seq      uint64        // the order of events, from 0
	At       time.Duration // monotonic, since the log began
	Host     string        // the simulated machine or actor
	Listener string        // its listener or role, such as "call-router"
	Session  Session       // the call or mail session it belongs to
	Cause    Session       // the session that brought this one about
	Name     string        // "sip.received"
	Fields   []Field
	Raw      []byte // the message or line as it was on the wire, nil if none
}

// Field is one named value of an event. Value is a string, an int64, a
// float64, a bool or a time.Duration (seconds in a file).
type Field struct {
	Key   string
	Value any
}

// Get returns the value of a field; the envelope's own members answer too, by
// the names they have in a file (host, listener, session, cause, name, raw).
func (e *Event) Get(key string) (any, bool) {
	for _, f := range e.Fields {
		if f.Key == key {
			return f.Value, true
		}
	}
	switch key {
	case "host":
		return e.Host, true
	case "listener":
		return e.Listener, true
	case "session":
		return e.Session.String(), true
	case "cause":
		return e.Cause.String(), true
	case "name":
		return e.Name, true
	case "raw":
		return string(e.Raw), e.Raw != nil
	}
	return nil, false
}

// Text returns a field as text, "" when it is absent.
func (e *Event) Text(key string) string {
	v, ok := e.Get(key)
	if !ok {
		return ""
	}
	return FormatValue(v)
}

// Int returns a whole-number field, 0 when it is absent or no number.
func (e *Event) Int(key string) int64 {
	v, _ := e.Get(key)
	n, _ := v.(int64)
	return n
}

// FormatValue prints a field's value for people.
func FormatValue(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// Payload is a typed event of a protocol.
type Payload interface {
	// EventName is part of the contract with scenarios, such as "sip.received".
	EventName() string
	// AppendTo writes the fields. It runs under the log's lock: it must not
	// block, and must not keep f.
	AppendTo(f *Fields)
}

// EventType documents one event for people and for the contract test.
type EventType struct {
	Name   string
	Means  string
	Fields []FieldType
}

// FieldType documents one field of an EventType.
type FieldType struct{ Key, Means string }
