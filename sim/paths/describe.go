package paths

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed starter.yaml
var starter []byte

// Starter is a commented plan to start from.
func Starter() []byte { return starter }

// Schema is the JSON Schema of a plan file, made from the model.
func Schema() map[string]any {
	s := yamlfile.Schema(reflect.TypeFor[Plan](), false)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "exsim plan"
	return s
}

// JSONSchema is part of yamlfile.Schemer: a port, or ports as text.
func (*PortSet) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"integer", "string"}, "pattern": `^[0-9]+(-[0-9]+)?(, *[0-9]+(-[0-9]+)?)*$`}
}

// Reference is the reference of plan files in Markdown, made from the model.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Plan reference\n\nMade from the program by `exsim plan --reference`; [paths](paths.md) tells how to use a plan.\n")
	for _, part := range []struct {
		name  string
		model reflect.Type
	}{
		{"The file", reflect.TypeFor[Plan]()}, {"zones", reflect.TypeFor[Zone]()}, {"hosts", reflect.TypeFor[Host]()}, {"reached-at", reflect.TypeFor[ReachedAt]()},
		{"rtp, rpc", reflect.TypeFor[Range]()}, {"closed", reflect.TypeFor[ClosedRule]()}, {"extra", reflect.TypeFor[Extra]()},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| key | default | meaning |\n|---|---|---|\n", part.name)
		for _, s := range yamlfile.Settings(part.model) {
			otherwise := s.Default
			if s.Required {
				otherwise = "required"
			}
			doc := s.Doc
			if len(s.Enum) > 0 {
				doc += " (" + strings.Join(s.Enum, ", ") + ")"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, otherwise, doc)
		}
	}
	c, err := profile.DataPaths()
	if err != nil {
		panic(err) // the data is ours
	}
	b.WriteString("\n## Roles\n\n| role | means | versions |\n|---|---|---|\n")
	for _, r := range c.Roles {
		versions := strings.Join(r.Versions, ", ")
		if versions == "" {
			versions = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.ID, r.Means, versions)
	}
	b.WriteString("\n## Features\n\n| feature | means |\n|---|---|\n")
	for _, f := range c.Features {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.ID, f.Means)
	}
	return b.String()
}
