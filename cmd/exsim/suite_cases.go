package main

import (
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
	if o.device == string(scenarios.External) {
		o.device = suite.Device + "=" + o.device // partners stay exsim's
	}
	if err := suiteNames(suite, &o); err != nil {
		return nil, err
	}
	for _, c := range suite.Cases {
		if c.NotApplicable = o.notApplicable[c.Number]; c.NotApplicable != "" {
			continue
		}
		list := []*scenarios.Scenario{c.Scenario}
		if err := setDevices(list, o); err != nil {
			c.NotApplicable = "exsim plays the device in this case: " + err.Error()
		}
		if err := errors.Join(setAddresses(list, own(o.addresses, c.Scenario)), setAuthority(list, o.authority)); err != nil {
			return nil, err
		}
		if server := c.Scenario.Unreachable(); server != "" && o.chosen(c) && c.NotApplicable == "" {
			return nil, input(fmt.Errorf("case %s: %s is on the loopback, where the device cannot reach it: --address %s=ADDRESS, an address of this machine", c.Number, server, server))
		}
	}
	return suite, errors.Join(o.watched.check(), writable(o.json, o.junit, o.sheet))
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
	for number := range o.notApplicable {
		if !slices.ContainsFunc(suite.Cases, func(c *scenarios.Case) bool { return c.Number == number }) {
			return input(fmt.Errorf("--not-applicable %s: the suite has no case of that number", number))
		}
	}
	return nil
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
