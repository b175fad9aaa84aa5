package scenarios

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/yamlfile"
)

// Load reads and checks a scenario file: one scenario, or one for each
// combination of its matrix. set replaces values of vars. The error lists every
// mistake with its place; a file with a mistake gives no scenario.
func Load(name string, text []byte, set map[string]string) ([]*Scenario, error) {
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	v := variants{f: f, vars: map[string]string{}, secrets: map[string]string{}, used: map[string]bool{}}
	v.read(set)
	var list []*Scenario
	var all yamlfile.Errors
	collect := func(err error) {
		var some yamlfile.Errors
		errors.As(err, &some)
		for _, e := range some {
			if !slices.ContainsFunc(all, func(o *yamlfile.Error) bool { return *o == *e }) {
				all = append(all, e)
			}
		}
	}
	for i, row := range v.rows {
		s, err := v.load(name, text, row)
		if len(v.rows) > 1 {
			s.Name = fmt.Sprintf("%s-%d", s.Name, i+1)
			s.Variant = describe(row)
		}
		list = append(list, s)
		collect(err)
	}
	v.unused()
	collect(f.Err())
	if len(all) > 0 {
		return nil, all.Sorted()
	}
	return list, nil
}

// variants are the values that a file is filled with.
type variants struct {
	f       *yamlfile.File
	vars    map[string]string
	secrets map[string]string
	rows    []map[string]string // of the matrix; one empty row without it
	used    map[string]bool
}

// secret says where a secret is found.
type secret struct {
	Pos  yamlfile.Pos
	Env  string `yaml:"env" doc:"environment variable that holds it"`
	File string `yaml:"file" doc:"file that holds it, beside the scenario; a line end at its end does not count"`
}

// shortestSecret is what can be starred without starring half of a trace.
const shortestSecret = 4

func (v *variants) read(set map[string]string) {
	vars, _ := v.f.Root.Get("vars")
	v.pairs(vars, "vars", func(p yamlfile.Pair) {
		if p.Value.Kind != yamlfile.Scalar {
			v.f.Report(p.Value.Pos, "", "vars: %s wants a value, got %v", p.Key, p.Value.Kind)
			return
		}
		v.vars[p.Key] = v.f.ExpandText(p.Value, environment)
	})
	secrets, _ := v.f.Root.Get("secrets")
	v.pairs(secrets, "secrets", v.secret)
	matrix, _ := v.f.Root.Get("matrix")
	v.rows = []map[string]string{{}}
	v.pairs(matrix, "matrix", v.column)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, ok := v.vars[name]; !ok {
			v.f.Report(vars.Pos, yamlfile.Suggest(name, slices.Sorted(maps.Keys(v.vars))), "no var is named %q, which is set from outside", name)
		}
		v.vars[name] = set[name]
	}
}

func (v *variants) pairs(m yamlfile.Value, key string, take func(p yamlfile.Pair)) {
	if m.Kind != yamlfile.Map && m.Kind != yamlfile.None {
		v.f.Report(m.Pos, "", "%s: wants a mapping, got %v", key, m.Kind)
	}
	for _, p := range m.Pairs {
		if strings.Trim(p.Key, nameLetters) != "" {
			v.f.Report(p.Pos, "letters, digits, hyphens, underscores and dots", "%s: name %q", key, p.Key)
		}
		take(p)
	}
}

// environment finds NAME, or NAME:-OTHERWISE, among the environment variables.
func environment(name string) (string, error) {
	name, otherwise, has := strings.Cut(name, ":-")
	if value, ok := os.LookupEnv(name); ok {
		return value, nil
	}
	if has {
		return otherwise, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set; ${%s:-OTHERWISE} does without", name, name)
}

func (v *variants) secret(p yamlfile.Pair) {
	var s secret
	v.f.Decode(p.Value, &s)
	var value string
	var err error
	switch {
	case (s.Env == "") == (s.File == ""):
		v.f.Report(p.Value.Pos, "{env: NAME} or {file: NAME}", "secret %q: where is it?", p.Key)
		return
	case s.Env != "":
		if value = os.Getenv(s.Env); value == "" {
			err = fmt.Errorf("the environment variable %s is not set", s.Env)
		}
	default:
		var b []byte
		b, err = os.ReadFile(beside(v.f.Name, s.File))
		value = strings.TrimRight(string(b), "\r\n")
	}
	if err == nil && len(value) < shortestSecret {
		err = fmt.Errorf("it has %d characters; with less than %d it cannot be starred everywhere", len(value), shortestSecret)
	}
	if err != nil {
		v.f.Report(p.Value.Pos, "", "secret %q: %v", p.Key, err)
	}
	v.secrets[p.Key] = value
}

// beside is a file named in another one.
func beside(of, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(of), name)
}

// maxVariants bounds what a matrix may fan out to.
const maxVariants = 1000

