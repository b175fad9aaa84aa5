package scenarios

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/yamlfile"
)

// PlantedFault makes a party do something wrong.
type PlantedFault struct {
	Pos    yamlfile.Pos
	Places yamlfile.Places
	Actor  string `yaml:"actor,required" doc:"who does it: a simulated actor, or a server of the organisation"`
	Do     string `yaml:"do,required" doc:"what it does wrong"`
	At     string `yaml:"at" doc:"of a server: the listener, such as call-router; all that it concerns if left out"`

	Nth     int     `yaml:"nth" doc:"befalls this one alone, counted from 1"`
	From    int     `yaml:"from" doc:"befalls this one and all behind it"`
	Every   int     `yaml:"every" doc:"befalls each one of this number"`
	Percent float64 `yaml:"percent" doc:"befalls so many in a hundred, by the run's seed"`

	Of      string        `yaml:"of" doc:"what it is about: a method, a status or both (INVITE, 302, 200 BYE), a verb or code of SMTP; for replies the stage: connect, a verb, or message for the end of its data"`
	Header  string        `yaml:"header" doc:"name of a header"`
	SDP     string        `yaml:"sdp" doc:"letter of a line of the session description, such as c"`
	Keyword string        `yaml:"keyword" doc:"of the answer to EHLO, such as STARTTLS"`
	Value   string        `yaml:"value" doc:"that stands there instead"`
	Status  int           `yaml:"status" doc:"of the answer"`
	Reply   string        `yaml:"reply" doc:"code and text, such as 452 4.3.1 Insufficient system resources"`
	Octet   int           `yaml:"octet" doc:"how many octets leave first"`
	Count   int           `yaml:"count" doc:"how many in a row"`
	For     time.Duration `yaml:"for" doc:"how long, or from when on"`

	Address     netip.Addr `yaml:"address" doc:"that it calls from"`
	Port        uint16     `yaml:"port" doc:"that it calls"`
	Transport   Transport  `yaml:"transport" enum:"tcp,tls" doc:"that it calls over"`
	Certificate string     `yaml:"certificate" doc:"good, or a kind of exsim pki bad"`
	Media       Media      `yaml:"media" enum:"rtp,srtp" doc:"that it offers"`

	name string // that no other one of catches has

	Cause string `yaml:"cause" doc:"in catches: id of the cause that the verdict must name"`
}

// Parties that can do something wrong.
const (
	roleGateway = "ip-gateway"
	roleMail    = "mail-host"
	roleBox     = "middlebox"
	roleServer  = "server" // of the organisation
)

// Faults of a party's place, papers and services, beside those of its doing.
const (
	otherTransport = "other-transport"
	otherMedia     = "other-media"
	nat            = "nat"
	serverDown     = "server-down"
)

// faultKind is something that a party can do wrong.
type faultKind struct {
	name   string
	by     []string // who can
	needs  []string // settings; one of a|b
	may    []string
	counts string // what its dose counts, "" if it has none
	wire   bool   // one of sockets and services, else of the actor's own doing or place
	early  bool   // it holds from the start, or not at all
	usage  string
}

var (
	gw        = []string{roleGateway}
	mailHost  = []string{roleMail}
	box       = []string{roleBox}
	server    = []string{roleServer}
	talkers   = []string{roleGateway, roleServer, roleBox}
	secured   = []string{roleGateway, roleServer}
	boxServer = []string{roleBox, roleServer}
)

const (
	messages    = "messages"
	datagrams   = "RTP packets"
	connections = "connections"
	answers     = "answers"
)

var faultKinds = []faultKind{
	{name: string(gateway.DropDiversion), by: gw, usage: "leaves Diversion out behind a redirect"},
	{name: string(gateway.NoDiversion), by: gw, usage: "sends no Diversion at all"},
	{name: string(gateway.UnbalancedDiversion), by: gw, usage: "opens a quote in Diversion and does not close it"},
	{name: string(gateway.KeepsPrefix), by: gw, usage: "leaves a trunk prefix, 9, in front of the number that it dials"},
	{name: string(gateway.NoRedirect), by: gw, usage: "gives up at the first redirect"},
	{name: string(gateway.OneRedirect), by: gw, usage: "gives up at the second redirect"},
	{name: string(gateway.UDPBehindRedirect), by: gw, usage: "sends the INVITE behind a redirect by UDP"},
	{name: string(gateway.AssumesPort), by: gw, needs: []string{"port"}, early: true, usage: "sends the INVITE behind the second redirect to `port`, whatever the Contact says"},
	{name: string(gateway.RemembersWorker), by: gw, usage: "sends the INVITE of a later call straight to the worker that took the last one"},
	{name: string(gateway.OneRouter), by: gw, usage: "gives up where the first call router refuses or is dead"},
	{name: string(gateway.CallsElsewhere), by: gw, usage: "calls port 9 in place of the trunk's port"},
	{name: string(gateway.ClosedPort), by: gw, early: true, usage: "listens nowhere, so that nobody can ask it for OPTIONS"},
	{name: string(gateway.NoOptions), by: gw, usage: "answers OPTIONS with 405"},
	{name: string(gateway.IgnoresMinSE), by: gw, usage: "gives up where its session interval is refused by 422"},
	{name: string(gateway.NoAnswerInACK), by: gw, usage: "leaves the answer to a late offer out of the ACK"},
	{name: string(gateway.DigitsByINFO), by: gw, usage: "sends keys by INFO, not as telephone events"},
	{name: string(gateway.DigitsInBand), by: gw, usage: "sends keys as tones in the audio, not as telephone events"},
	{name: string(gateway.SDPIn180), by: gw, usage: "sends a 180 with a description behind a 183 with one, where it answers with early media"},
	{name: string(gateway.IgnoresReplaces), by: gw, usage: "does not join the calls of a supervised transfer (481)"},
	{name: string(gateway.NoReport), by: gw, usage: "accepts a REFER and never says what came of it"},
	{name: string(gateway.UnroutableREFER), by: gw, usage: "accepts a REFER and finds no route to the host in Refer-To (404)"},
	{name: string(gateway.OtherPayloadType), by: gw, usage: "sends telephone events with a payload type that was not agreed on"},
	{name: string(gateway.Muted), by: gw, usage: "sends silence in place of what is said"},
	{name: string(gateway.NoMedia), by: gw, usage: "sends no RTP"},
	{name: string(gateway.MediaElsewhere), by: gw, usage: "sends RTP to port 9, whatever the SDP says"},
	{name: string(gateway.OtherAddress), by: gw, needs: []string{"address"}, early: true, usage: "calls from `address` instead of its own"},
	{name: otherTransport, by: gw, needs: []string{"transport"}, early: true, usage: "calls over `transport` instead of its own"},
	{name: otherMedia, by: gw, needs: []string{"media"}, early: true, usage: "offers `media` instead of its own"},

	{name: string(mailhost.GivesUp), by: mailHost, usage: "takes a refusal for now (4xx) for one for good"},
	{name: string(mailhost.NoSTARTTLS), by: mailHost, usage: "never begins TLS"},
	{name: string(mailhost.OldTLS), by: mailHost, usage: "offers nothing newer than TLS 1.1"},
	{name: string(mailhost.BadHello), by: mailHost, usage: "greets with a name that is no domain"},
	{name: string(mailhost.OtherDomain), by: mailHost, usage: "sends to the recipient's name in another domain"},
	{name: string(mailhost.UnknownRecipient), by: mailHost, usage: "sends to a name that nobody has"},
	{name: string(mailhost.WrongPassword), by: mailHost, usage: "logs on with a wrong password"},
	{name: string(mailhost.Oversize), by: mailHost, usage: "declares a message of 1 GB"},
	{name: string(mailhost.Impatient), by: mailHost, usage: "waits two seconds for an answer, and gives the message up"},
	{name: string(mailhost.Greylists), by: mailHost, usage: "refuses the first try of each recipient for now (451), where mail is sent to it"},
	{name: string(mailhost.RefusesRecipients), by: mailHost, usage: "refuses every recipient for good (550), where mail is sent to it"},
	{name: string(mailhost.OffersNoTLS), by: mailHost, usage: "offers no STARTTLS, where mail is sent to it"},
	{name: string(mailhost.ASCIIOnly), by: mailHost, usage: "offers no SMTPUTF8, where mail is sent to it"},
	{name: string(mailhost.Full), by: mailHost, usage: "has no room for messages (452 at their end), where mail is sent to it"},
	{name: string(mailhost.DropsAtEnd), by: mailHost, usage: "closes the connection in place of the answer to a message, where mail is sent to it"},
	{name: string(mailhost.WrongName), by: mailHost, usage: "shows a certificate with another name, where mail is sent to it"},
	{name: string(mailhost.ConnectsElsewhere), by: mailHost, usage: "connects to port 9 in place of the connector's"},

	{name: string(faults.Delay), wire: true, by: talkers, needs: []string{"for"}, may: []string{"of"}, counts: messages, usage: "lets a message, and all behind it, leave `for` later"},
	{name: string(faults.Silence), wire: true, by: talkers, may: []string{"of"}, counts: messages, usage: "does not send a message"},
	{name: string(faults.Duplicate), wire: true, by: talkers, may: []string{"of"}, counts: messages, usage: "sends a message twice"},
	{name: string(faults.Rewrite), wire: true, by: talkers, needs: []string{"header|sdp", "value"}, may: []string{"of"}, counts: messages, usage: "gives a `header`, or a line of the SDP, another `value`"},
	{name: string(faults.Strip), wire: true, by: talkers, needs: []string{"header|keyword"}, may: []string{"of"}, counts: messages, usage: "leaves a `header`, or a `keyword` of EHLO's answer, out"},
	{name: string(faults.Mask), wire: true, by: box, needs: []string{"keyword"}, counts: messages, usage: "puts X in place of a `keyword` of EHLO's answer, as inspecting firewalls do"},
	{name: string(faults.Stars), wire: true, by: box, counts: messages, usage: "puts stars in place of a mail server's banner, as inspecting firewalls do"},
	{name: string(faults.CRLF), wire: true, by: box, counts: messages, usage: "makes a line end of each line feed alone, between mail hosts, also within a message"},
	{name: string(faults.LongLine), wire: true, by: box, needs: []string{"octet"}, counts: messages, usage: "closes the connection at a line of a mail session longer than `octet` octets, as inspecting firewalls do at 512"},
	{name: string(faults.Large), wire: true, by: box, needs: []string{"octet"}, counts: messages, usage: "lets no piece of TLS of more than `octet` octets through, nor what is behind it, as a path that loses large segments"},
	{name: string(faults.Answer), wire: true, by: box, needs: []string{"of", "reply"}, counts: messages, usage: "answers a command of SMTP, `of`, with `reply`, and does not hand it on"},
	{name: string(faults.Split), wire: true, by: talkers, needs: []string{"octet"}, may: []string{"of", "for"}, counts: messages, usage: "sends a message in two pieces: `octet` octets, and the rest `for` later"},
	{name: string(faults.Cut), wire: true, by: talkers, needs: []string{"octet"}, may: []string{"of"}, counts: messages, usage: "sends `octet` octets of a message and closes the connection"},
	{name: string(faults.Stall), wire: true, by: boxServer, needs: []string{"for"}, may: []string{"of"}, counts: messages, usage: "a middlebox holds a message, and all behind it, for `for`; a receive connector its answer at the stage `of`"},

	{name: string(faults.Lose), wire: true, by: talkers, counts: datagrams, usage: "loses RTP packets"},
	{name: string(faults.Burst), wire: true, by: talkers, needs: []string{"count"}, counts: datagrams, usage: "loses `count` RTP packets in a row"},
	{name: string(faults.Jitter), wire: true, by: talkers, needs: []string{"for"}, counts: datagrams, usage: "sends RTP packets up to `for` late, by chance"},
	{name: string(faults.Reorder), wire: true, by: talkers, counts: datagrams, usage: "sends an RTP packet behind the next one"},
	{name: string(faults.Repeat), wire: true, by: talkers, counts: datagrams, usage: "sends RTP packets twice"},
	{name: string(faults.Stop), wire: true, by: talkers, needs: []string{"for"}, usage: "sends no RTP any more once `for` has passed since the first packet"},
	{name: string(faults.Deaf), wire: true, by: talkers, usage: "lets no RTP in: one-way audio"},

	{name: string(faults.Certificate), wire: true, by: secured, needs: []string{"certificate"}, counts: connections, usage: "shows a certificate that is wrong in the way `certificate`, or `good`; a gateway on connections that it opens, a server on those that it accepts"},
	{name: string(faults.TLSAbort), wire: true, by: secured, counts: connections, usage: "breaks the TLS handshake off behind its first message, on such connections"},
	{name: string(faults.NoTLS), wire: true, by: secured, counts: connections, usage: "speaks in clear where TLS is agreed on, on such connections"},

	{name: nat, by: box, early: true, usage: "puts its own address in place of the actor's, in signalling and media, and changes nothing in what they say"},

	{name: string(faults.Status), wire: true, by: secured, needs: []string{"status"}, may: []string{"of"}, counts: "requests", usage: "answers a request with `status` and does nothing; of a server one outside a dialog, of a gateway any but BYE"},
	{name: string(faults.OutOfPorts), wire: true, by: server, counts: "calls", usage: "a worker finds no port for the media of a call"},
	{name: string(faults.WorkerLate), wire: true, by: server, counts: "calls", usage: "its worker process is late to start: the UM service refuses a call for now"},
	{name: string(faults.BadGreeting), wire: true, by: server, counts: "greetings", usage: "a worker cannot play a greeting: it tells of a system error, and hangs up"},
	{name: serverDown, by: server, usage: "none of its services listens"},
	{name: string(faults.Reply), wire: true, by: server, needs: []string{"reply"}, may: []string{"of"}, counts: answers, usage: "a receive connector answers `reply` at the stage `of`, and does nothing"},
	{name: string(faults.Drop), wire: true, by: server, may: []string{"of"}, counts: answers, usage: "a receive connector does what it was told at the stage `of`, and closes the connection in place of the answer"},
	{name: string(faults.Truncate), wire: true, by: server, needs: []string{"octet"}, may: []string{"of"}, counts: answers, usage: "a receive connector sends `octet` octets of its answer at the stage `of`, and closes the connection"},
}

func kindOfFault(name string) *faultKind {
	i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &faultKinds[i]
}

func faultNames(role string) []string {
	var names []string
	for _, f := range faultKinds {
		if role == "" || slices.Contains(f.by, role) {
			names = append(names, f.name)
		}
	}
	return names
}

// Name tells a fault from the others of a scenario, in the names of files.
func (f *PlantedFault) Name() string {
	if f.name != "" {
		return f.name
	}
	name := f.Do
	for _, part := range []string{f.At, f.Of, f.Header, f.SDP, f.Keyword, f.Certificate, string(f.Transport), strconv.Itoa(f.Nth)} {
		if part != "" && part != "0" {
			name += "-" + strings.Map(func(r rune) rune {
				if strings.ContainsRune(nameLetters, r) {
					return r
				}
				return '_'
			}, part)
		}
	}
	return name
}

// settings are those that a fault has, its dose aside.
func (f *PlantedFault) settings() map[string]bool {
	return map[string]bool{
		"of": f.Of != "", "header": f.Header != "", "sdp": f.SDP != "", "keyword": f.Keyword != "", "value": f.Value != "", "status": f.Status != 0,
		"reply": f.Reply != "", "octet": f.Octet != 0, "count": f.Count != 0, "for": f.For != 0,
		"address": f.Address.IsValid(), "port": f.Port != 0, "transport": f.Transport != "", "certificate": f.Certificate != "", "media": f.Media != "",
	}
}

// dose is what of the fault's dose is said.
func (f *PlantedFault) dose() []string {
	said := map[string]bool{"nth": f.Nth != 0, "from": f.From != 0, "every": f.Every != 0, "percent": f.Percent != 0}
	maps.DeleteFunc(said, func(_ string, v bool) bool { return !v })
	return slices.Sorted(maps.Keys(said))
}

// socket is the fault as sockets and servers take it.
func (f *PlantedFault) socket() faults.Fault {
	k := faults.Fault{
		Do: faults.Kind(f.Do), Dose: faults.Dose{Nth: f.Nth, From: f.From, Every: f.Every, Percent: f.Percent},
		Of: f.Of, Header: f.Header, SDP: f.SDP, Keyword: f.Keyword, Value: f.Value, Code: f.Status, Octet: f.Octet, Count: f.Count, For: f.For,
	}
	switch k.Do {
	case faults.Reply, faults.Answer:
		k.Value = f.Reply
	case faults.Certificate:
		k.Value = f.Certificate
	}
	return k
}

// roleOf is what a party is, "" if there is none of this name.
func (s *Scenario) roleOf(name string) string {
	if a, ok := s.Actors[name]; ok {
		return a.Role
	}
	if s.Organisation != nil && s.Organisation.ServerNamed(name) != nil {
		return roleServer
	}
	return ""
}

// a is a role with its article.
func a(role string) string {
	if role == roleGateway {
		return "an " + role
	}
	return "a " + role
}

func knownRole(role string) bool {
	return role == roleGateway || role == roleMail || role == roleBox
}
