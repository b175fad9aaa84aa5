package yamlfile

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode fills a struct, or any other value, from a node. Struct fields are
// named by their yaml tag; a field without one is not part of the file, and
// the option "required" makes its absence a mistake. The tag default is what a
// field holds that is left out, the tag enum lists the words that it takes. A
// field of type Value takes its node as it is. Fields of an embedded struct are
// the struct's own.
func (f *File) Decode(v Value, into any) {
	f.decode(v, reflect.ValueOf(into).Elem(), "")
}

// Taker is implemented by a type that takes its node as it is.
type Taker interface{ TakeValue(v Value) }

// DecodeOver decodes over a filled struct: what the mapping leaves out stays,
// so no key is required.
func (f *File) DecodeOver(v Value, into any) {
	if f.want(v, Map, "") {
		out := reflect.ValueOf(into).Elem()
		f.decodePairs(v, out, fieldsOf(out.Type()))
	}
}

var (
	valueType    = reflect.TypeFor[Value]()
	posType      = reflect.TypeFor[Pos]()
	placesType   = reflect.TypeFor[Places]()
	durationType = reflect.TypeFor[time.Duration]()
)

func (f *File) decode(v Value, out reflect.Value, name string) {
	switch {
	case out.Type() == valueType:
		out.Set(reflect.ValueOf(v))
		return
	case out.Type() == durationType:
		f.decodeDuration(v, out, name)
		return
	}
	if t, ok := out.Addr().Interface().(Taker); ok {
		t.TakeValue(v)
		return
	}
	if t, ok := out.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if f.want(v, Scalar, name) {
			if err := t.UnmarshalText([]byte(v.Text)); err != nil {
				f.Report(v.Pos, "", "%s%v", prefix(name), err)
			}
		}
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		f.decodeStruct(v, out, name)
	case reflect.Pointer:
		p := reflect.New(out.Type().Elem())
		f.decode(v, p.Elem(), name)
		out.Set(p)
	case reflect.Slice:
		f.decodeSlice(v, out, name)
	case reflect.Map:
		f.decodeMap(v, out, name)
	default:
		f.decodeScalar(v, out, name)
	}
}