// column multiplies the rows by the values of one entry of the matrix.
func (v *variants) column(p yamlfile.Pair) {
	var values []map[string]string
	switch {
	case p.Key == "csv":
		values = v.csv(p.Value)
	case p.Value.Kind != yamlfile.List || len(p.Value.Items) == 0:
		v.f.Report(p.Value.Pos, "such as matrix: {caller: [\"7125550123\", Anonymous]}", "matrix: %s wants a list of values", p.Key)
	default:
		for _, item := range p.Value.Items {
			if item.Kind != yamlfile.Scalar {
				v.f.Report(item.Pos, "", "matrix: %s wants values, got %v", p.Key, item.Kind)
			}
			values = append(values, map[string]string{p.Key: v.f.ExpandText(item, environment)})
		}
	}
	if len(values) == 0 {
		return
	}
	if len(v.rows)*len(values) > maxVariants {
		v.f.Report(p.Pos, "", "matrix: more than %d combinations", maxVariants)
		return
	}
	var rows []map[string]string
	for _, row := range v.rows {
		for _, value := range values {
			both := maps.Clone(row)
			maps.Copy(both, value)
			rows = append(rows, both)
		}
	}
	v.rows = rows
}

// csv reads a file with the names of the vars in its first line.
func (v *variants) csv(at yamlfile.Value) []map[string]string {
	file, err := os.Open(beside(v.f.Name, at.Text))
	if err != nil {
		v.f.Report(at.Pos, "", "matrix: %v", err)
		return nil
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err == nil && len(lines) < 2 {
		err = errors.New("a line of names and at least one of values are wanted")
	}
	if err != nil {
		v.f.Report(at.Pos, "", "matrix: %s: %v", at.Text, err)
		return nil
	}
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = line[i] // Excel's mark of UTF-8
		}
		rows = append(rows, row)
	}
	return rows
}

// load fills in one row and checks what comes of it.
func (v *variants) load(name string, text []byte, row map[string]string) (*Scenario, error) {
	s := &Scenario{File: name, Source: text, Secrets: longestFirst(v.secrets), Vars: v.vars}
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return s, err
	}
	f.Mask = s.mask
	f.Expand(func(name string) (string, error) { return v.value(row, name) }, "vars", "secrets", "matrix")
	f.Decode(f.Root, s)
	s.root = f.Root
	l := loader{f: f, s: s, calls: map[string]place{}, used: map[string]bool{}}
	l.check()
	for i := range s.Steps {
		s.Steps[i].Text = s.mask(s.Steps[i].Text)
	}
	return s, f.Err()
}

// value is what stands for ${name}.
func (v *variants) value(row map[string]string, name string) (string, error) {
	v.used[name] = true
	for _, known := range []map[string]string{row, v.vars, v.secrets} {
		if value, ok := known[name]; ok {
			return value, nil
		}
	}
	known := slices.Concat(slices.Collect(maps.Keys(row)), slices.Collect(maps.Keys(v.vars)), slices.Collect(maps.Keys(v.secrets)))
	slices.Sort(known)
	return "", fmt.Errorf("${%s}: neither vars nor secrets nor matrix has it; %s", name, cmp.Or(yamlfile.Suggest(name, known), "the file has none"))
}

// unused reports names that nothing refers to.
func (v *variants) unused() {
	for _, key := range []string{"vars", "secrets", "matrix"} {
		m, _ := v.f.Root.Get(key)
		for _, p := range m.Pairs {
			if !v.used[p.Key] && (key != "matrix" || p.Key != "csv") {
				v.f.Report(p.Pos, "", "%s: nothing refers to ${%s}", key, p.Key)
			}
		}
	}
}

// longestFirst lists secrets so that one that is part of another leaves no rest.
func longestFirst(secrets map[string]string) []string {
	return slices.SortedFunc(maps.Values(secrets), func(a, b string) int { return len(b) - len(a) })
}

// mask stars the secrets in a text for people, also where they are quoted.
func (s *Scenario) mask(text string) string {
	for _, secret := range s.Secrets {
		quoted := strconv.Quote(secret)
		for _, form := range []string{quoted[1 : len(quoted)-1], secret} {
			text = strings.ReplaceAll(text, form, strings.Repeat("*", len(secret)))
		}
	}
	return text
}

// maskValue stars the secrets in a node.
func (s *Scenario) maskValue(v yamlfile.Value) yamlfile.Value {
	v.Text = s.mask(v.Text)
	v.Items, v.Pairs = slices.Clone(v.Items), slices.Clone(v.Pairs)
	for i := range v.Items {
		v.Items[i] = s.maskValue(v.Items[i])
	}
	for i := range v.Pairs {
		v.Pairs[i].Value = s.maskValue(v.Pairs[i].Value)
	}
	return v
}

func describe(row map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(row)) {
		parts = append(parts, name+"="+row[name])
	}
	return strings.Join(parts, ", ")
}
