// Package scenarios is the language in which a test of a gateway is written:
// one file holds the organisation, the actors and the steps; it is loaded
// strictly, run against a simulated organisation, and judged from the events
// alone, so that a saved trace yields the same verdict.
package scenarios

import (
	"net/netip"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Scenario is one file.
type Scenario struct {
	File    string
	Version int      `yaml:"version,required"` // of the language: 1
	Name    string   `yaml:"name,required"`
	Summary string   `yaml:"summary"`
	Ref     string   `yaml:"ref"` // what it rests on
	Tags    []string `yaml:"tags"`
	// OrganisationValue says what differs from the default organisation.
	OrganisationValue yamlfile.Value   `yaml:"organisation"`
	Actors            map[string]Actor `yaml:"actors,required"`
	StepValues        []yamlfile.Value `yaml:"steps,required"`
	Never             []Matcher        `yaml:"never"`
	Faults            []PlantedFault   `yaml:"faults"`
	// Catches lists faults with which the scenario is seen to fail.
	Catches []PlantedFault `yaml:"catches"`

	Organisation *org.Organisation
	Steps        []Step
}

// Actor is a party beside the organisation.
type Actor struct {
	Pos     yamlfile.Pos
	Role    string     `yaml:"role,required"` // ip-gateway
	Address netip.Addr `yaml:"address,required"`
	// Transport is tcp if empty.
	Transport Transport `yaml:"transport"`
	// Media is rtp if empty.
	Media Media `yaml:"media"`
	// Certificate is what it shows over TLS: good if empty, or what is wrong
	// with it.
	Certificate string `yaml:"certificate"`
}

// Transport of an actor.
type Transport string

// The transports.
const (
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// Media of an actor.
type Media string

// The kinds of media.
const (
	RTP  Media = "rtp"
	SRTP Media = "srtp"
)

// PlantedFault makes a simulated actor do something wrong.
type PlantedFault struct {
	Pos   yamlfile.Pos
	Actor string `yaml:"actor,required"`
	Do    string `yaml:"do,required"`

	Address     netip.Addr `yaml:"address"`     // of other-address
	Port        uint16     `yaml:"port"`        // of assumes-port
	Transport   Transport  `yaml:"transport"`   // of other-transport
	Certificate string     `yaml:"certificate"` // of other-certificate
	Media       Media      `yaml:"media"`       // of other-media
}

// Step is one line of a scenario: exactly one verb.
type Step struct {
	Pos  yamlfile.Pos
	Verb string
	Text string // as people read it

	Call   *CallStep
	Expect *Matcher
	Talk   *TalkStep
	DTMF   *DTMFStep
	Hangup *HangupStep
	Mail   *MailStep
	// Recycle replaces the worker process of a server.
	Recycle *RecycleStep
	// Gateway changes the state of a UM IP gateway, Maintenance that of a server.
	Gateway     *GatewayStep
	Maintenance *MaintenanceStep
}

// CallStep places a call and waits for its final answer.
type CallStep struct {
	ID       string        `yaml:"id,required"`
	From     string        `yaml:"from,required"` // an ip-gateway
	Dial     string        `yaml:"dial,required"` // pilot
	Caller   string        `yaml:"caller"`        // 7125550123 if empty
	Name     string        `yaml:"name"`
	Diverted string        `yaml:"diverted"` // extension
	Reason   string        `yaml:"reason"`   // no-answer if empty
	Session  time.Duration `yaml:"session"`  // interval that the gateway asks for; none if zero
	Late     bool          `yaml:"late-offer"`
	Outcome  string        `yaml:"outcome"` // answered (if empty) or refused
	Within   time.Duration `yaml:"within"`  // 10s if zero
}

// TalkStep speaks.
type TalkStep struct {
	Call   string        `yaml:"call,required"`
	For    time.Duration `yaml:"for,required"`
	After  string        `yaml:"after"`  // event that it waits for: um.recording if empty
	Within time.Duration `yaml:"within"` // of that event: 30s if zero
}

// DTMFStep presses keys.
type DTMFStep struct {
	Call   string `yaml:"call,required"`
	Digits string `yaml:"digits,required"`
}

// HangupStep ends a call from the gateway's side.
type HangupStep struct {
	Call   string        `yaml:"call,required"`
	After  string        `yaml:"after"`  // event that it waits for; at once if empty
	Within time.Duration `yaml:"within"` // of that event: 30s if zero
}

// RecycleStep lets the second worker process of a server take the place of the
// first.
type RecycleStep struct {
	Server string `yaml:"server,required"`
}

// GatewayStep enables or disables a UM IP gateway.
type GatewayStep struct {
	Name   string     `yaml:"name,required"`
	Status org.Status `yaml:"status,required"`
}

// MaintenanceStep sets Unified Messaging inactive on a server, or active again.
type MaintenanceStep struct {
	Server string `yaml:"server,required"`
	State  string `yaml:"state,required"` // inactive or active
}

// MailStep waits for a message in a mailbox.
type MailStep struct {
	To     string           `yaml:"to,required"` // extension or address
	Call   string           `yaml:"call"`        // that it came from
	Where  map[string]Value `yaml:"where"`       // fields of mail.delivered
	Header map[string]Value `yaml:"header"`      // of the message
	Audio  string           `yaml:"audio"`       // same: all that the call's gateway said is in the recording
	Within time.Duration    `yaml:"within"`      // 20s if zero
}

// Matcher describes an event of the run so far: one that has happened, or
// happens within a time since the last action began.
type Matcher struct {
	Pos    yamlfile.Pos
	Event  string           `yaml:"event,required"`
	Call   string           `yaml:"call"` // id of a call step
	At     string           `yaml:"at"`   // listener or host
	Where  map[string]Value `yaml:"where"`
	Header map[string]Value `yaml:"header"` // of the event's raw message
	Within time.Duration    `yaml:"within"` // 10s if zero
}
