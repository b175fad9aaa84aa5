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

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Organisation is everything that is simulated.
type Organisation struct {
	Pos     yamlfile.Pos
	Version string `yaml:"version,required" doc:"of Exchange"`
	Domain  string `yaml:"domain,required" doc:"accepted domain of mail"`

	Servers    []Server      `yaml:"servers,required" doc:"the simulated machines"`
	DialPlans  []DialPlan    `yaml:"dial-plans" doc:"UM dial plans"`
	Gateways   []UMIPGateway `yaml:"gateways" doc:"UM IP gateways: the devices that may call"`
	HuntGroups []HuntGroup   `yaml:"hunt-groups" doc:"UM hunt groups: which pilot number of a gateway belongs to which dial plan"`
	Attendants []Attendant   `yaml:"auto-attendants" doc:"UM auto attendants"`
	Policies   []Policy      `yaml:"mailbox-policies" doc:"UM mailbox policies"`
	Mailboxes  []Mailbox     `yaml:"mailboxes" doc:"mailboxes, UM-enabled by an extension"`

	ReceiveConnectors []ReceiveConnector `yaml:"receive-connectors" doc:"receive connectors beside those that Setup makes, and what differs in these"`
	SendConnectors    []SendConnector    `yaml:"send-connectors" doc:"ways for mail that is not for the organisation, each to one next hop"`

	Router         RouterSettings `yaml:"call-router" doc:"what Set-UMCallRouterSettings can change"`
	Redirect       Redirect       `yaml:"redirect" doc:"what the Contact of a redirect names, where it differs from the profile"`
	DNS            netip.AddrPort `yaml:"dns" doc:"ADDRESS:PORT where the names of the servers are answered for (A, AAAA, SRV, MX); left out: nowhere"`
	UMService      FixedPorts     `yaml:"um-service" doc:"cannot be changed: to try is an error that says why"`
	UMWorker       FixedPorts     `yaml:"um-worker" doc:"cannot be changed: to try is an error that says why"`
	WorkerPorts    WorkerPorts    `yaml:"worker-ports" doc:"which of Microsoft's two readings holds for the workers' ports on a server that listens for TLS alone: documented (5065, 5067), or majority (5066, 5068)"`
	Recycling      Recycling      `yaml:"recycling" doc:"when a worker process is replaced"`
	DomainSecurity DomainSecurity `yaml:"domain-security" doc:"partners' domains that need mutual TLS (Set-TransportConfig)"`
	IPBlockList    []IPRange      `yaml:"ip-block-list" doc:"addresses whose mail an Edge server drops behind the last recipient (Add-IPBlockListEntry)"`
	BlockedSenders []string       `yaml:"blocked-senders" doc:"addresses and domains whose mail an Edge server refuses at MAIL (Set-SenderFilterConfig)"`
	DirectTrust    []string       `yaml:"direct-trust" doc:"PEM files of certificates that are trusted behind X-ANONYMOUSTLS because they are there, as a subscription leaves them; those of the servers are"`
	Kerberos       Kerberos       `yaml:"kerberos" doc:"what lets peers log on by GSSAPI"`
	TLS            TLS            `yaml:"tls" doc:"which certificates are taken, where it differs from the profile"`
	RTP            PortRange      `yaml:"rtp" doc:"narrows the UDP ports of media"`
	Limits         Limits         `yaml:"limits" doc:"of recording and calls"`
	Prompts        Prompts        `yaml:"prompts" doc:"WAV files of 8 kHz mono (PCM16, mu-law or A-law) in place of the built-in ones, by their names"`
	Facts          string         `yaml:"facts" doc:"file that overrides assumed facts"`
}

// Role of a server.
type Role string

// The roles of Exchange 2013 and 2016, those that 2007 has besides Mailbox, and
// that of a perimeter network.
const (
	ClientAccess     Role = "client-access"
	MailboxRole      Role = "mailbox"
	UnifiedMessaging Role = "unified-messaging"
	HubTransport     Role = "hub-transport"
	EdgeTransport    Role = "edge-transport"
)

