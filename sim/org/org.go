// Package org is the model of the simulated organisation: servers and their
// roles, dial plans, UM IP gateways, hunt groups and mailboxes, under the names
// and with the ranges of Exchange's own objects. One value of it stands behind
// org.yaml, a scenario's organisation and a Go test; it is validated, filled
// once from the profile, and then read-only.
package org

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/yamlfile"
)

// Organisation is everything that is simulated.
type Organisation struct {
	Pos     yamlfile.Pos
	Version string `yaml:"version,required"` // Exchange version
	Domain  string `yaml:"domain,required"`  // accepted domain

	Servers    []Server      `yaml:"servers,required"`
	DialPlans  []DialPlan    `yaml:"dial-plans,required"`
	Gateways   []UMIPGateway `yaml:"gateways"`
	HuntGroups []HuntGroup   `yaml:"hunt-groups"`
	Mailboxes  []Mailbox     `yaml:"mailboxes"`

	// Router changes what Set-UMCallRouterSettings can change.
	Router RouterSettings `yaml:"call-router"`
	// UMService and UMWorker cannot be changed: to try is an error that says
	// why.
	UMService FixedPorts `yaml:"um-service"`
	UMWorker  FixedPorts `yaml:"um-worker"`
	// WorkerPorts picks one of Microsoft's two readings of the workers' ports
	// on a server that listens for TLS alone; WorkerPortsDocumented if empty.
	WorkerPorts WorkerPorts `yaml:"worker-ports"`
	// Recycling says when a worker process is replaced.
	Recycling Recycling `yaml:"recycling"`
	// TLS changes which certificates are taken.
	TLS TLS `yaml:"tls"`
	// RTP narrows the UDP ports of media.
	RTP PortRange `yaml:"rtp"`
	// Limits of recording and calls; zero means the profile's.
	Limits Limits `yaml:"limits"`
	// Prompts replaces the greeting and the pilot's greeting by WAV files.
	Prompts Prompts `yaml:"prompts"`
	// Facts names a file that overrides assumed facts.
	Facts string `yaml:"facts"`
}

// Role of a server.
type Role string

// The roles of Exchange 2013 and 2016, and those that 2007 has besides Mailbox.
const (
	ClientAccess     Role = "client-access"
	MailboxRole      Role = "mailbox"
	UnifiedMessaging Role = "unified-messaging"
	HubTransport     Role = "hub-transport"
)

// Server is one simulated machine with an address of its own.
type Server struct {
	Pos     yamlfile.Pos
	Name    string     `yaml:"name,required"`
	FQDN    string     `yaml:"fqdn,required"`
	Address netip.Addr `yaml:"address,required"`
	// Advertise is the address that Contact and SDP carry, where peers see
	// another than Address.
	Advertise netip.Addr `yaml:"advertise"`
	Roles     []Role     `yaml:"roles,required"`
	// UMStartupMode of the UM service and its workers (Set-UMService); TCP if
	// empty.
	UMStartupMode StartupMode `yaml:"um-startup-mode"`
}

// StartupMode says which listeners a service opens.
type StartupMode string

// The start-up modes.
const (
	ModeTCP  StartupMode = "TCP"
	ModeTLS  StartupMode = "TLS"
	ModeDual StartupMode = "Dual"
)

// Listens reports whether a service in this mode has a listener of a
// transport, "tcp" or "tls".
func (m StartupMode) Listens(transport string) bool {
	switch m {
	case ModeTLS:
		return transport == "tls"
	case ModeDual:
		return true
	}
	return transport == "tcp"
}

// WorkerPorts is a reading of the port table.
type WorkerPorts string

// The readings: 5065 and 5067 for TLS alone as the page for 2013 prints, or
// 5066 and 5068 as the page for 2010 and most others say.
const (
	WorkerPortsDocumented WorkerPorts = "documented"
	WorkerPortsMajority   WorkerPorts = "majority"
)

// TLS says which certificates are taken, where it differs from the profile.
type TLS struct {
	Pos yamlfile.Pos
	// Authority is the folder of exsim pki; empty is an authority that lasts
	// as long as the run.
	Authority string `yaml:"authority"`
	// Checks sets levels: require, warn or ignore, by the name of the check.
	Checks     map[string]string `yaml:"checks"`
	MinVersion string            `yaml:"min-version"` // "1.0" to "1.3"
	// Legacy takes suites of Exchange's time.
	Legacy bool `yaml:"legacy"`
}

