package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// conditions are what this scenario wants of an actor's device, where it is not
// a trunk over TCP with RTP in clear and telephones that are free.
func (s *Scenario) conditions(actor string) []string {
	a := s.Actors[actor]
	var list []string
	if a.Transport == TLS {
		object := s.Organisation.GatewayAt(a.Address)
		name := actor
		if object != nil {
			name = object.FQDN
		}
		list = append(list, "SIP over TLS, with "+fmt.Sprintf(shown[cmp.Or(a.Certificate, good)], name))
	}
	if a.Media == SRTP {
		list = append(list, "SRTP and no RTP in clear")
	}
	if transportOf(a) == "tcp" && s.secures() {
		list = append(list, "SIP over TCP, in clear")
	}
	if routers := s.routers(); len(routers) > 1 {
		list = append(list, "a trunk that knows "+strings.Join(routers, " and ")+", in this order")
	}
	for _, number := range names(a.Telephones) {
		status := a.Telephones[number]
		list = append(list, fmt.Sprintf("telephone %s does not take calls: it answers %d", number, status))
	}
	for i := range s.Steps {
		c, ok := s.Steps[i].action.(*call)
		if !ok || c.From != actor {
			continue
		}
		if c.Reason == "user-busy" {
			list = append(list, "extension "+c.Diverted+" is busy")
		}
		if c.Late {
			list = append(list, "the INVITE has no SDP (late offer)")
		}
		if c.Session != 0 {
			list = append(list, fmt.Sprintf("a session interval of %s is asked for (RFC 4028)", c.Session))
		}
	}
	return list
}

// secures reports whether a dial plan of the scenario wants TLS.
func (s *Scenario) secures() bool {
	return slices.ContainsFunc(s.Organisation.DialPlans, func(d org.DialPlan) bool { return d.VoIPSecurity != org.Unsecured })
}

// routers are the servers that a device calls first, if these are more than one,
// with their addresses.
func (s *Scenario) routers() []string {
	p, err := profile.Load(s.Organisation.Version)
	if err != nil {
		return nil
	}
	var list []string
	for _, server := range s.Organisation.ServersWith(org.Role(p.RoleOf(p.Front()))) {
		list = append(list, fmt.Sprintf("%s (%s)", server.Name, server.Public()))
	}
	return list
}

// Conditions are what the scenario wants of its external devices beside the
// common, in words.
func (s *Scenario) Conditions() []string {
	var list []string
	for _, name := range names(s.Actors) {
		if s.Actors[name].Device == External {
			list = append(list, s.conditions(name)...)
		}
	}
	return list
}

// Calls reports whether an external device calls over a transport.
func (s *Scenario) Calls(transport string) bool {
	for _, a := range s.Actors {
		if a.Device == External && a.Role == roleGateway && transportOf(a) == transport {
			return true
		}
	}
	return false
}

// Mails reports whether an external device sends mail.
func (s *Scenario) Mails() bool {
	for _, a := range s.Actors {
		if a.Device == External && a.Role == roleMail {
			return true
		}
	}
	return false
}

// shown says what a device's certificate is like.
var shown = map[string]string{
	good: "a certificate that names %s", "expired": "a certificate of %s that ran out", "not-yet-valid": "a certificate of %s that is not valid yet",
	"wrong-name": "a certificate that does not name %s", "wildcard": "a certificate for every name in the domain of %s",
	"wrong-use": "a certificate of %s for another use (code signing)",
	"cn-only":   "a certificate whose common name alone is %s", "sha1": "a certificate of %s signed with SHA-1", "rsa-1024": "a certificate of %s with a key of 1024 bits",
	"self-signed": "a self-signed certificate of %s", "unknown-ca": "a certificate of %s from an authority that Exchange does not know", "revoked": "a revoked certificate of %s",
}
