// Package org is the model of the simulated organisation: servers and their
// roles, dial plans, UM IP gateways, hunt groups and mailboxes, under the names
// and with the ranges of Exchange's own objects. One value of it stands behind
// org.yaml, a scenario's organisation and a Go test; it is validated, filled
// once from the profile, and then read-only.
package org

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Organisation is everything that is simulated.
type Organisation struct {
	Pos     yamlfile.Pos
	Version string `yaml:"version,required" doc:"of Exchange"`
	Domain  string `yaml:"domain,required" doc:"accepted domain of mail"`

	Servers    []Server      `yaml:"servers,required" doc:"the simulated machines"`
	DialPlans  []DialPlan    `yaml:"dial-plans,required" doc:"UM dial plans"`
	Gateways   []UMIPGateway `yaml:"gateways" doc:"UM IP gateways: the devices that may call"`
	HuntGroups []HuntGroup   `yaml:"hunt-groups" doc:"UM hunt groups: which pilot number of a gateway belongs to which dial plan"`
	Attendants []Attendant   `yaml:"auto-attendants" doc:"UM auto attendants"`
	Policies   []Policy      `yaml:"mailbox-policies" doc:"UM mailbox policies"`
	Mailboxes  []Mailbox     `yaml:"mailboxes" doc:"mailboxes, UM-enabled by an extension"`

	Router      RouterSettings `yaml:"call-router" doc:"what Set-UMCallRouterSettings can change"`
	Redirect    Redirect       `yaml:"redirect" doc:"what the Contact of a redirect names, where it differs from the profile"`
	DNS         netip.AddrPort `yaml:"dns" doc:"ADDRESS:PORT where the names of the servers are answered for (A, AAAA, SRV, MX); left out: nowhere"`
	UMService   FixedPorts     `yaml:"um-service" doc:"cannot be changed: to try is an error that says why"`
	UMWorker    FixedPorts     `yaml:"um-worker" doc:"cannot be changed: to try is an error that says why"`
	WorkerPorts WorkerPorts    `yaml:"worker-ports" doc:"which of Microsoft's two readings holds for the workers' ports on a server that listens for TLS alone: documented (5065, 5067), or majority (5066, 5068)"`
	Recycling   Recycling      `yaml:"recycling" doc:"when a worker process is replaced"`
	TLS         TLS            `yaml:"tls" doc:"which certificates are taken, where it differs from the profile"`
	RTP         PortRange      `yaml:"rtp" doc:"narrows the UDP ports of media"`
	Limits      Limits         `yaml:"limits" doc:"of recording and calls"`
	Prompts     Prompts        `yaml:"prompts" doc:"WAV files of 8 kHz mono (PCM16, mu-law or A-law) in place of the built-in ones, by their names"`
	Facts       string         `yaml:"facts" doc:"file that overrides assumed facts"`
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
	Pos           yamlfile.Pos
	Places        yamlfile.Places
	Name          string      `yaml:"name,required" doc:"of the server"`
	FQDN          string      `yaml:"fqdn,required" doc:"its host name, in certificates and greetings"`
	Address       netip.Addr  `yaml:"address,required" doc:"that it binds"`
	Advertise     netip.Addr  `yaml:"advertise" doc:"address that Contact and SDP carry, where peers see another one"`
	Roles         []Role      `yaml:"roles,required" doc:"client-access and mailbox; in 2007 unified-messaging, hub-transport, mailbox"`
	UMStartupMode StartupMode `yaml:"um-startup-mode" doc:"of the UM service and its workers: TCP (if left out), TLS, Dual"`
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
	Pos        yamlfile.Pos
	Authority  string            `yaml:"authority" doc:"folder of exsim pki; left out: an authority that lasts as long as the run"`
	Checks     map[string]string `yaml:"checks" doc:"levels (require, warn, ignore) of chain, dates, revocation, usage, name, algorithm, key-size"`
	MinVersion string            `yaml:"min-version" doc:"\"1.0\" to \"1.3\""`
	Legacy     bool              `yaml:"legacy" doc:"true takes cipher suites of Exchange's time"`
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

// The URI types of a dial plan.
const (
	TelExtn URIType = "TelExtn" // numeric extensions
	E164    URIType = "E164"    // numbers with +
	SipName URIType = "SipName" // sip:user@domain
)

// DialPlan is a UM dial plan.
type DialPlan struct {
	Pos          yamlfile.Pos
	Name         string       `yaml:"name,required" doc:"of the dial plan"`
	URIType      URIType      `yaml:"uri-type" doc:"TelExtn (if left out), E164, SipName"`
	Digits       int          `yaml:"digits,required" doc:"in an extension, 1 to 20"`
	VoIPSecurity VoIPSecurity `yaml:"voip-security" doc:"Unsecured (if left out), SIPSecured, Secured"`

	Operator        string `yaml:"operator" doc:"number that 0 leads to"`
	InputFailures   int    `yaml:"input-failures-before-disconnect" fact:"um.input-failures" doc:"1 to 20"`
	LogonFailures   int    `yaml:"logon-failures-before-disconnect" fact:"um.logon-failures" doc:"wrong PINs in a call, 1 to 20"`
	AllowExtensions bool   `yaml:"allow-extensions" doc:"callers may be transferred to any extension, not to mailboxes of the dial plan alone"`
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
	Pos             yamlfile.Pos
	Name            string          `yaml:"name,required" doc:"of the gateway object"`
	Address         netip.Addr      `yaml:"address" doc:"by which it is known over TCP"`
	FQDN            string          `yaml:"fqdn" doc:"the name in its certificate, by which it is known over TLS; over TCP its addresses in DNS"`
	IPAddressFamily IPAddressFamily `yaml:"ip-address-family" doc:"which addresses of the fqdn are used: IPv4Only (if left out), IPv6Only, Any"`
	Port            uint16          `yaml:"port" doc:"where it is asked for OPTIONS: 5060 if left out, 5061 where the dial plan is secured"`
	Status          Status          `yaml:"status" doc:"Enabled (if left out), NoNewCalls, Disabled"`
	NoMWI           bool            `yaml:"no-message-waiting-indicator" doc:"true: it is not told of waiting messages"`
	NoOutcalls      bool            `yaml:"no-outcalls" doc:"true: Unified Messaging places no calls through it"`
	DialPlan        string          `yaml:"dial-plan" doc:"gives it a default hunt group, without a pilot, unless it has hunt groups of its own"`
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
	Name     string `yaml:"name,required" doc:"of the hunt group"`
	Pilot    string `yaml:"pilot" doc:"number that is dialled; left out it takes every call of the gateway"`
	Gateway  string `yaml:"gateway,required" doc:"name of the UM IP gateway"`
	DialPlan string `yaml:"dial-plan,required" doc:"name of the dial plan"`
}

// Attendant is a UM auto attendant.
type Attendant struct {
	Pos       yamlfile.Pos
	Name      string         `yaml:"name,required" doc:"of the auto attendant"`
	Pilot     string         `yaml:"pilot,required" doc:"number that is dialled"`
	DialPlan  string         `yaml:"dial-plan,required" doc:"name of the dial plan"`
	Keys      map[string]Key `yaml:"keys" doc:"what the keys 1 to 9 do, and timeout: where no key is pressed"`
	Operator  string         `yaml:"operator" doc:"number that 0 leads to; left out: the dial plan's"`
	Greeting  string         `yaml:"greeting" doc:"WAV file"`
	Menu      string         `yaml:"menu" doc:"WAV file that says what the keys do; left out: a recording that names none"`
	Extension bool           `yaml:"allow-extensions" doc:"callers may dial any extension, not those of mailboxes alone"`
	StarOut   bool           `yaml:"star-out-to-dial-plan" doc:"* leads to the dial plan's own greeting"`
}

// Key is what a key of a menu does: one of these.
type Key struct {
	Pos        yamlfile.Pos
	Extension  string `yaml:"extension" doc:"transfers to this number"`
	Supervised bool   `yaml:"supervised" doc:"of extension: true calls it first, and joins both when it has answered (REFER with Replaces)"`
	Attendant  string `yaml:"auto-attendant" doc:"goes on to another auto attendant"`
	VoiceMail  string `yaml:"voice-mail" doc:"takes a message for the mailbox with this extension"`
	Audio      string `yaml:"audio" doc:"plays a WAV file, such as location or hours, and returns"`
}

// Timeout is the entry of a menu where no key is pressed.
const Timeout = "timeout"

// Policy is a UM mailbox policy. Zero values are the profile's.
type Policy struct {
	Pos              yamlfile.Pos
	Name             string `yaml:"name,required" doc:"of the policy"`
	MinPINLength     int    `yaml:"min-pin-length" fact:"um.min-pin-length" doc:"4 to 24"`
	LogonsBeforeLock int    `yaml:"max-logon-attempts" fact:"um.max-logon-attempts" doc:"wrong PINs in a row, over calls, before the mailbox is locked, 1 to 999"`
	LogonsBeforePIN  int    `yaml:"logon-failures-before-pin-reset" fact:"um.logon-failures-before-pin-reset" doc:"wrong PINs in a row before a new one is mailed, fewer than max-logon-attempts"`
	FaxServer        string `yaml:"fax-server-uri" doc:"partner that takes faxes: sip:HOST:PORT;transport=tcp"`
	NoMissedCalls    bool   `yaml:"no-missed-call-notifications" doc:"true sends none"`
	NoMWI            bool   `yaml:"no-message-waiting-indicator" doc:"true lights no lamp"`
	NoPlayOnPhone    bool   `yaml:"no-play-on-phone" doc:"true allows none"`
	NoSubscribers    bool   `yaml:"no-subscriber-access" doc:"true lets nobody log on by telephone"`
}

// Mailbox is a UM-enabled mailbox.
type Mailbox struct {
	Pos        yamlfile.Pos
	Name       string   `yaml:"name,required" doc:"display name"`
	Address    string   `yaml:"address,required" doc:"SMTP address"`
	Extension  string   `yaml:"extension" doc:"left out it is not UM-enabled"`
	Extensions []string `yaml:"more-extensions" doc:"further ones"`
	SIPAddress string   `yaml:"sip-address" doc:"user@domain in a dial plan of SIP names; the SMTP address if left out"`
	DialPlan   string   `yaml:"dial-plan" doc:"name of the dial plan"`
	Server     string   `yaml:"server,required" doc:"name of the Mailbox server"`
	Policy     string   `yaml:"policy" doc:"name of its mailbox policy; left out: the values of the profile"`
	PIN        string   `yaml:"pin" doc:"digits that its owner logs on with by telephone; left out nobody can"`
	Greeting   string   `yaml:"greeting" doc:"WAV file in place of the standard greeting"`
	Quota      int64    `yaml:"quota" doc:"octets at which it is full: callers are told so and can leave no message"`
}

// RouterSettings are the settable parts of the call router.
type RouterSettings struct {
	Pos                 yamlfile.Pos
	UMStartupMode       StartupMode `yaml:"um-startup-mode" doc:"TCP (if left out), TLS, Dual"`
	SipTCPListeningPort uint16      `yaml:"sip-tcp-listening-port" doc:"5060 if left out"`
	SipTLSListeningPort uint16      `yaml:"sip-tls-listening-port" doc:"5061 if left out"`
}

// Redirect is what the Contact of a redirect names: address, server-fqdn, echo
// (what the caller wrote), or a name or address that is always said.
type Redirect struct {
	Pos     yamlfile.Pos
	Router  profile.Host `yaml:"router" fact:"redirect.router-host" doc:"of the call router: address, server-fqdn, echo, or a fixed name"`
	Service profile.Host `yaml:"service" fact:"redirect.service-host" doc:"of the UM service: address, server-fqdn, echo, or a fixed name"`
}

// FixedPorts are ports that Exchange does not let anybody change.
type FixedPorts struct {
	Pos                 yamlfile.Pos
	SipTCPListeningPort uint16 `yaml:"sip-tcp-listening-port" doc:"fixed"`
	SipTLSListeningPort uint16 `yaml:"sip-tls-listening-port" doc:"fixed"`
}

// Recycling is when the second worker process of a server takes the place of
// the first, and how long the first may go on; zero means the profile's.
type Recycling struct {
	Pos        yamlfile.Pos
	Interval   time.Duration `yaml:"interval" fact:"um.recycle-interval" doc:"age of a worker process"`
	AfterCalls int           `yaml:"after-calls" doc:"calls that a worker process takes; left out: however many"`
	DrainLimit time.Duration `yaml:"drain-limit" fact:"um.drain-limit" doc:"how long the calls of the old process may go on"`
}

// PortRange is a range of ports, both ends included.
type PortRange struct {
	Pos  yamlfile.Pos
	Low  uint16 `yaml:"low" doc:"first port"`
	High uint16 `yaml:"high" doc:"last port"`
}

// Limits are per call; they have Exchange's names and ranges.
type Limits struct {
	Pos                  yamlfile.Pos
	MaxCallDuration      time.Duration `yaml:"max-call-duration" fact:"um.max-call-duration" doc:"10m to 120m"`
	MaxRecordingDuration time.Duration `yaml:"max-recording-duration" fact:"um.max-recording-duration" doc:"1m to 100m"`
	RecordingIdleTimeout time.Duration `yaml:"recording-idle-timeout" fact:"um.recording-idle-timeout" doc:"silence that ends a recording, 2s to 10s"`
	MaxCallsAllowed      int           `yaml:"max-calls-allowed" fact:"um.max-calls" doc:"of a server, 0 to 200"`
}

// Prompts are WAV files of 8 kHz mono (PCM16, mu-law or A-law) by the name of
// the recording that they replace.
type Prompts map[string]string

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
		if m.DialPlan == dialPlan && extension != "" && (m.Extension == extension || slices.Contains(m.Extensions, extension)) {
			return m
		}
	}
	return nil
}