// Has reports whether the server holds a role.
func (s *Server) Has(r Role) bool { return slices.Contains(s.Roles, r) }

// Public is the address that peers are told.
func (s *Server) Public() netip.Addr {
	if s.Advertise.IsValid() {
		return s.Advertise
	}
	return s.Address
}

// URIType is the form of addresses that a dial plan takes.
type URIType string

// TelExtn is the default and, so far, the only one: numeric extensions.
const TelExtn URIType = "TelExtn"

// DialPlan is a UM dial plan.
type DialPlan struct {
	Pos     yamlfile.Pos
	Name    string  `yaml:"name,required"`
	URIType URIType `yaml:"uri-type"`        // TelExtn if empty
	Digits  int     `yaml:"digits,required"` // in an extension, 1-20
	// VoIPSecurity is Unsecured if empty.
	VoIPSecurity VoIPSecurity `yaml:"voip-security"`
}

// VoIPSecurity is what a dial plan asks of a call.
type VoIPSecurity string

// The security modes of a dial plan.
const (
	Unsecured  VoIPSecurity = "Unsecured"  // TCP, RTP
	SIPSecured VoIPSecurity = "SIPSecured" // mutual TLS, RTP
	Secured    VoIPSecurity = "Secured"    // mutual TLS, SRTP
)

// UMIPGateway is a device that may call. Over TCP it is known by its address,
// or the one that its FQDN has in DNS; over TLS by the name in its certificate.
type UMIPGateway struct {
	Pos     yamlfile.Pos
	Name    string     `yaml:"name,required"`
	Address netip.Addr `yaml:"address"`
	FQDN    string     `yaml:"fqdn"`
	// IPAddressFamily picks among the addresses of the FQDN; IPv4Only if empty.
	IPAddressFamily IPAddressFamily `yaml:"ip-address-family"`
	Port            uint16          `yaml:"port"`   // 5060 if zero, 5061 where the dial plan is secured
	Status          Status          `yaml:"status"` // Enabled if empty
	// DialPlan gives the gateway a default hunt group, without a pilot, unless
	// it has hunt groups of its own.
	DialPlan string `yaml:"dial-plan"`
}

// IPAddressFamily is which addresses of a name are used.
type IPAddressFamily string

// The address families.
const (
	IPv4Only  IPAddressFamily = "IPv4Only"
	IPv6Only  IPAddressFamily = "IPv6Only"
	AnyFamily IPAddressFamily = "Any"
)

// Status of a UM IP gateway.
type Status string

// The states of a gateway.
const (
	Enabled    Status = "Enabled"
	Disabled   Status = "Disabled"
	NoNewCalls Status = "NoNewCalls"
)

// Statuses are all of them.
var Statuses = []Status{Enabled, Disabled, NoNewCalls}

// HuntGroup ties a pilot number of a gateway to a dial plan.
type HuntGroup struct {
	Pos      yamlfile.Pos
	Name     string `yaml:"name,required"`
	Pilot    string `yaml:"pilot"` // "" takes every call of the gateway
	Gateway  string `yaml:"gateway,required"`
	DialPlan string `yaml:"dial-plan,required"`
}

// Mailbox is a UM-enabled mailbox.
type Mailbox struct {
	Pos       yamlfile.Pos
	Name      string `yaml:"name,required"`    // display name
	Address   string `yaml:"address,required"` // SMTP address
	Extension string `yaml:"extension"`        // "" is not UM-enabled
	DialPlan  string `yaml:"dial-plan"`
	Server    string `yaml:"server,required"`
}

// RouterSettings are the settable parts of the call router.
type RouterSettings struct {
	Pos                 yamlfile.Pos
	UMStartupMode       StartupMode `yaml:"um-startup-mode"`        // TCP if empty
	SipTCPListeningPort uint16      `yaml:"sip-tcp-listening-port"` // 5060 if zero
	SipTLSListeningPort uint16      `yaml:"sip-tls-listening-port"` // 5061 if zero
}

