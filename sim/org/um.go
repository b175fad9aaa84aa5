package org

import (
	"net/netip"

	"github.com/exsim/exsim/sim/yamlfile"
)

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

	Operator      string `yaml:"operator" doc:"number that 0 leads to"`
	InputFailures int    `yaml:"input-failures-before-disconnect" fact:"um.input-failures" doc:"1 to 20"`
	LogonFailures int    `yaml:"logon-failures-before-disconnect" fact:"um.logon-failures" doc:"wrong PINs in a call, 1 to 20"`
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
	Password   string   `yaml:"password" doc:"that its owner logs on with to send mail, as DOMAIN\\name, by its address, or by the name alone; left out nobody can"`
	PIN        string   `yaml:"pin" doc:"digits that its owner logs on with by telephone; left out nobody can"`
	Greeting   string   `yaml:"greeting" doc:"WAV file in place of the standard greeting"`
	// OtherVersion is the server of another version, in an organisation that is
	// being moved.
	OtherVersion string `yaml:"other-version" doc:"sip:HOST:PORT;transport=tcp of a UM server of another version that serves it: calls for it are redirected there, or referred where they are answered already"`
	Quota        int64  `yaml:"quota" doc:"octets at which it is full: callers are told so and can leave no message"`
}
