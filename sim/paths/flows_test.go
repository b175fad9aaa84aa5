package paths

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const plan2013 = `plan: 1
name: branch
exchange: "2013"
zones:
  - {name: inside, kind: internal}
  - {name: voice, kind: internal}
  - {name: outside, kind: internet}
hosts:
  - {name: gw, zone: voice, roles: [voip-gateway], addresses: [10.77.1.2]}
  - {name: cas, zone: inside, roles: [client-access], addresses: [10.77.2.2]}
  - {name: mbx, zone: inside, roles: [mailbox], addresses: [10.77.2.3]}
  - {name: world, zone: outside, roles: [internet], addresses: [10.77.3.2]}
`

func load(t *testing.T, text string) *Plan {
	t.Helper()
	p, err := Load("plan.yaml", []byte(text))
	require.NoError(t, err)
	return p
}

func flowsByID(p *Plan) map[string]*Flow {
	m := map[string]*Flow{}
	list, _ := p.Flows()
	for _, f := range list {
		m[f.ID] = f
	}
	return m
}

func TestFlows(t *testing.T) {
	f := flowsByID(load(t, plan2013))
	for id, want := range map[string]Flow{
		"gw>cas tcp/5060":         {Kind: Documented, Expect: Open, Protocol: "SIP", TLS: "none"},
		"gw>cas tcp/5061":         {Kind: Documented, Expect: Open, Protocol: "SIP", TLS: "mutual"},
		"gw>cas udp/5060":         {Kind: Contradictory, Expect: Closed, Warn: true},
		"gw>mbx tcp/5062":         {Kind: Derived, Expect: Open, Warn: true, Protocol: "SIP", TLS: "none"},
		"gw>mbx tcp/5065":         {Kind: Documented, Expect: Open, TLS: "none"},
		"gw>mbx tcp/5066":         {Kind: Documented, Expect: Open, TLS: "mutual"},
		"gw>mbx udp/1024-65535":   {Kind: Documented, Expect: Open, Protocol: "RTP"},
		"cas>mbx tcp/5062":        {Kind: Documented, Expect: Open},
		"cas>mbx tcp/any":         {Kind: Unrestricted, Expect: Open},
		"mbx>cas udp/any":         {Kind: Unrestricted, Expect: Open},
		"mbx>gw tcp/5060":         {Kind: Derived, Expect: Open, Warn: true},
		"world>cas tcp/25":        {Kind: Documented, Expect: Open},
		"world>mbx tcp/5062-5068": {Kind: Undocumented, Expect: Closed},
		"world>cas udp/5060":      {Kind: Undocumented, Expect: Closed},
		"mbx>world tcp/25":        {Kind: Documented, Expect: Open},
	} {
		got := f[id]
		require.NotNil(t, got, id)
		require.Equal(t, want.Kind, got.Kind, id)
		require.Equal(t, want.Expect, got.Expect, id)
		require.Equal(t, want.Warn, got.Warn, id)
		if want.Protocol != "" {
			require.Equal(t, want.Protocol, got.Protocol, id)
		}
		if want.TLS != "" {
			require.Equal(t, want.TLS, got.TLS, id)
		}
	}
	for id, g := range f {
		if g.Expect == Closed && g.Kind == Undocumented {
			require.False(t, g.From.Zone == g.To.Zone, id)
			require.False(t, g.From.Name == "gw" && g.To.Name == "mbx" && g.Transport == "udp" && g.Ports.First() >= 1024, "media may go there: %s", id)
		}
	}
	again, _ := load(t, plan2013).Flows()
	first, _ := load(t, plan2013).Flows()
	for i := range first {
		require.Equal(t, first[i].ID, again[i].ID, "both ends make the same flows")
	}
}

// What is not in use is closed, what is in use must be open.
func TestUses(t *testing.T) {
	text := strings.Replace(plan2013, "roles: [internet]", "roles: [internet, client]", 1)
	f := flowsByID(load(t, text))
	require.Equal(t, Closed, f["world>cas tcp/993"].Expect)
	require.True(t, f["world>cas tcp/993"].Warn)
	f = flowsByID(load(t, text+"uses: [imap4, um-calls, play-on-phone]\nrtp: {low: 20000, high: 20999}\n"))
	require.Equal(t, Open, f["world>cas tcp/993"].Expect)
	require.False(t, f["gw>mbx tcp/5062"].Warn)
	require.False(t, f["mbx>gw tcp/5060"].Warn)
	require.NotNil(t, f["gw>mbx udp/20000-20999"])
	f = flowsByID(load(t, text+"sip: tls\n"))
	require.Nil(t, f["gw>cas tcp/5060"])
	require.Equal(t, "mutual", f["gw>mbx tcp/5065"].TLS)
}

