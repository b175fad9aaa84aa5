// Package profile holds the Exchange facts as read-only values, one profile a
// version. A version's data file names a base and says only what differs.
// Every fact has a standing and a public source; a user's file may override
// what is merely assumed.
package profile

import (
	"slices"
	"time"
)

// Standing says how well a fact is known.
type Standing string

// The standings, from the firmest to the weakest.
const (
	Documented Standing = "documented" // by the maker or a named vendor
	Observed   Standing = "observed"   // in a public trace, or by the user
	Assumed    Standing = "assumed"    // a default without a clean source
)

// Source is where a fact stands.
type Source struct {
	Title   string `yaml:"title,required"`
	Address string `yaml:"address,required"`
}

// Fact is one fact as it is told to people.
type Fact struct {
	Key      string
	Value    string
	Standing Standing
	Source   string // key of a Source, or the file that overrides it
	Note     string
}

// Profile is one Exchange version. It is not changed after Load.
type Profile struct {
	Version    string
	Lineage    []string // the version and those that it rests on, the last one "base"
	Ports      []Port
	SIP        SIP
	Redirect   Redirect
	TLS        TLS
	SDP        SDP
	UM         UM
	Transfer   Transfer
	MWI        MWI
	Fax        Fax
	Refusals   Refusals
	Message    Message
	SMTP       SMTP
	Connectors map[string]Connector
	// Permissions are the rights, in the order of a protocol log.
	Permissions []Permission
	Usages      map[string]Usage
	Replies     map[string]string // by name, "CODE text", lines separated by \n
	Separate    bool              // Client Access and Mailbox are roles of their own

	Sources map[string]Source
	Facts   []Fact // sorted by key
}

// Port is a row of the port table.
type Port struct {
	ID        string `yaml:"id,required"`
	Role      string `yaml:"role,required"`
	Service   string `yaml:"service,required"`
	Protocol  string `yaml:"protocol,required"`
	Transport string `yaml:"transport,required"`
	Port      uint16 `yaml:"port,required"`
	Last      uint16 `yaml:"last"` // of a range
	// Beside is the port where Client Access is on the same server, 0 if the
	// same.
	Beside uint16 `yaml:"beside-client-access"`
	// TLSOnly is the port where the service listens for TLS alone, 0 if the
	// same.
	TLSOnly uint16 `yaml:"tls-only"`
	// Process is which of a service's two processes, a or b, listens: the
	// other one is started to take its place. "" where there is one only.
	Process  string   `yaml:"process"`
	Listens  string   `yaml:"listens"`  // redirect, answer, receive; "" is not opened
	Settable bool     `yaml:"settable"` // the documented value may be changed
	Standing Standing `yaml:"standing,required"`
	Source   string   `yaml:"source,required"`
	Note     string   `yaml:"note"`
}

// SIP is how Exchange spells its responses.
type SIP struct {
	Headers                                Headers
	ServerHeader                           string
	ServerRedirect                         string
	ServerAnswer                           string
	ViaJoined, EPID                        bool
	Allow, AllowLines                      []string
	Supported, SupportedLines, AnswerLines []string
	ContactParams                          string
	ContentID                              bool // an answer with a body names it
	SessionExpires                         int  // seconds
	T1                                     time.Duration
	RetryAfter                             time.Duration // of a 503
}

// Headers are spellings of header names.
type Headers struct {
	From, To, CSeq, CallID, Via, Contact, ContentLength, ContentType, RecordRoute string
	Event, SubscriptionState, UserAgent                                           string // of a NOTIFY
}

// Redirect is the form of the 302.
type Redirect struct {
	Status      Status
	RouterHost  Host
	ServiceHost Host
	Transport   string // spelling of the transport parameter
	Secure      string // the same over TLS
	Maddr       bool   // added when the caller's Request-URI had one
}

// TLS is what a peer's certificate must be, by the level of each check:
// require, warn or ignore.
type TLS struct {
	Chain, Dates, Revocation, Usage, Name, Algorithm, KeySize string
	MinVersion                                                string // "1.0" to "1.3"
	MinRSA                                                    int    // bits
}

// Host says what the Contact of a redirect names.
type Host string

// What a redirect's Contact may name.
const (
	HostEcho    Host = "echo"        // what the caller wrote
	HostFQDN    Host = "server-fqdn" // the target server's name
	HostAddress Host = "address"     // the target server's address
)

// SDP is the form of the answer.
type SDP struct {
	SessionName string
	Bandwidth   []string
	Label       string
	Events      string
	Ptime       int
	Codecs      []string
	OffersG723  bool // by name, first in our own offers
	// Suites of SRTP: those that are seen, and one that is assumed.
	Suites, MoreSuites []string
	Refused            []string // attributes that no offer may have
}

