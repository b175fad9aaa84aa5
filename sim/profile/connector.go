package profile

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"
)

// Connector is a default receive connector of a version: what Setup makes.
type Connector struct {
	Name string `yaml:"name"` // {server} is filled in
	ConnectorSettings
	Tail     []string `yaml:"tail"` // keywords at the end of EHLO
	Standing Standing `yaml:"standing"`
	Source   string   `yaml:"source"`
	Note     string   `yaml:"note"`
}

// ConnectorSettings are what Set-ReceiveConnector can change, under its names
// (https://learn.microsoft.com/powershell/module/exchangepowershell/set-receiveconnector).
// A limit of 0 is none.
type ConnectorSettings struct {
	FQDN   string `yaml:"fqdn" doc:"name in banner and EHLO; left out: the server's"`
	Banner string `yaml:"banner" doc:"first line, in place of Exchange's; begins with 220"`

	AuthMechanism    []AuthMechanism   `yaml:"auth-mechanism" doc:"Tls, BasicAuth, BasicAuthRequireTLS, Integrated, ExchangeServer, ExternalAuthoritative"`
	PermissionGroups []PermissionGroup `yaml:"permission-groups" doc:"AnonymousUsers, ExchangeUsers, ExchangeServers, ExchangeLegacyServers, Partners"`
	EnableAuthGSSAPI bool              `yaml:"enable-auth-gssapi" doc:"whether AUTH offers GSSAPI beside NTLM"`
	RequireTLS       bool              `yaml:"require-tls" doc:"no mail in clear"`
	DomainSecure     bool              `yaml:"domain-secure-enabled" doc:"mutual TLS for the domains of domain-security"`
	TLSCertificate   string            `yaml:"tls-certificate-name" doc:"<I>ISSUER<S>SUBJECT of the certificate that is shown; left out: one with the connector's name"`
	NoXAnonymousTLS  bool              `yaml:"suppress-x-anonymous-tls" doc:"whether X-ANONYMOUSTLS is left out"`

	SizeEnabled        SizeEnabled `yaml:"size-enabled" enum:"Enabled,EnabledWithoutValue,Disabled" doc:"how SIZE is offered"`
	Pipelining         bool        `yaml:"pipelining-enabled" doc:"PIPELINING is offered"`
	DSN                bool        `yaml:"delivery-status-notification-enabled" doc:"DSN is offered"`
	EnhancedCodes      bool        `yaml:"enhanced-status-codes-enabled" doc:"ENHANCEDSTATUSCODES is offered"`
	EightBitMIME       bool        `yaml:"eight-bit-mime-enabled" doc:"8BITMIME is offered"`
	BinaryMIME         bool        `yaml:"binary-mime-enabled" doc:"BINARYMIME is offered"`
	Chunking           bool        `yaml:"chunking-enabled" doc:"CHUNKING is offered"`
	SMTPUTF8           bool        `yaml:"smtp-utf8-enabled" doc:"SMTPUTF8 is offered"`
	Orar               bool        `yaml:"orar-enabled" doc:"XORAR is offered"`
	LongAddresses      bool        `yaml:"long-addresses-enabled" doc:"XLONGADDR is offered: addresses of 1860 octets"`
	RequireEHLODomain  bool        `yaml:"require-ehlo-domain" doc:"EHLO without a name is refused"`
	BareLinefeedReject bool        `yaml:"bare-linefeed-rejection-enabled" doc:"a message with a line feed alone is refused"`

	RejectReservedTop    bool `yaml:"reject-reserved-top-level-recipient-domains" doc:"recipients in .test, .example, .invalid and .localhost are refused (RFC 2606)"`
	RejectReservedSecond bool `yaml:"reject-reserved-second-level-recipient-domains" doc:"recipients in example.com, example.net and example.org are refused (RFC 2606)"`
	RejectSingleLabel    bool `yaml:"reject-single-label-recipient-domains" doc:"recipients in a domain of one label are refused"`

	MaxMessageSize      int64         `yaml:"max-message-size" doc:"octets"`
	MaxHeaderSize       int64         `yaml:"max-header-size" doc:"octets; behind it the connection is closed"`
	MaxRecipients       int           `yaml:"max-recipients-per-message" doc:"of one message"`
	MaxConnections      int           `yaml:"max-inbound-connection" doc:"at once"`
	MaxPerSource        int           `yaml:"max-inbound-connection-per-source" doc:"at once of one address"`
	MaxPercentPerSource int           `yaml:"max-inbound-connection-percentage-per-source" doc:"of max-inbound-connection, at once of one address"`
	ConnectionTimeout   time.Duration `yaml:"connection-timeout" doc:"of a session in all, also while it is busy"`
	InactivityTimeout   time.Duration `yaml:"connection-inactivity-timeout" doc:"of a session whose peer says nothing"`
	MaxProtocolErrors   int           `yaml:"max-protocol-errors" doc:"behind which a session is closed"`
	MaxLogonFailures    int           `yaml:"max-logon-failures" doc:"behind which a session is closed"`
	TarpitInterval      time.Duration `yaml:"tarpit-interval" doc:"by which a refusal is delayed where nobody has logged on"`
	AuthTarpitInterval  time.Duration `yaml:"auth-tarpit-interval" doc:"by which a failed log-on is delayed"`
	MaxAckDelay         time.Duration `yaml:"max-acknowledgement-delay" doc:"by which the last answer is delayed where the sender offers no shadow redundancy (2010)"`
	MessageRateLimit    int           `yaml:"message-rate-limit" doc:"messages a minute"`
	MessageRateSource   RateSource    `yaml:"message-rate-source" enum:"None,IPAddress,User,All" doc:"of whom message-rate-limit is counted"`
	MaxHopCount         int           `yaml:"max-hop-count" doc:"Received fields that a message may have (Set-TransportService)"`
}

