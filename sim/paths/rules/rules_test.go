package rules

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/profile"
)

const plan = `plan: 1
name: branch
exchange: "2013"
zones: [{name: inside, kind: internal, interface: eth1}, {name: voice, kind: internal, interface: eth0}]
hosts:
  - {name: gw-1, zone: voice, roles: [voip-gateway], addresses: [10.77.1.2, "fd77:1::2"]}
  - {name: cas, zone: inside, roles: [client-access], addresses: [10.77.2.2, "fd77:2::2"]}
  - {name: mbx, zone: inside, roles: [mailbox], addresses: [10.77.2.3]}
rtp: {low: 20000, high: 20999}
`

func load(t testing.TB) *paths.Plan {
	t.Helper()
	p, err := paths.Load("plan.yaml", []byte(plan))
	require.NoError(t, err)
	return p
}

func written(t *testing.T, write func(b *bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.String()
}

func TestWritten(t *testing.T) {
	p := load(t)
	nft := written(t, func(b *bytes.Buffer) error { return Nftables(b, "title", nil, Of(p), nil) })
	require.Contains(t, nft, "define v4_gw_1 = { 10.77.1.2 }\ndefine v6_gw_1 = { fd77:1::2 }\n")
	require.Contains(t, nft, `ip6 saddr $v6_gw_1 ip6 daddr $v6_cas tcp dport { 5060-5061 } ct state new accept comment "gw-1 > cas: SIP"`)
	require.Contains(t, nft, `udp dport { 20000-20999 }`)
	require.NotContains(t, nft, "cas > mbx", "nothing filters within a zone")
	asa := written(t, func(b *bytes.Buffer) error { return ASA(b, "title", nil, Of(p)) })
	require.Contains(t, asa, "access-list EXSIM-voice-IN extended permit udp object-group EXSIM-gw_1 object-group EXSIM-mbx range 20000 20999\n")
	require.Contains(t, asa, "access-group EXSIM-voice-IN in interface voice\n")
	windows := written(t, func(b *bytes.Buffer) error { return Windows(b, "title", nil, p.FirewallRules(), Of(p)) })
	for _, name := range p.FirewallRules() {
		require.Contains(t, windows, "-DisplayName '"+name+"'")
	}
	require.Contains(t, windows, "New-NetFirewallRule -Name 'exsim cas gw-1 tcp documented 5060-5061' -DisplayName 'UMCallRouter (TCP-In), for gw-1' -Group 'exsim cas' -Direction Inbound -Action Allow -Protocol TCP -LocalPort 5060-5061 -RemoteAddress 10.77.1.2,fd77:1::2\n")
	require.NotContains(t, windows, "'exsim gw-1'", "a gateway is no Windows server")
}

// Without a plan the rules are between roles.
func TestOfEntries(t *testing.T) {
	c, err := profile.DataPaths()
	require.NoError(t, err)
	nft := written(t, func(b *bytes.Buffer) error { return Nftables(b, "title", nil, OfEntries(c, "2007", c.Of("2007")), nil) })
	require.Contains(t, nft, "define v4_hub_transport = { 192.0.2.1 } # put the addresses here\n")
	require.Contains(t, nft, "ip saddr $v4_hub_transport ip daddr $v4_edge_transport tcp dport { 25, 50389, 50636 }")
	windows := written(t, func(b *bytes.Buffer) error { return Windows(b, "title", nil, nil, OfEntries(c, "2007", c.Of("2007"))) })
	require.NotContains(t, windows, "UMCallRouter", "2007 has no such service")
}

const ruleset = `{"nftables": [{"metainfo": {"version": "1.0.6"}},
{"table": {"family": "inet", "name": "f", "handle": 1}},
{"set": {"family": "inet", "name": "mail", "table": "f", "elem": [25, {"range": [5065, 5068]}]}},
{"chain": {"family": "inet", "table": "f", "name": "forward", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
{"chain": {"family": "inet", "table": "f", "name": "voice"}},
{"rule": {"family": "inet", "table": "f", "chain": "forward", "handle": 2, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "f", "chain": "forward", "handle": 3, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}, {"counter": {"packets": 0, "bytes": 0}}, {"jump": {"target": "voice"}}]}},
{"rule": {"family": "inet", "table": "f", "chain": "voice", "handle": 4, "comment": "router", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"prefix": {"addr": "10.77.2.0", "len": 24}}}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [5060, 5061]}}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "f", "chain": "voice", "handle": 5, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.77.2.3"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": "@mail"}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "f", "chain": "voice", "handle": 6, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": {"range": [20000, 20499]}}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "f", "chain": "voice", "handle": 7, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 3389}}, {"match": {"op": "==", "left": {"meta": {"key": "hour"}}, "right": "17:00"}}, {"accept": null}]}}
]}`

func TestCheckNftables(t *testing.T) {
	f, err := ReadNftables([]byte(ruleset))
	require.NoError(t, err)
	stopped, beside := Check(load(t), f)
	var lines []string
	for _, s := range stopped {
		if s.From == "gw-1" && s.Flow.Source.Is4() {
			lines = append(lines, s.From+">"+s.To+" "+s.Transport+"/"+s.Ports.String())
		}
	}
	require.Equal(t, []string{"gw-1>mbx udp/20500-20999", "gw-1>mbx tcp/5062", "gw-1>mbx tcp/5063"}, lines)
	lines = nil
	for _, s := range beside {
		lines = append(lines, s.From+">"+s.To+" "+s.Transport+"/"+s.Ports.String()+s.condition()+" "+s.By)
	}
	require.Equal(t, []string{
		"gw-1>cas tcp/3389, depending on hour, rule 7 of chain f voice",
		"gw-1>cas udp/20000-20499 rule 6 of chain f voice",
		"gw-1>cas tcp/3389, depending on hour, rule 7 of chain f voice",
		"gw-1>cas udp/20000-20499 rule 6 of chain f voice",
		"gw-1>mbx tcp/25 rule 5 of chain f voice",
		"gw-1>mbx tcp/3389, depending on hour, rule 7 of chain f voice",
		"gw-1>mbx tcp/5060-5061 rule 4 of chain f voice (router)",
	}, lines)
	var b strings.Builder
	require.NoError(t, Tell(&b, stopped, beside))
	list, failed := Rows(stopped, beside)
	require.True(t, failed)
	require.Len(t, list, len(stopped)+len(beside))
	require.Contains(t, b.String(), "FAIL  gw-1 > mbx (10.77.2.3)  udp/20500-20999  by policy drop of chain f forward\n        documented (e2013-2016-um-rtp-worker-process, ")
	require.Contains(t, b.String(), "warn  gw-1 > mbx (10.77.2.3)  tcp/5062  by policy drop")
}

func TestCheckCSV(t *testing.T) {
	f, err := ReadCSV("r.csv", []byte(`action,transport,from,to,ports
deny,tcp,any,10.77.2.3,5066
allow,any,10.77.1.0/24 fd77:1::/64,any,"5060-5068 20000-20999"
`))
	require.NoError(t, err)
	stopped, beside := Check(load(t), f)
	var lines []string
	for _, s := range append(stopped, beside...) {
		if s.From == "gw-1" {
			lines = append(lines, s.To+" "+s.Transport+"/"+s.Ports.String()+" "+s.By)
		}
	}
	require.Equal(t, []string{"mbx tcp/5066 line 2", "cas tcp/5062-5068,20000-20999 line 3", "cas udp/5060-5068,20000-20999 line 3", "cas tcp/5062-5068,20000-20999 line 3",
		"cas udp/5060-5068,20000-20999 line 3", "mbx tcp/5060-5061,5064,20000-20999 line 3", "mbx udp/5060-5068 line 3"}, lines)
	for text, want := range map[string]string{
		"":           "r.csv: no line of names",
		"action,x\n": `r.csv:1: no column "transport"`,
		"action,transport,from,to,ports\nmaybe,tcp,any,any,1\nallow,tcp,x,any,1\nallow,tcp,any,any,9-3\nallow,sctp,any,any,1": `r.csv:2: action "maybe" is neither`,
		"action,transport,from,to,ports\nallow,tcp,x,any,1":                                                                   `r.csv:2: from: "x" is no address`,
		"action,transport,from,to,ports\nallow,tcp,any":                                                                       "wrong number of fields",
		"action,transport,from,to,ports\nallow,tcp,any,any,p":                                                                 `r.csv:2: "p" is no port`,
	} {
		_, err := ReadCSV("r.csv", []byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestReadNftablesMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"table inet f {}":  "no ruleset of nftables in JSON (nft -j list ruleset)",
		"{}":               "the key nftables is missing",
		`{"nftables": []}`: "nothing that is routed through is filtered",
		`{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 9}}]}`: "rule 9 is in chain t c, which is not in the ruleset",
	} {
		_, err := ReadNftables([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzReadNftables(f *testing.F) {
	f.Add([]byte(ruleset))
	p := Packet{From: netip.MustParseAddr("10.77.1.2"), To: netip.MustParseAddr("10.77.2.3"), Transport: "tcp", Port: 25}
	f.Fuzz(func(t *testing.T, text []byte) {
		filter, err := ReadNftables(text)
		if err != nil {
			return
		}
		if d := filter.Decide(p); !d.Pass && !d.Stop {
			t.Fatalf("undecided: %+v", d)
		}
		filter.Edges()
	})
}

func FuzzReadCSV(f *testing.F) {
	f.Add([]byte("action,transport,from,to,ports\nallow,any,10.0.0.0/8,any,1-9\n"))
	p := Packet{From: netip.MustParseAddr("10.77.1.2"), To: netip.MustParseAddr("10.77.2.3"), Transport: "tcp", Port: 25}
	f.Fuzz(func(t *testing.T, text []byte) {
		if filter, err := ReadCSV("f", text); err == nil {
			if d := filter.Decide(p); d.Pass == d.Stop {
				t.Fatalf("undecided: %+v", d)
			}
		}
	})
}
