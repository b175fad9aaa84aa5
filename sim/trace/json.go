package trace

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Schema is the version of the file format, in the first line of every file.
const Schema = 1

// AppendJSON appends one event as a JSON object without a line end. Raw bytes
// stand as text ("raw") where they are UTF-8, else in base64 ("raw64").
func AppendJSON(b []byte, e *Event) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"at":`...)
	b = appendSeconds(b, e.At)
	for _, m := range [...]struct{ key, value string }{
		{"host", e.Host}, {"listener", e.Listener},
		{"session", e.Session.String()}, {"cause", e.Cause.String()}, {"name", e.Name},
	} {
		if m.value != "" {
			b = append(b, `,"`...)
			b = append(b, m.key...)
			b = append(b, `":`...)
			b = appendQuoted(b, m.value)
		}
	}
	if len(e.Fields) > 0 {
		b = append(b, `,"fields":{`...)
		for i, f := range e.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, f.Key)
			b = append(b, ':')
			b = appendValue(b, f.Value)
		}
		b = append(b, '}')
	}
	if e.Raw != nil {
		if utf8.Valid(e.Raw) {
			b = append(b, `,"raw":`...)
			b = appendQuoted(b, string(e.Raw))
		} else {
			b = append(b, `,"raw64":"`...)
			b = base64.StdEncoding.AppendEncode(b, e.Raw)
			b = append(b, '"')
		}
	}
	return append(b, '}')
}

func appendQuoted(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false) // SIP is full of angle brackets
	_ = e.Encode(s)        // a string always marshals
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// appendValue keeps the kinds apart: a float64 always has a point, and a
// duration is {"s": seconds}.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		n := len(b)
		b = strconv.AppendFloat(b, v, 'f', -1, 64)
		if !bytes.ContainsRune(b[n:], '.') {
			b = append(b, ".0"...)
		}
		return b
	case bool:
		return strconv.AppendBool(b, v)
	case time.Duration:
		b = append(b, `{"s":`...)
		return append(appendSeconds(b, v), '}')
	}
	return appendQuoted(b, FormatValue(v))
}

// appendSeconds prints a time to the nanosecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		b, d = append(b, '-'), -d
	}
	b = strconv.AppendInt(b, int64(d/time.Second), 10)
	if rest := d % time.Second; rest > 0 {
		b = append(b, '.')
		b = append(b, strings.TrimRight(fmt.Sprintf("%09d", rest), "0")...)
	}
	return b
}

// WriteJSON writes events as JSON lines.
func WriteJSON(w io.Writer, events iter.Seq[Event]) error {
	bw := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for e := range events {
		line = append(AppendJSON(line[:0], &e), '\n')
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

// ReadJSON reads a file of JSON lines. An error names the line.
func ReadJSON(r io.Reader) ([]Event, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	var events []Event
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			e, perr := parseLine(line)
			if perr != nil && len(events) > 0 && errors.Is(err, io.EOF) {
				return events, nil // it was cut short in the middle of a line; that run.ended is not there says so
			}
			if perr != nil {
				return nil, fmt.Errorf("trace: line %d: %w", n, perr)
			}
			if len(events) == 0 {
				if err := checkHeader(&e); err != nil {
					return nil, err
				}
			}
			events = append(events, e)
		}
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func checkHeader(e *Event) error {
	if e.Name != (started{}).EventName() {
		return fmt.Errorf("trace: line 1: not an exsim trace: the first event is %q, not run.started", e.Name)
	}
	if v := e.Int("schema"); v != Schema {
		return fmt.Errorf("trace: line 1: schema %d is not %d: the file is of another exsim version", v, Schema)
	}
	return nil
}

func parseLine(line []byte) (Event, error) {
	var in struct {
		Seq            uint64
		At             float64
		Host, Listener string
		Session, Cause string
		Name           string
		Fields         json.RawMessage
		Raw            *string
		Raw64          []byte
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return Event{}, err
	}
	e := Event{Seq: in.Seq, At: seconds(in.At), Host: in.Host, Listener: in.Listener, Name: in.Name, Raw: in.Raw64}
	if in.Raw != nil {
		e.Raw = []byte(*in.Raw)
	}
	var err error
	if e.Session, err = ParseSession(in.Session); err != nil {
		return e, err
	}
	if e.Cause, err = ParseSession(in.Cause); err != nil {
		return e, err
	}
	e.Fields, err = parseFields(in.Fields)
	return e, err
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s * 1e9))
}

// parseFields keeps the order of the fields, which a map would lose.
func parseFields(b json.RawMessage) ([]Field, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var fields []Field
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("a field's name is %v, not text", key)
		}
		fields = append(fields, Field{name, fieldValue(v)})
	}
	return fields, nil
}

func fieldValue(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		if s, ok := v["s"].(json.Number); ok {
			f, _ := s.Float64()
			return seconds(f)
		}
	case bool, string:
		return v
	}
	return fmt.Sprint(v)
}
