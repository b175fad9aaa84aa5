package scenarios

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Reference is the reference of the language in Markdown, made from the model.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Scenario reference\n\nMade from the program by `exsim check --reference`; [scenarios](scenarios.md) tells how to write one.\n\n## The file\n\n")
	settings(&b, reflect.TypeFor[Scenario]())
	b.WriteString("\nOf `secrets`:\n\n")
	settings(&b, reflect.TypeFor[secret]())
	b.WriteString("\n## Actors\n\n")
	settings(&b, reflect.TypeFor[Actor]())
	b.WriteString("\n## Paths\n\nOf `path`. What is proven, and how, is told in [paths](paths.md).\n\n")
	settings(&b, reflect.TypeFor[PathRules]())
	b.WriteString("\nOf its `hosts`:\n\n")
	settings(&b, reflect.TypeFor[PathHost]())
	b.WriteString("\n`rtp` is a range, and `extra` a list, as in the [plan reference](plan-reference.md).\n")
	b.WriteString("\n## Verbs\n\nA step is one of these with its settings. `parallel:` in their place holds a list: each entry, a step or a list of steps, is done at the same time as the others.\n")
	for _, v := range verbs {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", v.name, v.usage)
		settings(&b, reflect.TypeOf(v.make()).Elem())
		for _, part := range verbParts[v.name] {
			fmt.Fprintf(&b, "\n%s:\n\n", part.name)
			settings(&b, part.model)
		}
	}
	b.WriteString("\n## Raw messages\n\n")
	settings(&b, reflect.TypeFor[raw]())
	b.WriteString("\n## Events of goals and never\n\nOf `never` all but `only`.\n\n")
	settings(&b, reflect.TypeFor[Goal]())
	b.WriteString("\n## Conditions\n\nA plain value means equal. A mapping holds one or more of these, all of which must be met.\n\n| condition | met when |\n|---|---|\n")
	for _, c := range conditions {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.name, c.usage)
	}
	b.WriteString("\n## Faults\n\n")
	settings(&b, reflect.TypeFor[PlantedFault]())
	b.WriteString("\nOf `nth`, `from`, `every` and `percent` one says which it befalls, counted from 1 over the whole run; without any it befalls all.\n\n")
	b.WriteString("| `do` | who | settings | counted | what it does |\n|---|---|---|---|---|\n")
	for _, f := range faultKinds {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.name, strings.Join(f.by, ", "), f.takes(), f.counts, f.usage)
	}
	b.WriteString("\n## Causes\n\nWhat a failed step is put down to, from the narrowest to the widest; what fits none is called unknown.\n\n| cause | side | what is wrong | what to do |\n|---|---|---|---|\n")
	for _, c := range Causes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.ID, c.Side, c.Text, c.Next)
	}
	for _, c := range pathCauses {
		fmt.Fprintf(&b, "| `%s` | network, bench | of `path`: %s | as the verdict says |\n", c.id, c.usage)
	}
	b.WriteString("\n## The organisation\n")
	for _, part := range organisationParts {
		fmt.Fprintf(&b, "\n### %s\n\n", part.name)
		settings(&b, part.model)
	}
	return b.String()
}

// takes lists the settings of a fault, those that it can do without in
// brackets.
func (k *faultKind) takes() string {
	var list []string
	for _, s := range k.needs {
		list = append(list, strings.ReplaceAll(s, "|", " or "))
	}
	for _, s := range k.may {
		list = append(list, "["+s+"]")
	}
	return strings.Join(list, ", ")
}

// verbParts are the tables of what is in a verb's settings.
var verbParts = map[string][]struct {
	name  string
	model reflect.Type
}{
	"session": {
		{"An entry of `script` is one of these, with `repeat` or `piece` beside it", reflect.TypeFor[line]()},
		{"Of `starttls`", reflect.TypeFor[startTLS]()},
		{"Of `login`", reflect.TypeFor[login]()},
		{"Of `message` and `chunk`", reflect.TypeFor[content]()},
	},
}

var organisationParts = []struct {
	name  string
	model reflect.Type
}{
	{"organisation", reflect.TypeFor[org.Organisation]()},
	{"servers", reflect.TypeFor[org.Server]()},
	{"dial-plans", reflect.TypeFor[org.DialPlan]()},
	{"gateways", reflect.TypeFor[org.UMIPGateway]()},
	{"hunt-groups", reflect.TypeFor[org.HuntGroup]()},
	{"mailboxes", reflect.TypeFor[org.Mailbox]()},
	{"call-router", reflect.TypeFor[org.RouterSettings]()},
	{"recycling", reflect.TypeFor[org.Recycling]()},
	{"tls", reflect.TypeFor[org.TLS]()},
	{"rtp", reflect.TypeFor[org.PortRange]()},
	{"limits", reflect.TypeFor[org.Limits]()},
	{"redirect", reflect.TypeFor[org.Redirect]()},
	{"auto-attendants", reflect.TypeFor[org.Attendant]()},
	{"keys of an auto attendant", reflect.TypeFor[org.Key]()},
	{"mailbox-policies", reflect.TypeFor[org.Policy]()},
	{"receive-connectors", reflect.TypeFor[org.ReceiveConnector]()},
	{"send-connectors", reflect.TypeFor[org.SendConnector]()},
	{"domain-security", reflect.TypeFor[org.DomainSecurity]()},
	{"kerberos", reflect.TypeFor[org.Kerberos]()},
}

// settings prints a table of a model's keys.
func settings(b *strings.Builder, model reflect.Type) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, s := range yamlfile.Settings(model) {
		otherwise := s.Default
		if s.Required {
			otherwise = "required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", s.Name, kindOf(s), otherwise, strings.ReplaceAll(s.Doc, "<", "&lt;"))
	}
}

// kindOf says in a word or two what a setting takes.
func kindOf(s yamlfile.Setting) string {
	t := s.Type
	switch {
	case len(s.Enum) > 0:
		return strings.Join(s.Enum, ", ")
	case t == reflect.TypeFor[time.Duration]():
		return "time, such as 500ms, 20s, 5m"
	case t == reflect.TypeFor[map[string]Value]():
		return "conditions by name"
	case t == reflect.TypeFor[yamlfile.Value](), t.Kind() == reflect.Map, t.Kind() == reflect.Struct && t.PkgPath() != "net/netip":
		return "mapping"
	}
	switch t.Kind() {
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.String {
			return "text"
		}
		return "mapping"
	case reflect.Struct:
		return "address"
	case reflect.Bool:
		return "true, false"
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	}
	return "text"
}