// MailboxAtSIP finds the UM-enabled mailbox of a SIP address (user@domain) in a
// dial plan, nil if there is none.
func (o *Organisation) MailboxAtSIP(dialPlan, address string) *Mailbox {
	for i := range o.Mailboxes {
		m := &o.Mailboxes[i]
		if m.DialPlan == dialPlan && m.Extension != "" && strings.EqualFold(cmp.Or(m.SIPAddress, m.Address), address) {
			return m
		}
	}
	return nil
}

// AttendantOf finds the auto attendant of a pilot in a dial plan, nil if there
// is none.
func (o *Organisation) AttendantOf(dialPlan, pilot string) *Attendant {
	for i := range o.Attendants {
		if a := &o.Attendants[i]; a.DialPlan == dialPlan && a.Pilot == pilot {
			return a
		}
	}
	return nil
}

// Recordings are the WAV files that single mailboxes and auto attendants play.
func (o *Organisation) Recordings() []string {
	var files []string
	for _, m := range o.Mailboxes {
		files = append(files, m.Greeting)
	}
	for _, a := range o.Attendants {
		files = append(files, a.Greeting, a.Menu)
		for _, k := range a.Keys {
			files = append(files, k.Audio)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// AttendantNamed finds an auto attendant, nil if there is none.
func (o *Organisation) AttendantNamed(name string) *Attendant {
	for i := range o.Attendants {
		if o.Attendants[i].Name == name {
			return &o.Attendants[i]
		}
	}
	return nil
}

// PolicyOf is the policy of a mailbox; one with the profile's values if it names
// none.
func (o *Organisation) PolicyOf(m *Mailbox) *Policy {
	for i := range o.Policies {
		if o.Policies[i].Name == m.Policy {
			return &o.Policies[i]
		}
	}
	return &Policy{}
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
