// Package simtest brings a simulated Exchange organisation up in a Go test: on
// free ports, with a simulated IP gateway for each gateway object, closed when
// the test ends. A test that fails logs the ladder of what went over the wire.
//
//	func TestMyGateway(t *testing.T) {
//		ex := simtest.Start(t, simtest.Version("2016"))
//		call := ex.Gateway("gw1").Dial("4000", simtest.Diverted("4021", "no-answer"))
//		call.WantAnswered().WantEvent("um.recording")
//		call.Talk(2 * time.Second).Press("#").Hangup()
//		ex.WantMail("4021").WantRecording(call)
//	}
//
// A gateway under test is pointed at Exchange.Front, from an address that one
// of the gateway objects has. Tests may run in parallel: they share nothing but
// loopback addresses.
package simtest

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Within is how long a Want waits for what it wants.
const Within = 20 * time.Second

// Option changes what Start brings up.
type Option func(*settings)

type settings struct {
	version      string
	organisation string
	facts        []profile.Override
	seed         uint64
}

// Version is the Exchange version, such as "2016"; 2013 without it.
func Version(version string) Option { return func(s *settings) { s.version = version } }

// Organisation says in YAML what differs from the default organisation of the
// version, as a scenario's organisation does.
func Organisation(yaml string) Option { return func(s *settings) { s.organisation = yaml } }

// Facts overrides assumed facts, in YAML.
func Facts(yaml string) Option {
	return func(s *settings) {
		s.facts = append(s.facts, profile.Override{Name: "facts", Data: []byte(yaml)})
	}
}

// Seed repeats the choices of an earlier run; 1 without it.
func Seed(n uint64) Option { return func(s *settings) { s.seed = n } }

// Exchange is a running organisation; its methods for the time of a run
// (Recycle, SetMaintenance, SetGatewayStatus, StopListener and others) are
// sim.Exchange's.
type Exchange struct {
	*sim.Exchange
	t   testing.TB
	lab *lab.Lab
	log *trace.Log
	had map[uint64]bool // messages that WantMail has given
}

// Start brings up an organisation. It ends with the test.
func Start(t testing.TB, options ...Option) *Exchange {
	t.Helper()
	s := settings{version: "2013", seed: 1}
	for _, o := range options {
		o(&s)
	}
	o := s.load(t)
	x := &Exchange{t: t, log: trace.New(trace.Config{Header: sim.Header("", o.Version, s.seed)})}
	conf := lab.Config{Org: o, Dir: t.TempDir(), Seed: s.seed, Ports: sim.Ports{Free: true}, Trace: x.log, Overrides: s.facts}
	for i := range o.Gateways {
		if g := &o.Gateways[i]; g.Address.IsValid() {
			conf.Gateways = append(conf.Gateways, lab.Gateway{Name: g.Name, Address: g.Address, Secure: o.Secured(g), SRTP: wantsSRTP(o, g)})
		}
	}
	var err error
	if x.lab, err = lab.Start(conf); err != nil {
		_ = x.log.Close()
		t.Fatalf("simtest: %v", err)
	}
	x.Exchange = x.lab.Exchange
	t.Cleanup(x.end)
	return x
}

func (s *settings) load(t testing.TB) *org.Organisation {
	t.Helper()
	text := s.organisation
	if text == "" {
		text = "{}"
	}
	f, err := yamlfile.Parse("organisation", []byte(text))
	if err != nil {
		t.Fatalf("simtest: %v", err)
	}
	o := org.FromValue(f, f.Root, s.version)
	if err := f.Err(); err != nil {
		t.Fatalf("simtest: %v", err)
	}
	return o
}

func wantsSRTP(o *org.Organisation, g *org.UMIPGateway) bool {
	return slices.ContainsFunc(o.HuntGroups, func(h org.HuntGroup) bool {
		return h.Gateway == g.Name && o.DialPlanNamed(h.DialPlan).VoIPSecurity == org.Secured
	})
}

// end closes everything and tells what happened if the test failed.
func (x *Exchange) end() {
	err := x.lab.Close()
	if cerr := x.log.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		x.t.Errorf("simtest: %v", err)
	}
	for e := range x.log.Events() {
		if e.Name == "bench.fault" {
			x.t.Errorf("simtest: exsim itself failed (%s): %s", e.Text("where"), e.Text("what"))
		}
	}
	if x.t.Failed() {
		x.t.Log(ladder(x.log))
	}
}

func ladder(log *trace.Log) string {
	var b bytes.Buffer
	if err := report.Write(&b, slices.Collect(log.Events())); err != nil {
		return err.Error()
	}
	return "what went over the wire:\n" + b.String()
}

// Front is where a gateway places its calls over TCP, or over TLS: the call
// router, or in 2007 the UM service.
func (x *Exchange) Front(secure bool) netip.AddrPort {
	x.t.Helper()
	row := x.Profile().Front()
	if secure {
		row += "-tls"
	}
	for _, l := range x.Listeners() {
		if l.Row.ID == row {
			return l.Addr()
		}
	}
	x.t.Fatalf("simtest: no listener %s; see um-startup-mode", row)
	return netip.AddrPort{}
}

// Events are what has happened so far.
func (x *Exchange) Events() []trace.Event { return slices.Collect(x.log.Events()) }

// Match says which event is wanted; nil wants any of its name.
type Match func(e *trace.Event) bool

// WantEvent waits for an event that has happened or does Within, and fails the
// test without one. exsim events lists names and fields.
func (x *Exchange) WantEvent(name string, match Match) trace.Event {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), Within)
	defer cancel()
	for e := range x.log.Follow(ctx) {
		if e.Name == name && (match == nil || match(&e)) {
			return e
		}
	}
	x.t.Fatalf("no event %s within %s", name, Within)
	return trace.Event{}
}

// WantNever fails the test if an event has happened so far.
func (x *Exchange) WantNever(name string, match Match) {
	x.t.Helper()
	for e := range x.log.Events() {
		if e.Name == name && (match == nil || match(&e)) {
			x.t.Fatalf("%s happened %s after the beginning", name, e.At.Round(time.Millisecond))
		}
	}
}
