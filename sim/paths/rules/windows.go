package rules

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
)

// umRules are the names that Setup gives to the rules of Unified Messaging's
// services, by the ports that the services listen on.
var umRules = []struct {
	name  string
	ports paths.PortSet
}{
	{"UMCallRouter (TCP-In)", paths.PortsBetween(5060, 5061)},
	{"UMService (TCP-In)", paths.PortsBetween(5062, 5063)},
	{"UMWorkerProcess (TCP-In)", paths.PortsBetween(5065, 5068)},
}

// Windows writes a PowerShell script for the servers themselves: it looks for
// the documented rules of Setup, and makes a rule for each port that others
// connect to. names are those of Setup's rules, none where a version has none.
func Windows(w io.Writer, title string, notes []string, names []string, list []Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", title)
	b.WriteString("# Run on the server that a rule names (-Group). Made again, a rule takes the place of its old self.\n")
	comments(&b, "#", notes)
	if len(names) > 0 {
		b.WriteString("\n# Exchange Setup makes these inbound rules, without a limit on TCP ports:\n")
		for _, n := range names {
			fmt.Fprintf(&b, "if (-not (Get-NetFirewallRule -DisplayName %s -ErrorAction SilentlyContinue | Where-Object Enabled -eq True)) { Write-Warning %s }\n",
				quote(n), quote("missing or disabled: "+n))
		}
	}
	for _, r := range list {
		if !r.To.Server {
			continue
		}
		for _, part := range split(r, names) {
			name := "exsim: " + r.says()
			if part.name != "" {
				name = part.name + ", for " + r.From.Name
			}
			remote := " -RemoteAddress 192.0.2.1 # put the addresses here"
			if len(r.From.Addrs) > 0 {
				remote = " -RemoteAddress " + strings.Join(append(r.From.family(false), r.From.family(true)...), ",")
			}
			key := fmt.Sprintf("exsim %s %s %s %s %s", r.To.Name, r.From.Name, r.Transport, r.Kind, part.ports)
			fmt.Fprintf(&b, "\nRemove-NetFirewallRule -Name %s -ErrorAction SilentlyContinue\n", quote(key))
			fmt.Fprintf(&b, "New-NetFirewallRule -Name %s -DisplayName %s -Group %s -Direction Inbound -Action Allow -Protocol %s -LocalPort %s%s\n",
				quote(key), quote(name), quote("exsim "+r.To.Name), strings.ToUpper(r.Transport), part.ports, remote)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type namedPorts struct {
	name  string // of Setup's rule, "" for none
	ports paths.PortSet
}

// split takes the ports of Setup's services out of a rule's own.
func split(r Rule, names []string) []namedPorts {
	var list []namedPorts
	rest := r.Ports
	if r.Transport == "tcp" && r.Kind != paths.Unrestricted {
		for _, u := range umRules {
			if own := rest.And(u.ports); own.Len() > 0 && slices.Contains(names, u.name) {
				list = append(list, namedPorts{u.name, own})
				rest = rest.Minus(u.ports)
			}
		}
	}
	if rest.Len() > 0 {
		list = append(list, namedPorts{"", rest})
	}
	return list
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
