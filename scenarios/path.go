package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/integrity"
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

// Protocols that can be intact.
var intactNames = []string{"sip", "sdp", "smtp", "tls", "rtp", "addresses"}

// ForPaths reports whether the scenario proves paths.
func (s *Scenario) ForPaths() bool { return s.Path.Pos != (yamlfile.Pos{}) }

// pathRules checks path:, which concerns every actor that calls or sends.
func (l *loader) pathRules() {
	if !l.s.ForPaths() {
		return
	}
	r := &l.s.Path
	for _, name := range r.Intact {
		if !slices.Contains(intactNames, name) {
			l.f.Report(r.Places.At("intact", r.Pos), cmp.Or(yamlfile.Suggest(name, intactNames), strings.Join(intactNames, ", ")), "path: intact: %q is not known", name)
		}
	}
	for _, name := range r.MayChange {
		if hint, ok := changeName(name); !ok {
			l.f.Report(r.Places.At("may_change", r.Pos), hint, "path: may_change: %q is the name of no change", name)
		}
	}
	var eligible []string
	for _, name := range names(l.s.Actors) {
		if l.s.Actors[name].Role != roleBox {
			eligible = append(eligible, name)
		}
	}
	for name, h := range r.Hosts {
		if !slices.Contains(eligible, name) {
			l.f.Report(h.Pos, yamlfile.Suggest(name, eligible), "path: hosts: no actor that calls or sends is named %q", name)
		}
	}
	for name, a := range l.s.Actors {
		if a.Role != roleBox {
			l.used[name] = true
		}
	}
	if l.s.Organisation == nil || l.f.Err() != nil {
		return // the plan is made of them
	}
	p, err := l.s.PathPlan()
	if err != nil {
		l.planMistakes(err)
		return
	}
	l.something(p)
}

// planMistakes tells what is wrong with the plan at what it was made of.
func (l *loader) planMistakes(err error) {
	var list yamlfile.Errors
	r := &l.s.Path
	if !errors.As(err, &list) {
		l.f.Report(r.Pos, "", "path: %v", err)
	}
	for _, e := range list {
		at := r.Pos
		for key, word := range map[string]string{"uses": "uses:", "extra": "extra:", "hosts": "rtp:"} {
			if strings.HasPrefix(e.Text, word) {
				at = r.Places.At(key, r.Pos)
			}
		}
		l.f.Report(at, e.Hint, "path: %s", e.Text)
	}
}

// something reports that path: asks for nothing, or compares what is not there.
func (l *loader) something(p *paths.Plan) {
	r := &l.s.Path
	flows, _ := p.Flows()
	for _, f := range flows {
		if l.s.unprovable(f) {
			l.f.Report(r.Places.At("media", r.Pos), "media: static, or a um-startup-mode with calls in clear", "path: media: %s", f.Unproven)
		}
	}
	if boxed := l.s.boxed(); boxed != "" && slices.Contains(r.Intact, "rtp") {
		l.f.Report(r.Places.At("intact", r.Pos), "leave rtp out, or the middlebox", "path: intact: marks of media do not pass %s, a simulated middlebox", boxed)
	}
	flows = slices.DeleteFunc(flows, func(f *paths.Flow) bool {
		return f.Unproven != "" || l.s.unwanted(f) || !l.s.isActor(f.From.Name) && !l.s.isActor(f.To.Name)
	})
	if len(flows) == 0 {
		l.f.Report(r.Pos, "open: documented, closed: undocumented, or extra:", "path: nothing would be proven")
		return
	}
	for _, protocol := range r.Intact {
		if slices.Contains(intactNames, protocol) && !slices.ContainsFunc(flows, func(f *paths.Flow) bool { return f.Expect == paths.Open && carries(f.Protocol, f.TLS, protocol) }) {
			l.f.Report(r.Places.At("intact", r.Pos), "exsim plan FILE lists the paths", "path: intact: no path between these actors and servers carries %s", protocol)
		}
	}
}

// unprovable reports whether the ports of a path are known and cannot be tried all
// the same.
func (s *Scenario) unprovable(f *paths.Flow) bool {
	return f.Unproven != "" && f.Ports.Len() > 0 && (s.isActor(f.From.Name) || s.isActor(f.To.Name))
}

// boxed is a middlebox in front of a gateway, "" if there is none.
func (s *Scenario) boxed() string {
	for _, name := range names(s.Actors) {
		if a := s.Actors[name]; a.Role == roleBox && s.Actors[a.Between].Role == roleGateway {
			return name
		}
	}
	return ""
}

func (s *Scenario) isActor(name string) bool {
	_, ok := s.Actors[name]
	return ok
}

// Names of changes beside those of headers, lines of SDP, and EHLO's keywords.
var changeNames = []string{"certificate", "client certificate", "TLS version", "cipher suite", "ALPN", "PROXY line", headerOrder, "first line", "DSCP", "banner"}

// changeName says whether the report may name a change so; a header may be any,
// but not one that is a slip of the pen away from one that a probe has.
func changeName(name string) (hint string, ok bool) {
	hint = "such as Via, SDP c=, DSCP, banner, EHLO CHUNKING"
	name = changeKind(name)
	word, rest, two := strings.Cut(name, " ")
	headers := integrity.Headers()
	switch {
	case slices.Contains(changeNames, name), slices.ContainsFunc(headers, func(h string) bool { return strings.EqualFold(h, name) }):
		return "", true
	case word == "SDP":
		return hint, len(rest) > 1 && strings.HasSuffix(rest, "=")
	case word == "EHLO", word == "command", word == "reply":
		return hint, rest != ""
	case two, name == "", strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return hint, false
	}
	if near := yamlfile.Suggest(name, append(headers, changeNames...)); near != "" {
		return near, false
	}
	return "", true
}

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
