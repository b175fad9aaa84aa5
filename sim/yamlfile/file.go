// Package yamlfile loads YAML strictly: an unknown key, a duplicate, a missing
// value or a value of the wrong kind is an error with file, line, column and
// caret, and all errors of a file are reported at once.
//
// A scalar is decoded from its text by the type that wants it, so that 0401
// and no stay text where text is wanted. The package is the only user of the
// YAML library.
package yamlfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Pos is a place in a file, counted from 1. The zero Pos means the whole file.
// A struct field of this type is filled with the place of its mapping.
type Pos struct{ Line, Column int }

// Places are those of the values of a mapping, by key. A struct field of this
// type is filled with them.
type Places map[string]Pos

// At is the place of a key's value, or otherwise if the key was left out.
func (p Places) At(key string, otherwise Pos) Pos {
	if at, ok := p[key]; ok {
		return at
	}
	return otherwise
}

// Error is one mistake in a file.
type Error struct {
	File   string
	Pos    Pos
	Text   string // what is wrong
	Hint   string // what to do, "" if the text says it
	Source string // the line in question
}

// Error prints file:line:column, the text, the line with a caret, and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Pos.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Pos.Line, e.Pos.Column)
	}
	b.WriteString(": " + e.Text)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n    %s\n    %s^", e.Source, caretIndent(e.Source, e.Pos.Column))
	}
	if e.Hint != "" {
		b.WriteString("\n    " + e.Hint)
	}
	return b.String()
}

// caretIndent keeps tabs, so that the caret stands below its column.
func caretIndent(line string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range line {
		if n >= column {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// Errors are all mistakes of a file, in the order of their places.
type Errors []*Error

// Error prints every mistake, separated by line ends.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, x := range e {
		texts[i] = x.Error()
	}
	return strings.Join(texts, "\n")
}

// File is a file being loaded; it collects mistakes.
type File struct {
	Name string
	Root Value
	// Mask, if set, is what a mistake's texts go through: they may quote a
	// secret.
	Mask  func(text string) string
	lines []string
	errs  Errors
}

// Parse reads the syntax of one document. The error, if any, is an Errors.
func Parse(name string, data []byte) (*File, error) {
	f := &File{Name: name, lines: strings.Split(string(data), "\n")}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		f.syntax(err)
		return f, f.Err()
	}
	if len(doc.Content) != 1 {
		f.Report(Pos{}, "", "the file is empty")
		return f, f.Err()
	}
	f.Root = f.convert(doc.Content[0], 0)
	return f, f.Err()
}

// Load parses a file and decodes it into a struct.
func Load(name string, data []byte, into any) (*File, error) {
	f, err := Parse(name, data)
	if err != nil {
		return f, err
	}
	f.Decode(f.Root, into)
	return f, f.Err()
}

// Report adds a mistake that the caller found, by the place it kept.
func (f *File) Report(at Pos, hint, format string, args ...any) {
	e := &Error{File: f.Name, Pos: at, Hint: hint, Text: fmt.Sprintf(format, args...)}
	if f.Mask != nil {
		e.Text, e.Hint = f.Mask(e.Text), f.Mask(e.Hint)
	}
	if at.Line > 0 && at.Line <= len(f.lines) {
		e.Source = strings.TrimRight(f.lines[at.Line-1], "\r")
	}
	f.errs = append(f.errs, e)
}

// Err returns all mistakes so far as Errors, nil if there are none.
func (f *File) Err() error {
	if len(f.errs) == 0 {
		return nil
	}
	return f.errs.Sorted()
}

// Sorted puts mistakes into the order of their places.
func (e Errors) Sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	return e
}

func (f *File) syntax(err error) {
	var many *yaml.LoadErrors
	if errors.As(err, &many) {
		for _, e := range many.Errors {
			f.syntaxOne(e)
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		f.syntaxOne(one)
		return
	}
	f.Report(Pos{}, "", "not YAML: %v", err)
}

func (f *File) syntaxOne(e *yaml.LoadError) {
	text := e.Message
	if text == "" {
		text = e.Error()
	}
	f.Report(Pos{e.Mark.Line, e.Mark.Column}, "", "not YAML: %s", text)
}

// Kind tells the three forms of a Value.
type Kind int

// The forms of a Value. The zero Kind is an absent value.
const (
	None Kind = iota
	Scalar
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping"}[k]
}

// Value is one node of a file.
type Value struct {
	Pos   Pos
	Kind  Kind
	Text  string // of a Scalar, as written; a bare null is ""
	Items []Value
	Pairs []Pair
}

// Pair is one entry of a Map.
type Pair struct {
	Key   string
	Pos   Pos // of the key
	Value Value
}

// maxDepth stops a hostile file; nothing of ours nests so deep.
const maxDepth = 50

func (f *File) convert(n *yaml.Node, depth int) Value {
	v := Value{Pos: Pos{n.Line, n.Column}}
	if depth > maxDepth {
		f.Report(v.Pos, "", "nested more than %d levels deep", maxDepth)
		return v
	}
	switch n.Kind {
	case yaml.ScalarNode:
		v.Kind = Scalar
		if n.Tag != "!!null" {
			v.Text = n.Value
		}
	case yaml.SequenceNode:
		v.Kind = List
		for _, c := range n.Content {
			v.Items = append(v.Items, f.convert(c, depth+1))
		}
	case yaml.MappingNode:
		v.Kind = Map
		f.convertMap(&v, n, depth)
	default:
		f.Report(v.Pos, "write the value out", "anchors and aliases are not used here")
	}
	return v
}

func (f *File) convertMap(v *Value, n *yaml.Node, depth int) {
	seen := map[string]Pos{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		at := Pos{k.Line, k.Column}
		if k.Kind != yaml.ScalarNode {
			f.Report(at, "", "a key must be a plain word")
			continue
		}
		if first, ok := seen[k.Value]; ok {
			f.Report(at, fmt.Sprintf("it stands first in line %d", first.Line), "key %q stands twice", k.Value)
			continue
		}
		seen[k.Value] = at
		v.Pairs = append(v.Pairs, Pair{k.Value, at, f.convert(n.Content[i+1], depth+1)})
	}
}

// Get returns the value of a key of a Map.
func (v Value) Get(key string) (Value, bool) {
	for _, p := range v.Pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return Value{}, false
}
