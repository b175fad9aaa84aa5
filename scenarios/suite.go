package scenarios

import (
	"errors"
	"fmt"

	"github.com/exsim/exsim/sim/yamlfile"
)

// Suite is a numbered list of scenarios that are run one behind the other, and
// told on one sheet.
type Suite struct {
	Name  string
	Title string
	Cases []*Case
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
	s := &Suite{Name: name, Title: file.Title}
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