// FixedPorts are ports that Exchange does not let anybody change.
type FixedPorts struct {
	Pos                 yamlfile.Pos
	SipTCPListeningPort uint16 `yaml:"sip-tcp-listening-port"`
	SipTLSListeningPort uint16 `yaml:"sip-tls-listening-port"`
}

// Recycling is when the second worker process of a server takes the place of
// the first, and how long the first may go on; zero means the profile's.
type Recycling struct {
	Pos        yamlfile.Pos
	Interval   time.Duration `yaml:"interval"`
	AfterCalls int           `yaml:"after-calls"` // 0: however many
	DrainLimit time.Duration `yaml:"drain-limit"`
}

// PortRange is a range of ports, both ends included.
type PortRange struct {
	Pos  yamlfile.Pos
	Low  uint16 `yaml:"low"`
	High uint16 `yaml:"high"`
}

// Limits are per call; they have Exchange's names and ranges.
type Limits struct {
	Pos                  yamlfile.Pos
	MaxCallDuration      time.Duration `yaml:"max-call-duration"`
	MaxRecordingDuration time.Duration `yaml:"max-recording-duration"`
	RecordingIdleTimeout time.Duration `yaml:"recording-idle-timeout"`
	MaxCallsAllowed      int           `yaml:"max-calls-allowed"`
}

// Prompts are WAV files of 8 kHz mono: PCM16, mu-law or A-law.
type Prompts struct {
	Greeting string `yaml:"greeting"`
	Pilot    string `yaml:"pilot"`
}

// ServerNamed finds a server, nil if there is none.
func (o *Organisation) ServerNamed(name string) *Server {
	for i := range o.Servers {
		if o.Servers[i].Name == name {
			return &o.Servers[i]
		}
	}
	return nil
}

// ServersWith are the servers that hold a role.
func (o *Organisation) ServersWith(r Role) []*Server {
	var list []*Server
	for i := range o.Servers {
		if s := &o.Servers[i]; s.Has(r) {
			list = append(list, s)
		}
	}
	return list
}

// GatewayAt finds the gateway object with an address, nil if there is none.
func (o *Organisation) GatewayAt(addr netip.Addr) *UMIPGateway {
	for i := range o.Gateways {
		if o.Gateways[i].Address == addr.Unmap() {
			return &o.Gateways[i]
		}
	}
	return nil
}

// Secured reports whether a dial plan of the gateway asks for TLS.
func (o *Organisation) Secured(g *UMIPGateway) bool {
	return slices.ContainsFunc(o.HuntGroups, func(h HuntGroup) bool {
		d := o.DialPlanNamed(h.DialPlan)
		return h.Gateway == g.Name && d != nil && d.VoIPSecurity != Unsecured
	})
}

// HuntGroupOf finds the hunt group for a pilot that a gateway dialled: the
// exact one, else the gateway's group without a pilot, else nil.
func (o *Organisation) HuntGroupOf(gateway, pilot string) *HuntGroup {
	var rest *HuntGroup
	for i := range o.HuntGroups {
		h := &o.HuntGroups[i]
		if h.Gateway != gateway {
			continue
		}
		if h.Pilot == pilot {
			return h
		}
		if h.Pilot == "" {
			rest = h
		}
	}
	return rest
}

// DialPlanNamed finds a dial plan, nil if there is none.
func (o *Organisation) DialPlanNamed(name string) *DialPlan {
	for i := range o.DialPlans {
		if o.DialPlans[i].Name == name {
			return &o.DialPlans[i]
		}
	}
	return nil
}

// MailboxOf finds the UM-enabled mailbox of an extension in a dial plan, nil
// if there is none.
func (o *Organisation) MailboxOf(dialPlan, extension string) *Mailbox {
	for i := range o.Mailboxes {
		m := &o.Mailboxes[i]
		if m.DialPlan == dialPlan && m.Extension == extension && extension != "" {
			return m
		}
	}
	return nil
}

// MailboxAt finds the mailbox of an SMTP address, without regard to case, nil
// if there is none.
func (o *Organisation) MailboxAt(address string) *Mailbox {
	for i := range o.Mailboxes {
		if strings.EqualFold(o.Mailboxes[i].Address, address) {
			return &o.Mailboxes[i]
		}
	}
	return nil
}
