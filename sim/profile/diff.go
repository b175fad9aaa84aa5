package profile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/exsim/exsim/sim/yamlfile"
)

// Difference is a fact, or a row of the port table, that two profiles do not
// share. A side that does not have it is the zero Fact.
type Difference struct {
	Key  string
	A, B Fact
}

// Diff lists where two profiles differ: in value, or in how well a value is
// known.
func Diff(a, b *Profile) []Difference {
	left, right := a.told(), b.told()
	keys := maps.Clone(left)
	maps.Copy(keys, right)
	var list []Difference
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		x, y := left[key], right[key]
		if x.Value != y.Value || x.Standing != y.Standing {
			list = append(list, Difference{key, x, y})
		}
	}
	return list
}

// told are facts, port rows and connectors under one kind of key.
func (p *Profile) told() map[string]Fact {
	all := map[string]Fact{}
	for _, f := range p.Facts {
		all[f.Key] = f
	}
	for _, r := range p.Ports {
		ports := fmt.Sprintf("%d/%s", r.Port, r.Transport)
		if r.Last != 0 {
			ports = fmt.Sprintf("%d-%d/%s", r.Port, r.Last, r.Transport)
		}
		all["port."+r.ID] = Fact{"port." + r.ID, ports + " of " + r.Role, r.Standing, r.Source, r.Note}
	}
	for name, c := range p.Connectors {
		if _, bound := p.Port(name); bound || name == newConnector {
			all["connector."+name] = Fact{"connector." + name, c.String(), c.Standing, c.Source, c.Note}
		}
	}
	return all
}

// Told lists all of a profile under one kind of key: facts, port rows,
// connectors.
func (p *Profile) Told() []Fact {
	all := p.told()
	list := make([]Fact, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[key])
	}
	return list
}

// Rendered is a value, written as in a file of facts, as Fact has it.
func Rendered(text string) (string, error) {
	f, err := yamlfile.Parse("value", []byte("value: "+text+"\n"))
	if err != nil {
		return "", err
	}
	v, _ := f.Root.Get("value")
	return render(v), nil
}
