package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/profile"
)

// duo is two hosts of a version between which the catalogue has entries.
type duo struct{ version, from, to string }

func (d duo) plan(t *testing.T) *paths.Plan {
	t.Helper()
	p, err := paths.Load("plan.yaml", []byte(d.text()))
	require.NoError(t, err, "%+v\n%s", d, d.text())
	return p
}

func (d duo) text() string {
	from, gateway := d.from, ""
	version, _, hasVersion := strings.Cut(from, "@")
	if hasVersion {
		from, version = version, strings.TrimPrefix(d.from, version+"@")
		gateway = fmt.Sprintf(", version: %q", version)
	}
	range3 := ", rtp: {low: 30000, high: 30009}"
	return fmt.Sprintf(`plan: 1
name: duo
exchange: %q
zones: [{name: a, kind: internal}, {name: b, kind: internal}]
hosts:
  - {name: x, zone: a, roles: [%s], addresses: [10.77.1.2]%s%s}
  - {name: y, zone: b, roles: [%s], addresses: [10.77.2.2]%s}
rtp: {low: 20000, high: 20009}
rpc: {low: 50000, high: 50009}
proxy-port: 3128
uses: [pop3, imap4, smtp-clients-on-25, outbound-proxy, um-calls, um-outgoing, mwi, play-on-phone, transport-services]
closed: {sample: 0}
`, d.version, from, gateway, range3, d.to, range3)
}

// duos are the pairs of roles that the entries with ports are about.
func duos(t *testing.T) []duo {
	c, err := profile.DataPaths()
	require.NoError(t, err)
	roleOf := func(version, role string) string {
		for _, r := range c.RolesOf(version) {
			if c.Plays(version, version, []string{r}, role) {
				return r
			}
		}
		for _, v := range []string{"2007", "2010", "2013", "2016", "2019"} { // an Edge of another version
			if c.Plays(version, v, []string{"edge-transport"}, role) {
				return "edge-transport@" + v
			}
		}
		for _, both := range [][]string{{"mailbox", "client-access"}} {
			if c.Plays(version, version, both, role) {
				return strings.Join(both, ", ")
			}
		}
		return ""
	}
	var list []duo
	for _, version := range c.Versions() {
		for _, d := range c.Of(version) {
			from, to := roleOf(version, d.From), roleOf(version, d.To)
			if len(d.Ports) > 0 && d.Kind != profile.KindRule && from != "" && to != "" {
				if x := (duo{version, from, to}); !slices.Contains(list, x) {
					list = append(list, x)
				}
			}
		}
	}
	return list
}

// Every entry of the catalogue that has ports and two machines is probed: open
// alone, and closed alone. The truth table is right each time, both ways. The
// whole catalogue takes minutes and is part of make soak; else every ninth
// pair of roles.
func TestPathsEachRow(t *testing.T) {
	all := duos(t)
	covered := map[string]bool{}
	step := 9
	if os.Getenv("EXSIM_SOAK") != "" {
		step = 1
	}
	t.Parallel()
	n := newNetwork(t, []string{"10.77.1.2"}, []string{"10.77.2.2"})
	flows, runs := 0, 0
	for i := 0; i < len(all); i += step {
		d := all[i]
		t.Run(fmt.Sprintf("%s %s to %s", d.version, d.from, d.to), func(t *testing.T) {
			n.t = t
			file := planFile(t, d.text())
			defer n.listen(n.B, file, "y")()
			list, _ := d.plan(t).Flows()
			list = slices.DeleteFunc(list, func(f *paths.Flow) bool {
				return f.Expect == paths.Closed || f.Unproven != "" || f.Kind == paths.Unrestricted
			})
			for _, f := range list {
				flows++
				for _, r := range f.Rests {
					covered[r.Path.ID] = true
				}
				match := fmt.Sprintf("ip saddr %s ip daddr %s %s dport { %s } ", f.Source, f.Target, f.Transport, f.Ports)
				for _, rules := range []struct {
					text      string
					this, any string // what is found of this flow, and of each other
				}{
					{forward("drop", "ct state established,related accept", match+"accept"), "open", "dropped"},
					{forward("accept", "ct state established,related accept", match+"drop"), "dropped", "open"},
				} {
					runs++
					n.rules(rules.text)
					wrong := func(timeout string) (wrong []string) {
						_, rows, errs := n.probe(n.A, file, "x", "y", "--timeout", timeout)
						for _, o := range list {
							want := rules.any
							if o == f {
								want = rules.this
							}
							if got := rows[o.From.Name+">"+o.To.Name+" "+o.Transport+"/"+o.Ports.String()]; got.Found != want {
								wrong = append(wrong, fmt.Sprintf("%s while %s is %s: want %s, got %+v\n%s", o.ID, f.ID, rules.this, want, got, errs))
							}
						}
						return wrong
					}
					if wrong("200ms") != nil { // in a hurry on a busy machine
						require.Empty(t, wrong("5s"))
					}
				}
			}
		})
	}
	n.t = t
	t.Logf("%d pairs of roles of %d, %d flows, %d runs, %d entries of the catalogue", (len(all)+step-1)/step, len(all), flows, runs, len(covered))
}