// AuthMechanism is a value of AuthMechanism.
type AuthMechanism string

// The mechanisms of a receive connector.
const (
	AuthTLS                   AuthMechanism = "Tls"
	AuthBasic                 AuthMechanism = "BasicAuth"
	AuthBasicRequireTLS       AuthMechanism = "BasicAuthRequireTLS"
	AuthIntegrated            AuthMechanism = "Integrated"
	AuthExchangeServer        AuthMechanism = "ExchangeServer"
	AuthExternalAuthoritative AuthMechanism = "ExternalAuthoritative"
)

// AuthMechanisms lists them.
func AuthMechanisms() []AuthMechanism {
	return []AuthMechanism{AuthTLS, AuthBasic, AuthBasicRequireTLS, AuthIntegrated, AuthExchangeServer, AuthExternalAuthoritative}
}

// SizeEnabled is how SIZE is offered.
type SizeEnabled string

// The values of SizeEnabled.
const (
	SizeWithValue    SizeEnabled = "Enabled"
	SizeWithoutValue SizeEnabled = "EnabledWithoutValue"
	SizeDisabled     SizeEnabled = "Disabled"
)

// RateSource is of whom messages are counted.
type RateSource string

// The values of MessageRateSource.
const (
	RateNone RateSource = "None"
	RateIP   RateSource = "IPAddress"
	RateUser RateSource = "User"
	RateAll  RateSource = "All"
)

// Has reports whether a mechanism is configured.
func (c *ConnectorSettings) Has(m AuthMechanism) bool { return slices.Contains(c.AuthMechanism, m) }

// Allows reports whether a group has its permissions here.
func (c *ConnectorSettings) Allows(g PermissionGroup) bool {
	return slices.Contains(c.PermissionGroups, g)
}

// PerSource is how many connections one address may have at once, 0 for any
// number: the smaller of the two limits.
func (c *ConnectorSettings) PerSource() int {
	n := c.MaxPerSource
	if p := c.MaxPercentPerSource * c.MaxConnections / 100; p > 0 && (n == 0 || p < n) {
		n = p
	}
	return n
}