// UM holds behaviour and limits of Unified Messaging.
type UM struct {
	// AlphanumericCaller takes a caller that is no number in a dial plan of
	// numbers.
	AlphanumericCaller bool
	DiversionOrder     string // which of several names the mailbox: first or last
	StrictHeaders      bool   // a Diversion that is not well formed refuses the call
	CheckCalledHost    bool   // so does a To of another host
	ToneHz             float64
	ToneLength         time.Duration
	RTPSilence         bool
	InBandDigits       bool // keys are heard in the audio, too
	// RingTimeout is how long a call that is placed may ring.
	RingTimeout time.Duration
	// SDPIn180Silences is what a description in a 180 behind one in a 183 does.
	SDPIn180Silences bool
	EndKey           string
	// InputTimeout is how long a menu waits for a key, and InputFailures how
	// often it is said again before the call ends.
	InputTimeout  time.Duration
	DigitTimeout  time.Duration // and for the next key of a number
	InputFailures int
	// LogonFailures are wrong PINs that end a call; LogonsBeforeReset in a row
	// over calls bring a new PIN, MaxLogons lock the mailbox.
	LogonFailures, LogonsBeforeReset, MaxLogons, MinPINLength int
	BadHistory                                                string // refuse or ignore
	Keys                                                      Keys
	MaxCall                                                   time.Duration
	MaxRecording                                              time.Duration
	RecordingIdle                                             time.Duration
	MaxCalls                                                  int
	ProbeInterval                                             time.Duration
	StartupModes                                              []string // that the version knows
	// RecycleInterval is the age at which a worker process is replaced, and
	// DrainLimit how long its calls may then go on.
	RecycleInterval, DrainLimit time.Duration
	// SubmitRetry is the wait before a message that transport did not take is
	// handed to it again.
	SubmitRetry time.Duration
	// GatewayProbeInterval is the time between two OPTIONS to a gateway,
	// RereadInterval that between two looks at what has changed elsewhere.
	GatewayProbeInterval, RereadInterval time.Duration
	MaxGateways                          int // of a dial plan
}

// Keys are what callers press behind a recording.
type Keys struct{ Accept, Again, Urgent, Private string }

// Transfer is the form of a REFER: {number}, {gateway} and {server} are filled
// in.
type Transfer struct {
	ReferTo, ReferToSIP, ReferredBy string
	Timeout                         time.Duration // for the last report
}

// Fax is what becomes of faxes.
type Fax struct {
	Refers  bool   // they go to a partner; false: this version takes them itself, which is not simulated
	ReferTo string // value of Refer-To: {extension} and {partner} are filled in
	Note    string // why an offer for a fax is refused
}

// MWI is how telephones are told of waiting messages.
type MWI struct {
	Supported bool
	Refresh   time.Duration // all lamps anew
	GiveUp    time.Duration // how long gateways are tried
	Retry     time.Duration // from one round of them to the next
	Timeout   time.Duration // for one answer
}

// Status is a SIP status with its reason phrase.
type Status struct {
	Code   int    `yaml:"status,required"`
	Reason string `yaml:"reason,required"`
}

// Refusal is an answer that is a fact.
type Refusal struct {
	Status
	Standing Standing
}

// Refusals are the answers to calls that are not taken.
type Refusals struct {
	GatewayDisabled, UnknownGateway, NoHuntGroup, SecurityMismatch, NoSRTP, NotUMEnabled, WrongHost, RefusedAttribute, BadHeader, BadParty, NoCodec, MaxCalls, NoServer, NoPorts, Draining, Maintenance Refusal
}

// Message is the form of the messages that UM hands to transport.
type Message struct {
	VoiceClass, MissedClass                                             string
	VoiceSubject, MissedSubject, PINSubject, Attachment                 string
	CallerHeader, DurationHeader, SenderHeader, OrderHeader, CallHeader string
}

// SMTP is what all receive connectors share.
type SMTP struct {
	Banner, Hello string
	Received      string // value of the trace header
	// SendRetry is the wait before a message that was not taken is tried again,
	// LastError what a queue tells of it: {reply} is filled in.
	SendRetry     time.Duration
	SendExpiry    time.Duration // age at which it is given up
	LastError     string
	Windows       string // build that NTLM tells of
	MinTLSVersion string // "1.0" to "1.3"
	MaxTLSVersion string
	// TarpitChunks delays chunks of BDAT, Discredit all replies to an address
	// that went away while it was delayed.
	TarpitChunks, Discredit bool
	// BareAuth is AUTH without a mechanism, where ExternalAuthoritative leaves
	// none.
	BareAuth bool
	// FrontEnds are the services that pass mail on and keep nothing. Where
	// LateRecipients is true, they learn of a bad recipient at the end of a message.
	FrontEnds      []string
	LateRecipients bool
	Filters        []string // services with anti-spam agents
	MaxReceiveSize int64    // of a message, in octets, whatever a connector offers
	Stamps         []string // header fields that transport adds, filled in
}

// Fact returns a fact by its key.
func (p *Profile) Fact(key string) (Fact, bool) {
	for _, f := range p.Facts {
		if f.Key == key {
			return f, true
		}
	}
	return Fact{}, false
}

// Port returns the row with this id.
func (p *Profile) Port(id string) (Port, bool) {
	for _, r := range p.Ports {
		if r.ID == id {
			return r, true
		}
	}
	return Port{}, false
}

// RoleOf is the role of the servers that run a service, "" if none does.
func (p *Profile) RoleOf(service string) string {
	for _, r := range p.Ports {
		if r.Service == service {
			return r.Role
		}
	}
	return ""
}

// HasUM reports whether the version has Unified Messaging.
func (p *Profile) HasUM() bool { return p.RoleOf("um-worker") != "" }

// Front is the service that gateways call: the first SIP service of the port
// table.
func (p *Profile) Front() string {
	for _, r := range p.Ports {
		if r.Protocol == "sip" {
			return r.Service
		}
	}
	return ""
}

// Roles are the server roles of this version.
func (p *Profile) Roles() []string {
	var roles []string
	for _, r := range p.Ports {
		if !slices.Contains(roles, r.Role) {
			roles = append(roles, r.Role)
		}
	}
	return roles
}

// MailFront is the service of a version whose connectors take mail from
// everybody.
func (p *Profile) MailFront() string {
	const frontEnd, transport = "front-end-transport", "transport"
	if p.RoleOf(frontEnd) != "" {
		return frontEnd
	}
	return transport
}

// MailRow is the row of the connector that takes mail from everybody.
func (p *Profile) MailRow() string {
	for _, r := range p.Ports {
		if r.Protocol == "smtp" && r.Service == p.MailFront() {
			return r.ID
		}
	}
	return ""
}
