package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/rules"
)

const asked = "tcp dport 7800 accept; tcp sport 7800 accept; ct state established,related accept; "

// rulesets are ways to filter; what exsim says of each is what packets meet.
var rulesets = map[string]string{
	"nothing": "table inet f {\n chain forward { type filter hook forward priority 0; policy accept; }\n}\n",
	"set and interval": `table inet f {
 set voice { type inet_service; flags interval; elements = { 5060-5062, 5067 }; }
 chain forward { type filter hook forward priority 0; policy drop; ` + asked + `
  ip saddr 10.77.1.0/24 tcp dport @voice accept
  udp dport 20000-20009 accept
 }
}
`,
	"verdict maps": `table inet f {
 chain voice { tcp dport vmap { 5060 : accept, 5061 : drop, 5065-5066 : accept }; return; }
 chain forward { type filter hook forward priority 0; policy drop;
  ct state vmap { established : accept, related : accept, invalid : drop }
  tcp dport 7800 accept
  ip daddr 10.77.2.2 jump voice
  tcp dport 5062 reject
  tcp dport 5063 accept
 }
}
`,
	"jumps, goto and return": `table inet f {
 chain last { tcp dport 5060 accept; }
 chain sip { tcp dport != 5060-5061 return; goto last; }
 chain forward { type filter hook forward priority 0; policy drop; ` + asked + `
  meta l4proto tcp jump sip
  tcp dport { 5061, 5065 } accept
 }
}
`,
	"two tables and a chain before routing": `table inet a {
 chain pre { type filter hook prerouting priority -300; tcp dport 5065 drop; }
 chain forward { type filter hook forward priority 10; policy accept; tcp dport 5066 drop; }
}
table ip b {
 chain forward { type filter hook forward priority 0; policy drop; ` + asked + `
  tcp dport 5060-5067 accept
 }
}
`,
	"interfaces and marks": `table inet f {
 chain forward { type filter hook forward priority 0; policy drop; ` + asked + `
  meta mark 7 return
  iifname "r*" oifname r2 tcp dport { 5060, 5062 } accept
  iifname "eth*" accept
 }
}
`,
}

// What exsim says of a filter is what the packets meet there.
func TestCheckAgainstKernel(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, []string{"10.77.1.2"}, []string{"10.77.2.2"})
	text := strings.Replace(mailPlan, "kind: internet}, {name: inside, kind: internal}", "kind: internal, interface: r1}, {name: inside, kind: internal, interface: r2}", 1)
	text = strings.Replace(text, "[voip-gateway, internet, client]", "[voip-gateway]", 1)
	plan := planFile(t, text)
	p, err := paths.Load("plan.yaml", []byte(text))
	require.NoError(t, err)
	n.listen(n.B, plan, "ex")
	for name, ruleset := range rulesets {
		t.Run(name, func(t *testing.T) {
			n.t = t
			n.rules(strings.ReplaceAll(ruleset, "; ", "\n"))
			f, err := rules.ReadNftables([]byte(n.must("ip", "netns", "exec", n.R, "nft", "-j", "list", "ruleset")))
			require.NoError(t, err)
			said := map[string]string{}
			stopped, _ := rules.Check(p, f)
			for _, x := range stopped {
				key := x.From + ">" + x.To + " " + x.Flow.Transport + "/" + x.Flow.Ports.String()
				said[key] = "stopped"
				if x.Depends != "" {
					said[key] = "undecided"
				}
			}
			_, rows, errs := n.probe(n.A, plan, "peer", "ex", "--one-way")
			decided := 0
			for key, r := range rows {
				if r.Expected != "open" || r.Found == "not proven" || said[key] == "undecided" {
					continue
				}
				decided++
				require.Equal(t, said[key] != "stopped", r.Found == "open", "%s: said %q, found %s\n%s", key, said[key], r.Found, errs)
			}
			require.Positive(t, decided)
		})
	}
	n.t = t
}
