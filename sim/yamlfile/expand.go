package yamlfile

import "strings"

// Expand puts values in place of ${name} in every text of the file, as lookup
// says; $${ stays ${. A name that lookup does not know is a mistake. Keys, and
// the top-level keys in skip, are left alone.
func (f *File) Expand(lookup func(name string) (string, error), skip ...string) {
	for i := range f.Root.Pairs {
		p := &f.Root.Pairs[i]
		skipped := false
		for _, key := range skip {
			skipped = skipped || key == p.Key
		}
		if !skipped {
			p.Value = f.expand(p.Value, lookup)
		}
	}
}

func (f *File) expand(v Value, lookup func(name string) (string, error)) Value {
	switch v.Kind {
	case Scalar:
		v.Text = f.ExpandText(v, lookup)
	case List:
		items := make([]Value, len(v.Items))
		for i := range v.Items {
			items[i] = f.expand(v.Items[i], lookup)
		}
		v.Items = items
	case Map:
		pairs := make([]Pair, len(v.Pairs))
		for i, p := range v.Pairs {
			pairs[i] = Pair{p.Key, p.Pos, f.expand(p.Value, lookup)}
		}
		v.Pairs = pairs
	}
	return v
}

// ExpandText is Expand for one text.
func (f *File) ExpandText(v Value, lookup func(name string) (string, error)) string {
	text := v.Text
	if !strings.Contains(text, "${") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(before)
			return b.String()
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			f.Report(v.Pos, "write ${name}, or $${ for the two characters", "${ without }")
			return b.String()
		}
		value, err := lookup(name)
		if err != nil {
			f.Report(v.Pos, "", "%v", err)
		}
		b.WriteString(value)
		text = rest
	}
}