// What is classically open by mistake must be closed.
func TestClassicMistakes(t *testing.T) {
	f := flowsByID(load(t, plan2013+"  - {name: pc, zone: voice, roles: [client], addresses: [10.77.1.9]}\n"))
	require.Equal(t, Closed, f["pc>cas tcp/25"].Expect, "clients submit on 587")
	require.Equal(t, Open, f["pc>cas tcp/587"].Expect)
	f = flowsByID(load(t, `plan: 1
name: edge
exchange: "2007"
zones: [{name: dmz, kind: perimeter}, {name: outside, kind: internet}]
hosts:
  - {name: world, zone: outside, roles: [internet], addresses: [10.0.0.1]}
  - {name: edge, zone: dmz, roles: [edge-transport], addresses: [10.0.0.2]}
`))
	require.Equal(t, Closed, f["world>edge tcp/50389"].Expect)
	require.Equal(t, Derived, f["world>edge tcp/25"].Kind)
	require.Equal(t, Open, f["edge>world tcp/25"].Expect)
}

// With an Edge Transport server mail goes by it alone, unless the plan says so.
func TestMailByTheEdge(t *testing.T) {
	const text = `plan: 1
name: edge
exchange: "2016"
zones: [{name: inside, kind: internal}, {name: dmz, kind: perimeter}, {name: outside, kind: internet}]
hosts:
  - {name: world, zone: outside, roles: [internet], addresses: [10.0.0.1]}
  - {name: edge, zone: dmz, roles: [edge-transport], addresses: [10.0.0.2]}
  - {name: mbx, zone: inside, roles: [mailbox], addresses: [10.0.0.3]}
`
	f := flowsByID(load(t, text))
	require.Equal(t, Closed, f["world>mbx tcp/25"].Expect)
	require.Equal(t, Open, f["world>edge tcp/25"].Expect)
	require.Equal(t, Open, f["edge>mbx tcp/25"].Expect)
	f = flowsByID(load(t, text+"uses: [direct-mail]\n"))
	require.Equal(t, Open, f["world>mbx tcp/25"].Expect)
}

// The unsupported topologies of 2007 are named, and its pairs of servers may be
// restricted.
func TestTopology2007(t *testing.T) {
	p := load(t, `plan: 1
name: old
exchange: "2007"
zones: [{name: inside, kind: internal}, {name: dmz, kind: perimeter}]
hosts:
  - {name: cas, zone: dmz, roles: [client-access], addresses: [10.0.0.1]}
  - {name: mbx, zone: inside, roles: [mailbox], addresses: [10.0.0.2]}
  - {name: hub, zone: inside, roles: [hub-transport], addresses: [10.0.0.3]}
  - {name: edge, zone: dmz, roles: [edge-transport], addresses: [10.0.0.4]}
`)
	_, warnings := p.Flows()
	var ids []string
	for _, w := range warnings {
		ids = append(ids, w.Rule.ID)
	}
	require.Equal(t, []string{"e2007-client-access-no-firewall-to-mailbox", "e2007-client-access-not-in-perimeter"}, ids)
	f := flowsByID(p)
	require.Equal(t, "mutual", f["hub>edge tcp/25"].TLS)
	require.NotNil(t, f["hub>edge tcp/50636"])
	require.NotEmpty(t, f["cas>mbx tcp/dynamic of e2007-client-access-to-exchange-2007-mailbox"].Unproven)
	require.NotNil(t, flowsByID(load(t, string(p.text)+"rpc: {low: 50000, high: 50009}\n"))["cas>mbx tcp/50000-50009"])
	for id, g := range f {
		require.False(t, g.Kind == Undocumented && g.From.Name == "cas" && g.To.Name == "mbx", id)
	}
	shut := 0
	for _, g := range f {
		if g.Kind == Undocumented && g.From.Name == "edge" && g.To.Name == "hub" {
			shut++
		}
	}
	require.Positive(t, shut)
}