func prefix(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

// want reports a value of the wrong form.
func (f *File) want(v Value, k Kind, name string) bool {
	if v.Kind == k {
		return true
	}
	f.Report(v.Pos, "", "%swants %v, got %v", prefix(name), k, v.Kind)
	return false
}

func (f *File) decodeStruct(v Value, out reflect.Value, name string) {
	if !f.want(v, Map, name) {
		return
	}
	fields := fieldsOf(out.Type())
	f.decodePairs(v, out, fields)
	for _, field := range fields.list {
		if _, given := v.Get(field.name); given {
			continue
		}
		if field.required {
			f.Report(v.Pos, "", "key %q is missing", field.name)
		}
		if field.otherwise != "" {
			f.decode(Value{Pos: v.Pos, Kind: Scalar, Text: field.otherwise}, out.FieldByIndex(field.index), field.name)
		}
	}
}

func (f *File) decodePairs(v Value, out reflect.Value, fields structFields) {
	for _, p := range v.Pairs {
		field, ok := fields.named(p.Key)
		if !ok {
			f.Report(p.Pos, Suggest(p.Key, fields.names()), "unknown key %q", p.Key)
			continue
		}
		f.decode(p.Value, out.FieldByIndex(field.index), p.Key)
		if field.required && p.Value.Kind == Scalar && p.Value.Text == "" {
			f.Report(p.Value.Pos, "", "%s: is empty", p.Key)
		}
		if words := field.enum; words != nil && p.Value.Kind == Scalar && !slices.Contains(words, p.Value.Text) {
			f.Report(p.Value.Pos, Suggest(p.Value.Text, words), "%s: %q is not known", p.Key, p.Value.Text)
		}
	}
	if fields.places != nil {
		places := Places{}
		for _, p := range v.Pairs {
			places[p.Key] = p.Value.Pos
		}
		out.FieldByIndex(fields.places).Set(reflect.ValueOf(places))
	}
	if fields.pos != nil {
		out.FieldByIndex(fields.pos).Set(reflect.ValueOf(v.Pos))
	}
}

type structFields struct {
	list []structField
	pos  []int // field that takes the place, nil for none

	places []int // field that takes those of the values
}

// structField is a field of a model with its tags.
type structField struct {
	index     []int
	name      string
	required  bool
	otherwise string // what it holds if it is left out
	enum      []string
	doc       string
	typ       reflect.Type
}

func (s structFields) named(name string) (structField, bool) {
	i := slices.IndexFunc(s.list, func(f structField) bool { return f.name == name })
	if i < 0 {
		return structField{}, false
	}
	return s.list[i], true
}

func (s structFields) names() []string {
	names := make([]string, len(s.list))
	for i, f := range s.list {
		names[i] = f.name
	}
	return names
}

func fieldsOf(t reflect.Type) structFields {
	var s structFields
	for _, field := range reflect.VisibleFields(t) {
		switch field.Type {
		case posType:
			s.pos = field.Index
			continue
		case placesType:
			s.places = field.Index
			continue
		}
		tag, ok := field.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		f := structField{index: field.Index, name: name, required: option == "required", otherwise: field.Tag.Get("default"), doc: field.Tag.Get("doc"), typ: field.Type}
		if words := field.Tag.Get("enum"); words != "" {
			f.enum = strings.Split(words, ",")
		}
		s.list = append(s.list, f)
	}
	return s
}

func (f *File) decodeSlice(v Value, out reflect.Value, name string) {
	if !f.want(v, List, name) {
		return
	}
	s := reflect.MakeSlice(out.Type(), len(v.Items), len(v.Items))
	for i, item := range v.Items {
		f.decode(item, s.Index(i), name)
	}
	out.Set(s)
}

func (f *File) decodeMap(v Value, out reflect.Value, name string) {
	if !f.want(v, Map, name) {
		return
	}
	m := reflect.MakeMapWithSize(out.Type(), len(v.Pairs))
	for _, p := range v.Pairs {
		e := reflect.New(out.Type().Elem()).Elem()
		f.decode(p.Value, e, p.Key)
		m.SetMapIndex(reflect.ValueOf(p.Key).Convert(out.Type().Key()), e)
	}
	out.Set(m)
}

func (f *File) decodeDuration(v Value, out reflect.Value, name string) {
	if !f.want(v, Scalar, name) {
		return
	}
	d, err := time.ParseDuration(v.Text)
	if err != nil || d < 0 {
		f.Report(v.Pos, "write a number with its unit, such as 500ms, 20s or 5m", "%s%q is no span of time", prefix(name), v.Text)
		return
	}
	out.SetInt(int64(d))
}

func (f *File) decodeScalar(v Value, out reflect.Value, name string) {
	if !f.want(v, Scalar, name) {
		return
	}
	switch out.Kind() {
	case reflect.String:
		out.SetString(v.Text)
	case reflect.Bool:
		if v.Text != "true" && v.Text != "false" {
			f.Report(v.Pos, "", "%swants true or false, got %q", prefix(name), v.Text)
			return
		}
		out.SetBool(v.Text == "true")
	case reflect.Int, reflect.Int64, reflect.Int32:
		n, err := strconv.ParseInt(v.Text, 10, out.Type().Bits())
		if err != nil {
			f.Report(v.Pos, "", "%swants a whole number, got %q", prefix(name), v.Text)
			return
		}
		out.SetInt(n)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint8:
		n, err := strconv.ParseUint(v.Text, 10, out.Type().Bits())
		if err != nil {
			f.Report(v.Pos, "", "%swants a whole number from 0 to %d, got %q", prefix(name), uint64(1)<<out.Type().Bits()-1, v.Text)
			return
		}
		out.SetUint(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(v.Text, 64)
		if err != nil {
			f.Report(v.Pos, "", "%swants a number, got %q", prefix(name), v.Text)
			return
		}
		out.SetFloat(n)
	default:
		panic("yamlfile: a model has a field of kind " + out.Kind().String())
	}
}

// Overlay copies the fields that places names, by their keys, from one struct to
// another of its type.
func Overlay(into, from any, places Places) {
	out, in := reflect.ValueOf(into).Elem(), reflect.ValueOf(from).Elem()
	for _, field := range fieldsOf(out.Type()).list {
		if _, given := places[field.name]; given {
			out.FieldByIndex(field.index).Set(in.FieldByIndex(field.index))
		}
	}
}

// Suggest names the known word nearest to a wrong one, or lists them all when
// they are few; "" if nothing helps.
func Suggest(wrong string, known []string) string {
	best, at := "", max(3, len(wrong)/3)
	for _, k := range known {
		if d := distance(wrong, k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return "did you mean " + strconv.Quote(best) + "?"
	}
	if len(known) > 0 && len(known) <= 16 {
		return "known here: " + strings.Join(known, ", ")
	}
	return ""
}

// distance counts the edits between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
