package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Explain is the file with every value filled in that holds; what the file does
// not say itself says where it comes from.
func (s *Scenario) Explain() (string, error) {
	p, err := profile.Load(s.Organisation.Version)
	if err != nil {
		return "", err
	}
	base := "organisation/" + s.Organisation.Version + ".yaml"
	_, text, err := org.Default(s.Organisation.Version)
	if err != nil {
		return "", err
	}
	f, err := yamlfile.Parse(base, text)
	if err != nil {
		return "", err
	}
	x := &yamlfile.Explanation{
		Origin: func(path []string) string {
			switch {
			case given(s.root, path):
				return ""
			case path[0] == "organisation" && !given(s.root, path[:2]) && given(f.Root, path[1:]):
				return "default organisation of " + s.Organisation.Version
			}
			return "default"
		},
		Fact: func(key string) (value, origin string) {
			fact, _ := p.Fact(key)
			return fact.Value, string(fact.Standing) + ": " + p.Sources[fact.Source].Title
		},
	}
	var b strings.Builder
	b.WriteString(x.Print(s, nil, 0))
	b.WriteString("organisation:\n" + x.Print(s.Organisation, []string{"organisation"}, 1))
	if len(s.Steps) > 0 {
		b.WriteString("steps:\n")
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		indent := 1
		if step.group != 0 {
			indent = 4
			switch {
			case i == 0 || s.Steps[i-1].group != step.group:
				b.WriteString("  - parallel:\n      -\n")
			case s.Steps[i-1].branch != step.branch:
				b.WriteString("      -\n")
			}
		}
		explainStep(&b, x, step, indent)
	}
	return s.mask(b.String()), nil
}

func explainStep(b *strings.Builder, x *yamlfile.Explanation, step *Step, indent int) {
	fmt.Fprintf(b, "%s- %s:%s\n", strings.Repeat("  ", indent), step.Verb, comment(step.Text))
	b.WriteString(x.Print(step.action, step.path, indent+2))
	if p, ok := step.action.(*repeat); ok {
		b.WriteString(strings.Repeat("  ", indent+2) + "steps:\n")
		for i := range p.steps {
			explainStep(b, x, &p.steps[i], indent+3)
		}
	}
}

func comment(text string) string { return "   # " + text }

// given reports whether a file has a value at a path.
func given(v yamlfile.Value, path []string) bool {
	for _, key := range path {
		switch v.Kind {
		case yamlfile.Map:
			next, ok := v.Get(key)
			if !ok {
				return false
			}
			v = next
		case yamlfile.List:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v.Items) {
				return false
			}
			v = v.Items[i]
		default:
			return false
		}
	}
	return v.Kind != yamlfile.None
}
