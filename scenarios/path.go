package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sim/yamlfile"
)

// PathRules say what the network between the actors and the organisation must
// let through, what not, and what it may change.
type PathRules struct {
	Pos       yamlfile.Pos
	Places    yamlfile.Places
	Open      string              `yaml:"open" default:"documented" enum:"documented,none" doc:"documented: every path that the port pages name between the actors and the servers, and those that follow from them, is open"`
	Closed    string              `yaml:"closed" default:"none" enum:"undocumented,none" doc:"undocumented: a sample of ports that no page names, and the usual wrong ones, are closed; only a real filter does that"`
	Sweep     string              `yaml:"sweep" default:"sample" enum:"sample,all,none" doc:"how many ports of media, and of other large ranges, are tried"`
	Intact    []string            `yaml:"intact" doc:"what arrives as it left: sip, sdp, smtp, tls, rtp (its marking), addresses (without NAT); what is altered so that it breaks fails in any case"`
	MayChange []string            `yaml:"may_change" doc:"what may be changed all the same, by the names that the report uses: a header, such as Via; a line of the session description, such as SDP c=; DSCP, banner, EHLO CHUNKING, certificate and the like"`
	Media     paths.Media         `yaml:"media" default:"static" enum:"static,signalled" doc:"how a filter opens media: by rules for the range, or for each call by the SIP that it reads"`
	Uses      []string            `yaml:"uses" doc:"features that are in use, whose derived paths must be open, such as play-on-phone; um-calls is, where an actor calls"`
	Hosts     map[string]PathHost `yaml:"hosts" doc:"what the file does not say elsewhere of an actor, by its name"`
	Extra     []paths.Extra       `yaml:"extra" doc:"more paths, between an actor and a server by their names"`
}

// PathHost is what paths need to know of an actor.
type PathHost struct {
	Pos  yamlfile.Pos
	Zone string      `yaml:"zone" enum:"internal,perimeter,internet" doc:"where it stands; an ip-gateway inside, a mail-host in the Internet if left out"`
	RTP  paths.Range `yaml:"rtp" doc:"its media ports; without them the paths to its media are not tried"`
}

// ForPaths reports whether the scenario proves paths.
func (s *Scenario) ForPaths() bool { return s.Path.Pos != (yamlfile.Pos{}) }

// pathRole is what the port pages call an actor, and where it stands.
var pathRole = map[string]struct{ role, zone string }{roleGateway: {"voip-gateway", "internal"}, roleMail: {"internet", "internet"}}

// PathPlanText is the plan of the paths between the actors and the
// organisation: both ends of a proof have the same.
func (s *Scenario) PathPlanText() string {
	var b, zones, hosts strings.Builder
	o, uses := s.Organisation, s.Path.Uses
	zones.WriteString("  - {name: organisation, kind: internal}\n")
	for i := range o.Servers {
		server := &o.Servers[i]
		fmt.Fprintf(&hosts, "  - {name: %q, zone: organisation, roles: [%s], addresses: [%q]%s}\n", server.Name, joined(server.Roles), server.Address, s.reachedAt(server))
	}
	for _, name := range names(s.Actors) {
		a := s.Actors[name]
		if a.Role == roleBox {
			continue
		}
		h := s.Path.Hosts[name]
		if a.Role == roleGateway && !slices.Contains(uses, "um-calls") {
			uses = append([]string{"um-calls"}, uses...)
		}
		fmt.Fprintf(&zones, "  - {name: %q, kind: %s}\n", zoneOf(name), cmp.Or(h.Zone, pathRole[a.Role].zone))
		fmt.Fprintf(&hosts, "  - {name: %q, zone: %q, roles: [%s], addresses: [%q]%s}\n", name, zoneOf(name), pathRole[a.Role].role, a.Address, rangeText(", rtp: ", h.RTP))
	}
	fmt.Fprintf(&b, "# The paths of the scenario %s.\nplan: 1\nname: %q\nexchange: %q\nsip: %s\n", s.Name, s.Name, profile.CatalogueVersion(o.Version), s.startupMode())
	if o.RTP.Low != 0 {
		b.WriteString(rangeText("rtp: ", paths.Range{Low: o.RTP.Low, High: o.RTP.High}) + "\n")
	}
	if len(uses) > 0 {
		fmt.Fprintf(&b, "uses: [%s]\n", strings.Join(uses, ", "))
	}
	if s.Path.Closed != "undocumented" {
		b.WriteString("closed: {sample: 0}\n")
	}
	if s.Path.Media == paths.Signalled {
		b.WriteString("media: signalled\n")
	}
	b.WriteString("zones:\n" + zones.String() + "hosts:\n" + hosts.String())
	if len(s.Path.Extra) > 0 {
		b.WriteString("extra:\n")
	}
	for _, x := range s.Path.Extra {
		fmt.Fprintf(&b, "  - {from: %q, to: %q, transport: %s, ports: %q, expect: %s, why: %q}\n", x.From, x.To, x.Transport, x.Ports.String(), x.Expect, x.Why)
	}
	return b.String()
}

// PathPlan is that plan.
func (s *Scenario) PathPlan() (*paths.Plan, error) {
	return paths.Load("plan of "+s.Name, []byte(s.PathPlanText()))
}

func zoneOf(actor string) string { return "at-" + actor }

func joined(roles []org.Role) string {
	list := make([]string, len(roles))
	for i, r := range roles {
		list[i] = string(r)
	}
	return strings.Join(list, ", ")
}

func rangeText(before string, r paths.Range) string {
	if r.High == 0 {
		return ""
	}
	return fmt.Sprintf("%s{low: %d, high: %d}", before, r.Low, r.High)
}

// reachedAt is the address that a server advertises, in all zones of actors.
func (s *Scenario) reachedAt(server *org.Server) string {
	if !server.Advertise.IsValid() || server.Advertise == server.Address {
		return ""
	}
	var list []string
	for _, name := range names(s.Actors) {
		if s.Actors[name].Role != roleBox {
			list = append(list, fmt.Sprintf("{from: %q, address: %q}", zoneOf(name), server.Advertise))
		}
	}
	return ", reached-at: [" + strings.Join(list, ", ") + "]"
}

// startupMode is that of all services of Unified Messaging together.
func (s *Scenario) startupMode() string {
	var modes []org.StartupMode
	p, err := profile.Load(s.Organisation.Version)
	if err != nil {
		return "dual" // a mistake that is told
	}
	if p.RoleOf(um.CallRouter) != "" {
		modes = append(modes, s.Organisation.Router.UMStartupMode)
	}
	for _, server := range s.Organisation.Servers {
		if server.Has(org.Role(p.RoleOf(um.UMService))) {
			modes = append(modes, server.UMStartupMode)
		}
	}
	mode := ""
	for _, m := range modes {
		m = cmp.Or(m, org.ModeTCP)
		if mode != "" && mode != string(m) {
			return "dual"
		}
		mode = string(m)
	}
	return strings.ToLower(mode)
}
