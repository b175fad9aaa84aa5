package yamlfile

import (
	"bytes"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Explanation prints a model as YAML with every value that holds, and behind
// each that the file does not say, where it comes from.
type Explanation struct {
	// Origin says where the value at a path comes from, such as
	// ["organisation", "rtp", "low"]; "" is the file itself.
	Origin func(path []string) string
	// Fact fills in a setting that is left to the profile: its value and where
	// it stands, by the tag fact.
	Fact func(key string) (value, origin string)

	b bytes.Buffer
}

// Print prints a model below a path, indented.
func (x *Explanation) Print(model any, path []string, indent int) string {
	x.b.Reset()
	x.value(reflect.ValueOf(model).Elem(), path, indent, "")
	return x.b.String()
}

// line prints an entry, with its origin unless it is the file.
func (x *Explanation) line(indent int, text, origin string) {
	line := strings.Repeat("  ", indent) + text
	if origin != "" {
		line = fmt.Sprintf("%-70s # %s", line, origin)
	}
	x.b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// value prints what a struct, list or map holds; dash is what begins its first
// line, in a list.
func (x *Explanation) value(v reflect.Value, path []string, indent int, dash string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		x.value(v.Elem(), path, indent, dash)
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()).list {
			if x.entry(f.name, v.FieldByIndex(f.index), v.Type().FieldByIndex(f.index), append(path[:len(path):len(path)], f.name), indent, dash) && dash != "" {
				dash = strings.Repeat(" ", len(dash))
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			x.entry(k.String(), v.MapIndex(k), reflect.StructField{}, append(path[:len(path):len(path)], k.String()), indent, "")
		}
	case reflect.Slice:
		for i := range v.Len() {
			at := append(path[:len(path):len(path)], strconv.Itoa(i))
			if text, ok := scalar(v.Index(i)); ok {
				x.line(indent, "- "+text, x.Origin(at))
				continue
			}
			x.value(v.Index(i), at, indent, "- ")
		}
	}
}

// entry prints one key; false if there is nothing to say.
func (x *Explanation) entry(key string, v reflect.Value, field reflect.StructField, path []string, indent int, dash string) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	lead := dash + key + ":"
	if v.IsValid() && (v.Type() == valueType || v.Kind() == reflect.Slice && v.Type().Elem() == valueType) {
		return false // printed as what became of it
	}
	if v.IsValid() && v.Kind() == reflect.Struct {
		if _, ok := scalar(v); !ok {
			return x.block(lead, v, path, indent, dash)
		}
	}
	if !v.IsValid() || v.IsZero() {
		if fact := field.Tag.Get("fact"); fact != "" && x.Fact != nil {
			value, origin := x.Fact(fact)
			x.line(indent, lead+" "+value, origin)
			return true
		}
		return false
	}
	if text, ok := scalar(v); ok {
		x.line(indent, lead+" "+text, x.Origin(path))
		return true
	}
	if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return false
	}
	return x.block(lead, v, path, indent, dash)
}

// block prints what is below a key, if there is anything.
func (x *Explanation) block(lead string, v reflect.Value, path []string, indent int, dash string) bool {
	before := x.b.Len()
	x.line(indent, lead, "")
	head := x.b.Len()
	if indent++; dash != "" {
		indent++
	}
	if x.value(v, path, indent, ""); x.b.Len() == head {
		x.b.Truncate(before)
		return false
	}
	return true
}

// scalar prints a value that stands on one line.
func scalar(v reflect.Value) (string, bool) {
	if v.Type() == durationType {
		return span(time.Duration(v.Int())), true
	}
	if t, ok := v.Interface().(interface{ Inline() string }); ok {
		return t.Inline(), true
	}
	if t, ok := v.Interface().(netip.Addr); ok {
		return t.String(), true
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := t.MarshalText()
		return string(b), err == nil
	}
	switch v.Kind() {
	case reflect.String:
		return quoted(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int, reflect.Int64, reflect.Int32:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint8:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
	}
	return "", false
}

// span prints a time as people write it: 30m, not 30m0s.
func span(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// Inline prints a node in flow style.
func (v Value) Inline() string {
	switch v.Kind {
	case List:
		parts := make([]string, len(v.Items))
		for i, item := range v.Items {
			parts[i] = item.Inline()
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case Map:
		parts := make([]string, len(v.Pairs))
		for i, p := range v.Pairs {
			parts[i] = quoted(p.Key) + ": " + p.Value.Inline()
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return quoted(v.Text)
}

// quoted quotes what YAML would read as something else, or not at all.
func quoted(s string) string {
	plain := s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@ ") == "" &&
		strings.TrimSpace(s) == s && !strings.HasPrefix(s, "-")
	if _, err := strconv.ParseFloat(s, 64); err == nil || !plain || slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off"}, strings.ToLower(s)) {
		return strconv.Quote(s)
	}
	return s
}
