package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/scenarios"
)

// prepareSuite loads a suite; what the device cannot play, or its owner has no
// use for, is not applicable.
func prepareSuite(name string, o runOptions) (*scenarios.Suite, error) {
	if len(o.set) > 0 {
		return nil, input(errors.New("--set: a suite sets the values of its scenarios itself"))
	}
	suite, err := scenarios.LoadSuite(name, nil)
	if err != nil {
		return nil, bench(err)
	}
	for i, n := range o.only {
		o.only[i] = strings.TrimSpace(n)
	}
	if err := errors.Join(suiteNames(suite, &o), suiteDevice(suite, &o)); err != nil {
		return nil, err
	}
	for _, c := range suite.Cases {
		if c.NotApplicable = leftOut(o.notApplicable, c.Number); c.NotApplicable != "" {
			continue
		}
		list := []*scenarios.Scenario{c.Scenario}
		if err := setDevices(list, o); err != nil {
			c.NotApplicable = "exsim plays the device in this case: " + err.Error()
		}
		if err := errors.Join(setAddresses(list, own(o.addresses, c.Scenario)), setAuthority(list, o.authority)); err != nil {
			return nil, err
		}
	}
	return suite, errors.Join(o.watched.check(), writable(o.json, o.junit, o.sheet))
}

// suiteDevice checks who plays what.
func suiteDevice(suite *scenarios.Suite, o *runOptions) error {
	if o.device == "" {
		return nil
	}
	actor, device, named := strings.Cut(o.device, "=")
	if !named {
		actor, device = suite.Device, o.device // partners stay exsim's
	}
	if d := scenarios.Device(device); d != scenarios.Simulated && d != scenarios.External {
		return input(fmt.Errorf("--device %s: %q is neither simulated nor external", o.device, device))
	}
	if actor != suite.Device {
		return input(fmt.Errorf("--device %s: the device under test is the actor %s here", o.device, suite.Device))
	}
	o.device = actor + "=" + device
	return nil
}

// leftOut is why a case is not applicable, by its number or its section's.
func leftOut(reasons map[string]string, number string) string {
	section, _, _ := strings.Cut(number, ".")
	return cmp.Or(reasons[number], reasons[section])
}

// suiteNames refuses names and numbers that no case of a suite has.
func suiteNames(suite *scenarios.Suite, o *runOptions) error {
	var parties []string
	for _, c := range suite.Cases {
		parties = append(parties, c.Scenario.Parties()...)
	}
	slices.Sort(parties)
	parties = slices.Compact(parties)
	for name := range o.addresses {
		if !slices.Contains(parties, name) {
			return input(fmt.Errorf("--address %s: the suite has no server and no actor of that name; it has %s", name, strings.Join(parties, ", ")))
		}
	}
	for _, n := range o.only {
		one := runOptions{only: []string{n}}
		if !slices.ContainsFunc(suite.Cases, one.chosen) {
			return input(fmt.Errorf("--only %s: the suite has no case and no section of that number", n))
		}
	}
	for number, why := range o.notApplicable {
		one := runOptions{only: []string{number}}
		if !slices.ContainsFunc(suite.Cases, one.chosen) {
			return input(fmt.Errorf("--not-applicable %s: the suite has no case of that number", number))
		}
		if strings.TrimSpace(why) == "" {
			return input(fmt.Errorf("--not-applicable %s: say why, as in %s=REASON: the reason stands on the sheet", number, number))
		}
	}
	return nil
}

// toRun are the scenarios of the cases that will be run.
func (o *runOptions) toRun(suite *scenarios.Suite) (list []*scenarios.Scenario) {
	for _, c := range suite.Cases {
		if c.NotApplicable == "" && o.chosen(c) {
			list = append(list, c.Scenario)
		}
	}
	return list
}

// own are the addresses of a scenario's parties.
func own(addresses map[string]string, s *scenarios.Scenario) map[string]string {
	some := map[string]string{}
	for _, name := range s.Parties() {
		if a, ok := addresses[name]; ok {
			some[name] = a
		}
	}
	return some
}

// chosen reports whether a case is among those of --only.
func (o *runOptions) chosen(c *scenarios.Case) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(n string) bool { return n == c.Number || strings.HasPrefix(c.Number, n+".") })
}
