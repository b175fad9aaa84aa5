package sim

import (
	"bytes"
	"regexp"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// File is a file that a run was made from; its text goes with the event.
type File struct{ Name string }

// EventName is part of the contract with scenarios.
func (File) EventName() string { return "bench.file" }

// AppendTo writes the fields.
func (e File) AppendTo(f *trace.Fields) { f.Text("file", e.Name) }

// RecordFile keeps the text of an organisation or a scenario with what it led
// to, its passwords and PINs starred.
func RecordFile(src *trace.Source, name string, text []byte) {
	starred, _ := Starred(name, text)
	src.Record(trace.Session{}, trace.Session{}, File{name}, starred)
}

// Starred is the text of a YAML file with stars for the values of its keys
// password and pin, for digits that it calls secret, and for those of its vars
// that stand in such a place, whose names it returns. What is no YAML is left
// out.
func Starred(name string, text []byte) (starred []byte, vars []string) {
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, nil
	}
	s := stars{lines: bytes.SplitAfter(bytes.Clone(text), []byte("\n")), vars: map[string]bool{}}
	s.walk(f.Root)
	given, _ := f.Root.Get("vars")
	for _, p := range given.Pairs {
		if s.vars[p.Key] {
			s.put(p.Value.Pos)
			vars = append(vars, p.Key)
		}
	}
	return bytes.Join(s.lines, nil), vars
}

// stars puts stars into the lines of a file.
type stars struct {
	lines [][]byte
	vars  map[string]bool // that stand in the place of a secret
}

var variable = regexp.MustCompile(`\$\{([^}:]+)`)

func (s *stars) walk(v yamlfile.Value) {
	for _, item := range v.Items {
		s.walk(item)
	}
	hidden, _ := v.Get("secret")
	for _, p := range v.Pairs {
		if p.Key == "password" || p.Key == "pin" || p.Key == "digits" && hidden.Text == "true" {
			for _, m := range variable.FindAllStringSubmatch(p.Value.Text, -1) {
				s.vars[m[1]] = true
			}
			if p.Value.Kind == yamlfile.Scalar && p.Value.Text != "" {
				s.put(p.Value.Pos)
			}
		}
		s.walk(p.Value)
	}
}

// put stars the scalar that begins at a place: to its closing quote, or to the
// end of its line; a block scalar with all lines that stand deeper.
func (s *stars) put(at yamlfile.Pos) {
	n, column := at.Line-1, at.Column-1
	if n < 0 || n >= len(s.lines) || column < 0 || column >= len(s.lines[n]) {
		return
	}
	switch quote := s.lines[n][column]; quote {
	case '"', '\'':
		s.quoted(n, column+1, quote)
	case '|', '>':
		for depth := indent(s.lines[n]); n+1 < len(s.lines) && (indent(s.lines[n+1]) > depth || len(bytes.TrimSpace(s.lines[n+1])) == 0); n++ {
			star(s.lines[n+1])
		}
	default:
		line := s.lines[n][column:]
		end := len(line)
		if i := bytes.IndexAny(line, ",}]"); i >= 0 {
			end = i
		}
		if i := bytes.Index(line, []byte(" #")); i >= 0 {
			end = min(end, i)
		}
		overwrite(line[:end], 'x') // a plain star is an alias
	}
}

// quoted stars up to the closing quote, on whichever line it stands.
func (s *stars) quoted(n, column int, quote byte) {
	for ; n < len(s.lines); n, column = n+1, 0 {
		for i := column; i < len(s.lines[n]); i++ {
			c := s.lines[n][i]
			switch {
			case c == quote && quote == '\'' && i+1 < len(s.lines[n]) && s.lines[n][i+1] == quote, c == '\\' && quote == '"' && i+1 < len(s.lines[n]):
				star(s.lines[n][i : i+2])
				i++
			case c == quote:
				return
			default:
				star(s.lines[n][i : i+1])
			}
		}
	}
}

func star(b []byte) { overwrite(b, '*') }

func overwrite(b []byte, with byte) {
	for i, c := range b {
		if c != '\n' && c != '\r' && c != ' ' {
			b[i] = with
		}
	}
}

func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }
