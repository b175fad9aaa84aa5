// Package scenarios is the language in which a test of a gateway is written:
// one file holds the organisation, the actors and the steps; it is loaded
// strictly, run against a simulated organisation, and judged from the events
// alone, so that a saved trace yields the same verdict.
package scenarios

import (
	"net/netip"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Scenario is one file.
type Scenario struct {
	File    string
	Variant string            // the values of its matrix, "" without one
	Secrets []string          // that nothing may show
	Vars    map[string]string // their values
	Source  []byte            // text of the file
	Version int               `yaml:"version,required" doc:"of the language: 1"`
	Name    string            `yaml:"name,required" doc:"letters, digits, hyphens, underscores and dots: it names files, too"`
	Summary string            `yaml:"summary" doc:"what is proven, in a sentence"`
	Ref     string            `yaml:"ref" doc:"what it rests on"`
	Tags    []string          `yaml:"tags" doc:"words to pick scenarios by"`

	VarsPlace   yamlfile.Value `yaml:"vars" doc:"values that ${NAME} stands for in this file; in a value here ${NAME} is an environment variable, and ${NAME:-OTHERWISE} does without it; exsim run --set NAME=VALUE replaces one"`
	SecretPlace yamlfile.Value `yaml:"secrets" doc:"values like vars that are starred wherever they would be seen: {env: NAME} or {file: NAME}"`
	Matrix      yamlfile.Value `yaml:"matrix" doc:"lists of values: the scenario runs once for each combination; csv: FILE has the names in its first line and a combination in each other one"`

	OrganisationValue yamlfile.Value   `yaml:"organisation" doc:"what differs from the default organisation of its version (2013 if not said); a list replaces the whole list"`
	Actors            map[string]Actor `yaml:"actors,required" doc:"the parties beside the organisation, by name"`
	Path              PathRules        `yaml:"path" doc:"what the network between the actors and the organisation must let through unaltered, and what not; it is proven before the organisation is up"`
	StepValues        []yamlfile.Value `yaml:"steps" doc:"what is done and expected, in this order; behind a step that fails the others are not run. parallel: [...] does some at the same time"`
	Goals             []Goal           `yaml:"goals" doc:"what holds for every event that it names, of which there is at least one: figures of media, and the like"`
	Never             []Matcher        `yaml:"never" doc:"events that must not happen in the whole run"`
	Faults            []PlantedFault   `yaml:"faults" doc:"what actors, or servers of the organisation, do wrong in every run"`
	Catches           []PlantedFault   `yaml:"catches" doc:"faults with which the scenario must fail: exsim run --prove runs the pair"`

	Organisation *org.Organisation
	Steps        []Step

	moved []string // by SetAddresses, as flags

	root yamlfile.Value // of the file, with its vars filled in
}

// Actor is a party beside the organisation.
type Actor struct {
	Pos         yamlfile.Pos
	Places      yamlfile.Places
	Role        string     `yaml:"role,required" enum:"ip-gateway,mail-host,middlebox" doc:"what it is: a device that calls, a host that sends mail, or what stands between one of these and the organisation"`
	Address     netip.Addr `yaml:"address,required" doc:"that it calls or sends from; of an ip-gateway, the UM IP gateway of this address is its object"`
	Port        uint16     `yaml:"port" doc:"where an external device is called, 5060 or 5061 if left out; a simulated one listens on a free port"`
	Between     string     `yaml:"between" doc:"of a middlebox: the actor whose connections and media pass through it"`
	Transport   Transport  `yaml:"transport" default:"tcp" enum:"tcp,tls" doc:"of its SIP"`
	Media       Media      `yaml:"media" default:"rtp" enum:"rtp,srtp" doc:"that it offers"`
	Device      Device     `yaml:"device" default:"simulated" enum:"simulated,external" doc:"who plays it: exsim, or the device under test, for which the run says what to do; exsim run --device changes it"`
	Certificate string     `yaml:"certificate" default:"good" doc:"what it shows over TLS: good, or a kind of exsim pki bad"`
	// Telephones of a simulated gateway, by number.
	Telephones map[string]int `yaml:"telephones" doc:"how telephones behind a simulated ip-gateway answer a transferred call, by number: 200 (the others, too), or a refusal such as 486"`
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

// Step is one line of a scenario: exactly one verb.
type Step struct {
	Pos    yamlfile.Pos
	Verb   string
	Text   string // as people read it
	action action
	path   []string // in the file

	group, branch int // of parallel steps, from 1; 0 of a step that stands alone
}

// moves reports whether times count from the step's begin: an expectation
// looks back to the action before it.
func (s *Step) moves() bool {
	_, waits := s.action.(*expect)
	return !waits
}

// Goal is what holds for every event that it names.
type Goal struct {
	Matcher
	Only map[string]Value `yaml:"only" doc:"conditions on fields that pick the events; where holds for each that is picked"`
}

// Matcher describes an event.
type Matcher struct {
	Pos    yamlfile.Pos
	Places yamlfile.Places
	Event  string           `yaml:"event,required" doc:"its name; exsim events lists them with their fields"`
	Call   string           `yaml:"call" doc:"id of the call that it belongs to"`
	At     string           `yaml:"at" doc:"listener, server or actor where it happens"`
	Where  map[string]Value `yaml:"where" doc:"conditions on its fields"`
	Header map[string]Value `yaml:"header" doc:"conditions on headers of its message"`
	SDP    map[string]Value `yaml:"sdp" doc:"conditions on its session description: m, c, o and other lines by their letter, attributes by their name, such as crypto or ptime, of several the first; direction is sendrecv, sendonly, recvonly or inactive"`
	Body   Value            `yaml:"body" doc:"condition on the whole body of its message"`
}