// PermissionGroup is who has permissions at a connector.
type PermissionGroup string

// The groups; ExternallySecured is who comes to a connector with
// ExternalAuthoritative.
const (
	AnonymousUsers        PermissionGroup = "AnonymousUsers"
	ExchangeUsers         PermissionGroup = "ExchangeUsers"
	ExchangeServers       PermissionGroup = "ExchangeServers"
	ExchangeLegacyServers PermissionGroup = "ExchangeLegacyServers"
	Partners              PermissionGroup = "Partners"
	ExternallySecured     PermissionGroup = "ExternallySecuredServers"
)

// PermissionGroups lists those that a connector can be given.
func PermissionGroups() []PermissionGroup {
	return []PermissionGroup{AnonymousUsers, ExchangeUsers, ExchangeServers, ExchangeLegacyServers, Partners}
}

// Right is a permission on a session, by its name in Active Directory.
type Right string

// The rights that show on the wire.
const (
	RightSubmit              Right = "ms-Exch-SMTP-Submit"
	RightAnyRecipient        Right = "ms-Exch-SMTP-Accept-Any-Recipient"
	RightAuthenticationFlag  Right = "ms-Exch-SMTP-Accept-Authentication-Flag"
	RightAnySender           Right = "ms-Exch-SMTP-Accept-Any-Sender"
	RightAuthoritativeSender Right = "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender"
	RightBypassAntiSpam      Right = "ms-Exch-Bypass-Anti-Spam"
	RightBypassSize          Right = "ms-Exch-Bypass-Message-Size-Limit"
	RightExch50              Right = "ms-Exch-SMTP-Accept-Exch50"
	RightRoutingHeaders      Right = "ms-Exch-Accept-Headers-Routing"
	RightForestHeaders       Right = "ms-Exch-Accept-Headers-Forest"
	RightOrganizationHeaders Right = "ms-Exch-Accept-Headers-Organization"
	RightXShadow             Right = "ms-Exch-SMTP-Accept-XShadow"
)

// Permission is a right with its name in a protocol log, and who has it.
type Permission struct {
	Right  Right             `yaml:"right,required"`
	Log    string            `yaml:"log,required"`
	Groups []PermissionGroup `yaml:"groups"`
}

// Usage is what New-ReceiveConnector gives to a usage type.
type Usage struct {
	AuthMechanism    []AuthMechanism   `yaml:"auth-mechanism"`
	PermissionGroups []PermissionGroup `yaml:"permission-groups"`
}

// String tells the settings in the words of a file.
func (c *Connector) String() string {
	return fmt.Sprintf("auth-mechanism %v, permission-groups %v, enable-auth-gssapi %t, size-enabled %s, max-message-size %d, max-recipients-per-message %d, "+
		"max-inbound-connection-per-source %d, connection-timeout %s, connection-inactivity-timeout %s, message-rate-limit %d of %s, "+
		"auth-tarpit-interval %s, max-acknowledgement-delay %s, smtp-utf8-enabled %t, ends %v",
		c.AuthMechanism, c.PermissionGroups, c.EnableAuthGSSAPI, c.SizeEnabled, c.MaxMessageSize, c.MaxRecipients,
		c.PerSource(), c.ConnectionTimeout, c.InactivityTimeout, c.MessageRateLimit, c.MessageRateSource,
		c.AuthTarpitInterval, c.MaxAckDelay, c.SMTPUTF8, c.Tail)
}

// MinTLS is the oldest version of TLS that connectors take.
func (s *SMTP) MinTLS() uint16 {
	return TLSVersion(s.MinTLSVersion)
}

// MaxTLS is the newest version of TLS that is agreed on.
func (s *SMTP) MaxTLS() uint16 { return TLSVersion(s.MaxTLSVersion) }

// TLSVersion is a version by its number, "1.0" to "1.3"; 0 for any other text.
func TLSVersion(number string) uint16 {
	return map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[number]
}
