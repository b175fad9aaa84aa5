package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Suite is a numbered list of scenarios that are run one behind the other, and
// told on one sheet.
type Suite struct {
	Name  string
	Title string
	// Device is the actor that the device under test stands for.
	Device string
	Cases  []*Case
}

// Case is one line of the sheet.
type Case struct {
	Number   string // 1.2
	Section  string
	Title    string
	Scenario *Scenario
	// NotApplicable is why the case is not run, "" if it is.
	NotApplicable string
}

// Suites names the suites that come with exsim.
func Suites() []string { return named("suites") }

// suiteFile is the form of a suite.
type suiteFile struct {
	Title    string `yaml:"title,required"`
	Device   string `yaml:"device,required"`
	Sections []struct {
		Title string `yaml:"title,required"`
		Cases []struct {
			Title    string            `yaml:"title,required"`
			Scenario string            `yaml:"scenario,required"`
			Vars     map[string]string `yaml:"vars"`
		} `yaml:"cases,required"`
	} `yaml:"sections,required"`
}

// LoadSuite loads a suite with its scenarios; set replaces values of their vars
// that the suite itself does not say.
func LoadSuite(name string, set map[string]string) (*Suite, error) {
	text, ok := textOf("suites", name)
	if !ok {
		return nil, fmt.Errorf("scenarios: no suite is named %q", name)
	}
	var file suiteFile
	if _, err := yamlfile.Load(name+".yaml", text, &file); err != nil {
		return nil, err
	}
	s := &Suite{Name: name, Title: file.Title, Device: file.Device}
	var errs []error
	for i, section := range file.Sections {
		for k, c := range section.Cases {
			number := fmt.Sprintf("%d.%d", i+1, k+1)
			scenario, err := suiteScenario(c.Scenario, c.Vars, set)
			if err != nil {
				errs = append(errs, fmt.Errorf("case %s: %w", number, err))
				continue
			}
			scenario.Name = number + "-" + scenario.Name
			s.Cases = append(s.Cases, &Case{Number: number, Section: section.Title, Title: c.Title, Scenario: scenario})
		}
	}
	return s, errors.Join(errs...)
}

func suiteScenario(name string, vars, set map[string]string) (*Scenario, error) {
	text, ok := ShippedText(name)
	if !ok {
		return nil, fmt.Errorf("no shipped scenario is named %q", name)
	}
	values := map[string]string{}
	for _, from := range []map[string]string{set, vars} {
		for key, v := range from {
			values[key] = v
		}
	}
	list, err := Load(name+".yaml", text, values)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%s has %d variants: a case is one", name, len(list))
	}
	return list[0], nil
}

// Setup is one sheet of how to set up the device for all cases: the first one in
// full, and what the others want beside that or in its place.
func (s *Suite) Setup(ports sim.Ports) (string, error) {
	var b strings.Builder
	known := map[string]bool{}
	for i, c := range s.Cases {
		p, err := profile.Load(c.Scenario.Organisation.Version)
		if err != nil {
			return "", err
		}
		sheet := setupSheet{s: c.Scenario, p: p, plan: sim.Plan(c.Scenario.Organisation, p, ports)}
		sheet.fill(s.Device)
		sheet.sections[0] = setupSection{title: fmt.Sprintf("%s %s: %s", c.Number, c.Section, c.Title)}
		if i == 0 {
			fmt.Fprintf(&b, "SET UP THE DEVICE %s for %s\n\n", s.Device, s.Title)
		} else {
			sheet.leaveOut(known)
		}
		for _, section := range sheet.sections {
			for _, l := range section.lines {
				known[section.title+l] = known[section.title+l] || i == 0
			}
		}
		b.WriteString(sheet.String())
	}
	return b.String(), nil
}

// leaveOut takes out what is said already, but for what will have to be done.
func (t *setupSheet) leaveOut(known map[string]bool) {
	last := len(t.sections) - 1
	kept := t.sections[:1]
	for i, section := range t.sections[1:] {
		if i+1 != last {
			section.lines = slices.DeleteFunc(section.lines, func(l string) bool { return known[section.title+l] })
		}
		if len(section.lines) > 0 {
			kept = append(kept, section)
		}
	}
	t.sections = kept
}