// Server is one simulated machine with an address of its own.
type Server struct {
	Pos           yamlfile.Pos
	Places        yamlfile.Places
	Name          string      `yaml:"name,required" doc:"of the server"`
	FQDN          string      `yaml:"fqdn,required" doc:"its host name, in certificates and greetings"`
	Address       netip.Addr  `yaml:"address,required" doc:"that it binds"`
	Advertise     netip.Addr  `yaml:"advertise" doc:"address that Contact and SDP carry, where peers see another one"`
	Roles         []Role      `yaml:"roles,required" doc:"client-access and mailbox; in 2007 and 2010 unified-messaging, hub-transport, mailbox; edge-transport"`
	Certificates  []string    `yaml:"certificates" doc:"names of further certificates that its connectors can show: the authority's folder keeps them, or they are made"`
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

// DomainSecurity lists domains for mutual TLS.
type DomainSecurity struct {
	Pos     yamlfile.Pos
	Receive []string `yaml:"tls-receive-domain-secure-list" doc:"senders of these are refused unless their server shows a certificate with the domain's name, where the connector has domain-secure-enabled"`
	Send    []string `yaml:"tls-send-domain-secure-list" doc:"to these a send connector with domain-secure-enabled sends by TLS alone, to a certificate with the domain's name"`
}

// Sends reports whether recipients in a domain need mutual TLS.
func (d *DomainSecurity) Sends(domain string) bool {
	return slices.ContainsFunc(d.Send, func(s string) bool { return strings.EqualFold(s, domain) })
}

// Receives reports whether senders of a domain need mutual TLS.
func (d *DomainSecurity) Receives(domain string) bool {
	return slices.ContainsFunc(d.Receive, func(s string) bool { return strings.EqualFold(s, domain) })
}

// Kerberos is what the servers need of a realm.
type Kerberos struct {
	Pos    yamlfile.Pos
	Keytab string         `yaml:"keytab" doc:"file with the keys of SMTPSVC/FQDN or smtp/FQDN of the servers; left out: GSSAPI is offered and fails"`
	KDC    netip.AddrPort `yaml:"kdc" doc:"ADDRESS:PORT of the realm's KDC: the servers log on to one another with its tickets, as SERVER$, SMTPSVC/FQDN or smtp/FQDN, whose key is in the keytab; left out: they know one another by their addresses"`
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
	DSCP uint8  `yaml:"dscp" doc:"mark of the RTP that is sent, 0 to 63 (RFC 2474): 46 is expedited forwarding; on Linux"`
}

// Limits are per call, and of a server; they have Exchange's names and ranges.
type Limits struct {
	Pos                  yamlfile.Pos
	MaxCallDuration      time.Duration `yaml:"max-call-duration" fact:"um.max-call-duration" doc:"10m to 120m"`
	MaxRecordingDuration time.Duration `yaml:"max-recording-duration" fact:"um.max-recording-duration" doc:"1m to 100m"`
	RecordingIdleTimeout time.Duration `yaml:"recording-idle-timeout" fact:"um.recording-idle-timeout" doc:"silence that ends a recording, 2s to 10s"`
	MaxCallsAllowed      int           `yaml:"max-calls-allowed" fact:"um.max-calls" doc:"of a server, 0 to 200"`
	// SubmitRetry has no name of Exchange's.
	MaxReceiveSize int64         `yaml:"max-receive-size" fact:"smtp.max-receive-size" doc:"octets of a message, whatever SIZE says (Set-TransportConfig)"`
	SubmitRetry    time.Duration `yaml:"submit-retry" fact:"um.submit-retry" doc:"until a message that transport did not take is handed to it again, at least 1s"`
}

// Prompts are WAV files of 8 kHz mono (PCM16, mu-law or A-law) by the name of
// the recording that they replace.
type Prompts map[string]string