// Each mistake of a plan is told, with its place.
func TestPlanMistakes(t *testing.T) {
	_, err := Load("p.yaml", []byte(`plan: 2
name: "a b"
exchange: "2013"
uses: [pop4]
rtp: {low: 9, high: 5}
zones:
  - {name: a, kind: internal}
  - {name: a, kind: intern}
hosts:
  - {name: x, zone: b, roles: [mailbx], addresses: [10.0.0.1]}
  - {name: x, zone: a, roles: [mailbox], addresses: [10.0.0.1, 0.0.0.0]}
  - {name: y, zone: a, roles: [hub-transport], addresses: [10.0.0.2], control: nowhere, version: "2010"}
  - {name: z, zone: a, roles: [mailbox], addresses: []}
extra: [{from: x, to: q, ports: "70000"}]
closed: {sample: -1}
hosst: []
`))
	for _, want := range []string{
		"p.yaml:1:7: the language of plans has version 1", `p.yaml:2:7: name "a b" is no name`, `p.yaml:4:7: uses: no feature "pop4"`, `did you mean "pop3"?`,
		"p.yaml:5:6: rtp: 9 to 5", `p.yaml:8:5: zone "a" stands twice`, `p.yaml:8:21: kind: "intern" is not known`, `host "x": no zone "b"`, `no role "mailbx"`, `did you mean "mailbox"?`,
		`host "x" stands twice`, "0.0.0.0 is no address of a host", `has the address 10.0.0.1 of "x"`, `no role "hub-transport" in a plan of Exchange 2013`, "is no ADDRESS:PORT",
		"only an Edge Transport server has a version", `host "z" has 0 addresses`, `"70000" is no port`, `extra: no host "q"`, "closed: sample is -1", `unknown key "hosst"`,
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestPortSet(t *testing.T) {
	var s PortSet
	for _, p := range []uint16{5, 3, 4, 9, 1, 2, 65535, 0} {
		s.Add(p)
	}
	require.Equal(t, "0-5,9,65535", s.String())
	require.Equal(t, 8, s.Len())
	require.True(t, s.Has(65535))
	require.Equal(t, "0-2,65535", s.Minus(PortsBetween(3, 10)).String())
	require.Equal(t, "3-5,9", s.And(PortsBetween(3, 10)).String())
	var r PortSet
	require.NoError(t, r.UnmarshalText([]byte("25,1024-65535")))
	require.Equal(t, 64513, r.Len())
	require.Error(t, r.UnmarshalText([]byte("9-3")))
}

// The plan to start from is right.
func TestStarter(t *testing.T) {
	p, err := Load("starter.yaml", Starter())
	require.NoError(t, err)
	flows, warnings := p.Flows()
	require.NotEmpty(t, flows)
	require.Empty(t, warnings)
}

// The arithmetic of ranges is that of single ports.
func TestPortSetArithmetic(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	draw := func() (set PortSet, all map[uint16]bool) {
		all = map[uint16]bool{}
		for range chance.IntN(7) {
			low := []int{0, 1, 2, 5, 6, 9, 12, 65525, 65530, 65533, 65535}[chance.IntN(11)]
			high := min(low+chance.IntN(5), 65535)
			set.AddSet(PortsBetween(uint16(low), uint16(high)))
			for p := low; p <= high; p++ {
				all[uint16(p)] = true
			}
		}
		return set, all
	}
	for range 2000 {
		a, inA := draw()
		b, inB := draw()
		before := a.String()
		both, minus, and := a, a.Minus(b), a.And(b)
		both.AddSet(b)
		for n := range 40 {
			p := uint16(n)
			if n >= 20 {
				p = uint16(65536 - 40 + n)
			}
			x, y := inA[p], inB[p]
			require.Equal(t, []bool{x, x || y, x && !y, x && y}, []bool{a.Has(p), both.Has(p), minus.Has(p), and.Has(p)}, "port %d: a %s, b %s, both %s, minus %s, and %s", p, a, b, both, minus, and)
		}
		require.Equal(t, before, a.String(), "an operand stays as it is")
		require.Equal(t, len(inA), a.Len())
	}
}

// Where a filter opens media by the SIP that it reads, the calls that do so are
// those of the same sender, in clear, to where they are answered.
func TestSignalled(t *testing.T) {
	f := flowsByID(load(t, plan2013+"media: signalled\n"))
	require.Equal(t, "5065,5067", f["gw>mbx udp/1024-65535"].CallPorts().String())
	require.Less(t, f["gw>mbx udp/1024-65535"].Sample().Len(), 100)
	require.Empty(t, f["gw>cas udp/5060"].Calls)
	both := flowsByID(load(t, strings.Replace(plan2013, "[10.77.1.2]}", "[10.77.1.2], rtp: {low: 30000, high: 30009}}", 1)+"media: signalled\n"))
	require.Equal(t, "mbx>gw tcp/5060", both["mbx>gw udp/30000-30009"].Call(30001).ID)
	for id, x := range flowsByID(load(t, plan2013+"media: signalled\nsip: tls\n")) {
		if x.Protocol == "RTP" && strings.HasPrefix(id, "gw>mbx") {
			require.Contains(t, x.Unproven, "gw places no call in clear to mbx")
		}
	}
}
