package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/trace"
)

// pathScenario is one with nothing but paths, on addresses of its own.
func pathScenario(t *testing.T, net int, rest string) *Scenario {
	t.Helper()
	list, err := Load("path.yaml", fmt.Appendf(nil, `version: 1
name: paths
organisation:
  rtp: {low: 20000, high: 20019}
  servers: [{name: ex, fqdn: ex.contoso.lab, address: 127.0.%[1]d.2, roles: [client-access, mailbox]}]
  mailboxes: []
actors:
  gw: {role: ip-gateway, address: 127.0.%[1]d.3}
  box: {role: middlebox, address: 127.0.%[1]d.4, between: gw}
%[2]s`, net, rest), nil)
	require.NoError(t, err)
	return list[0]
}

func runPaths(t *testing.T, s *Scenario) (passed bool, told string) {
	t.Helper()
	out, err := Run(context.Background(), s, Options{Dir: t.TempDir(), Ports: sim.Ports{Free: true}, Seed: 1})
	require.NoError(t, err)
	for _, v := range out.Verdicts {
		told += fmt.Sprintf("%s %s: %s (%s)\n", v.Result, v.Text, v.Got, v.CauseID)
	}
	return out.Passed, told
}

// What the network changes fails intact, unless it may change it; what breaks
// fails in any case.
func TestMayChange(t *testing.T) {
	t.Parallel()
	const agent = "faults: [{actor: box, do: rewrite, header: User-Agent, value: another}]\n"
	for _, c := range []struct {
		rest   string
		passes bool
		says   string
	}{
		{"path: {}\n" + agent, true, "5 open, as must be"},
		{"path: {intact: [sip]}\n" + agent, false, "User-Agent"},
		{"path: {intact: [sip], may_change: [user-agent]}\n" + agent, true, "sip arrives as it left ("},
		{"path: {}\nfaults: [{actor: box, do: rewrite, sdp: c, value: IN IP4 192.0.2.1}]\n", false, "path-altered"},
		{"path: {intact: [sdp]}\nfaults: [{actor: box, do: rewrite, sdp: c, value: IN IP4 192.0.2.1}]\n", false, "path-altered"},
		{"path: {intact: [sdp], may_change: [SDP c=]}\nfaults: [{actor: box, do: rewrite, sdp: c, value: IN IP4 192.0.2.1}]\n", true, "sdp arrives"},
		{"path: {closed: undocumented}\n", false, "path-open"}, // nothing filters on the loopback
		{"path: {open: none, extra: [{from: gw, to: ex, ports: 8443}]}\n", true, "1 open, as must be"},
		{"path: {open: none, extra: [{from: gw, to: ex, ports: 8443, expect: closed}]}\n", false, "path-open"},
		{"path: {media: signalled}\nfaults: [{actor: box, do: rtp-loss}]\n", false, "path-partly"}, // RTP, not RTCP
		{"path: {}\nfaults: [{actor: box, do: silence, of: OPTIONS}]\n", false, "ex>gw tcp/5060 is silent"},
		{"path: {sweep: none}\nnever: [{event: path.result, where: {protocol: RTP}}]\n", true, "as must be"},
		{"path: {}\nnever: [{event: path.result, where: {protocol: RTP}}]\n", false, "it happened"},
	} {
		passes, told := runPaths(t, pathScenario(t, 134, c.rest))
		require.Equal(t, c.passes, passes, "%s\n%s", c.rest, told)
		require.Contains(t, told, c.says, c.rest)
	}
}

// Mistakes in path: have their place.
func TestPathMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"path: {intact: [spi]}":                             `9:16: path: intact: "spi" is not known`,
		"path: {may_change: [Vía]}":                         `path: may_change: "Vía" is the name of no change`,
		"path: {opne: documented}":                          `did you mean "open"?`,
		"path: {sweep: some}":                               `sweep: "some"`,
		"path: {uses: [play-on-fone]}":                      `no feature "play-on-fone"`,
		"path: {hosts: {gv: {zone: internet}}}":             `no actor that calls or sends is named "gv"`,
		"path: {extra: [{from: gw, to: nobody, ports: 1}]}": `extra: no host "nobody"`,
		"path: {hosts: {gw: {rtp: {low: 9, high: 3}}}}":     `9 to 3 is no range`,
		"path: {open: none}":                                `path: nothing would be proven`,
		"path: {intact: [smtp]}":                            `no path between these actors and servers carries smtp`,
		"path: {media: signalled, intact: [tls]}":           `no path between these actors and servers carries tls`,
		"path: {may_change: [UserAgent]}":                   `did you mean "User-Agent"?`,
		"steps: []":                                         "no step: nothing would be proven",
	} {
		_, err := Load("path.yaml", []byte("version: 1\nname: x\nactors: {gw: {role: ip-gateway, address: 127.0.0.30}}\n\n\n\n\n\n"+text+"\n"), nil)
		require.Error(t, err, text)
		require.Contains(t, strings.ReplaceAll(err.Error(), "\n", " "), want, text)
	}
}

// The plan of a scenario says what the file does.
func TestPathPlan(t *testing.T) {
	s := pathScenario(t, 135, "path: {uses: [mwi], hosts: {gw: {zone: internet, rtp: {low: 30000, high: 30009}}}}\n")
	p, err := s.PathPlan()
	require.NoError(t, err)
	require.Equal(t, []string{"ex", "gw"}, p.HostNames())
	require.Equal(t, "tcp", p.SIP)
	require.Equal(t, []string{"um-calls", "mwi"}, p.Uses)
	s.Organisation.Router.UMStartupMode = "TLS"
	require.Contains(t, s.PathPlanText(), "sip: dual")
	s.Organisation.Servers[0].UMStartupMode = "TLS"
	require.Contains(t, s.PathPlanText(), "sip: tls")
}

// What may change explains an alteration, and nothing else that is wrong with the
// same path.
func TestMayChangeExplainsNoLoss(t *testing.T) {
	s := pathScenario(t, 140, "path: {may_change: [DSCP, order of headers, certificate]}\n")
	for found, tt := range map[string]struct {
		protocol, what string
		passes         bool
	}{
		"altered":                      {"rtp", "DSCP", true},
		"dropped in one direction":     {"rtp", "DSCP", false},
		"partly open":                  {"rtp", "DSCP", false},
		"not proven":                   {"rtp", "DSCP", false},
		"intercepted":                  {"tls", "certificate", true},
		"silent at the protocol level": {"sip", "order of headers of INVITE", false},
	} {
		field := func(key, value string) trace.Field { return trace.Field{Key: key, Value: value} }
		events := []trace.Event{
			{Seq: 1, Name: "path.result", Fields: []trace.Field{field("path", "x"), field("from", "gw"), field("to", "ex"), field("expected", "open"), field("found", found), field("level", "fail"), field("provable", "true")}},
			{Seq: 2, Name: "path.changed", Fields: []trace.Field{field("path", "x"), field("what", tt.what), field("protocol", tt.protocol)}},
		}
		require.Equal(t, tt.passes, AllPassed(Judge(s, slices.Values(events))), found)
	}
	require.Equal(t, "order of headers", changeKind("order of headers of INVITE"))
	require.Equal(t, "Via", changeKind("Via of 200 to 1 OPTIONS"))
}
