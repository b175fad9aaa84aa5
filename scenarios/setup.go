package scenarios

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// Setup is one sheet in plain words for whoever sets up the device that plays
// the gateways of a scenario: what to enter, what to open, what to switch on,
// and what will have to be done.
func (s *Scenario) Setup(ports sim.Ports) (string, error) {
	p, err := profile.Load(s.Organisation.Version)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range names(s.Actors) {
		if a := s.Actors[name]; a.Role == roleBox || s.Guided() && a.Device != External { // it is simulated
			continue
		}
		sheet := setupSheet{s: s, p: p, plan: sim.Plan(s.Organisation, p, ports)}
		sheet.fill(name)
		b.WriteString(sheet.String())
	}
	return b.String(), nil
}

// setupSheet is filled in section by section.
type setupSheet struct {
	s        *Scenario
	p        *profile.Profile
	plan     []sim.PlannedPort
	sections []setupSection
}

type setupSection struct {
	title string
	lines []string
}

func (t *setupSheet) section(title string) {
	t.sections = append(t.sections, setupSection{title: title})
}

// line adds a titled line; an empty title continues the one before.
func (t *setupSheet) line(title, format string, args ...any) {
	last := &t.sections[len(t.sections)-1]
	last.lines = append(last.lines, fmt.Sprintf("  %-22s %s", title, t.s.mask(fmt.Sprintf(format, args...))))
}

// fill says all that an actor's device needs.
func (t *setupSheet) fill(actor string) {
	if a := t.s.Actors[actor]; a.Role == roleMail {
		t.mailHost(actor, a)
	} else {
		t.device(actor, a)
	}
}

// String is the sheet by itself.
func (t *setupSheet) String() string {
	var b strings.Builder
	for i, s := range t.sections {
		if i > 0 && len(t.sections[0].lines) > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, s.title)
		for _, l := range s.lines {
			fmt.Fprintln(&b, l)
		}
	}
	fmt.Fprintln(&b)
	return b.String()
}

// plain adds a line without a title.
func (t *setupSheet) plain(format string, args ...any) {
	last := &t.sections[len(t.sections)-1]
	last.lines = append(last.lines, "  "+t.s.mask(fmt.Sprintf(format, args...)))
}

func (t *setupSheet) title(kind, name string) {
	t.section(fmt.Sprintf("SET UP THE %s %s for %s", kind, name, t.s.Name))
	if t.s.Summary != "" {
		t.plain("%s", t.s.Summary)
	}
}

func (t *setupSheet) device(name string, a Actor) {
	o := t.s.Organisation
	t.title("DEVICE", name)
	object := o.GatewayAt(a.Address)
	t.section("Addresses")
	t.line("the device calls from", "%s", a.Address)
	if object == nil {
		t.line("", "no UM IP gateway has this address: the scenario is about a stranger")
	}
	t.routers(a)
	for _, pilot := range t.pilots(name) {
		t.line("to the trunk goes", "the number %s", pilot)
	}
	t.inward(name, a)
	t.transport(a, object)
	t.redirects(a)
	t.media(a)
	t.switches(name, object)
	t.paths(name)
	t.purpose()
	t.todo(name)
}

// paths is who stands in the device's place while its paths are proven.
func (t *setupSheet) paths(actor string) {
	if !t.s.ForPaths() {
		return
	}
	t.section("Paths, before the first call")
	t.line("in the device's place", "exsim listen %s --as %s, on a machine with its address, with the same EXSIM_SECRET", t.s.File, actor)
	t.line("the filter lets pass", "what exsim plan %s lists, and meanwhile tcp/7800 to that machine", t.s.File)
}

func transportOf(a Actor) string { return string(cmp.Or(a.Transport, TCP)) }

// where lists the addresses of a service.
func (t *setupSheet) where(service, transport string) []string {
	var list []string
	for _, k := range t.plan {
		if k.Row.Service == service && k.Row.Transport == transport {
			list = append(list, port(&k))
		}
	}
	return list
}

func port(k *sim.PlannedPort) string {
	if k.Bound == 0 {
		return fmt.Sprintf("%s, a port that exsim run prints", k.Server.Public())
	}
	at := netip.AddrPortFrom(k.Server.Public(), k.Bound).String()
	if k.Bound != k.Documented {
		at += fmt.Sprintf(" (Exchange has %d)", k.Documented)
	}
	return at
}

func (t *setupSheet) routers(a Actor) {
	for i, at := range t.where(t.p.Front(), transportOf(a)) {
		title := ""
		if i == 0 {
			title = "the trunk goes to"
		}
		t.line(title, "%s", at)
	}
}

// inward is what calls the device itself.
func (t *setupSheet) inward(actor string, a Actor) {
	for i := range t.s.Steps {
		if c, ok := t.s.Steps[i].action.(*call); ok && c.To == actor {
			t.line("the device is called", "at port %d over %s, by %s from %s: %s", a.port(), strings.ToUpper(transportOf(a)), c.From, t.s.Actors[c.From].Address, c.Dial)
		}
	}
}

// pilots are the numbers that an actor dials, or hands on.
func (t *setupSheet) pilots(actor string) []string {
	var list []string
	for i := range t.s.Steps {
		if c, ok := t.s.Steps[i].action.(*call); ok && (c.From == actor && c.To == "" || c.To == actor && !t.s.answers(actor)) && !slices.Contains(list, c.Dial) {
			list = append(list, c.Dial)
		}
	}
	return list
}

func (t *setupSheet) transport(a Actor, object *org.UMIPGateway) {
	t.section("Transport")
	if transportOf(a) == "tcp" {
		t.line("SIP over", "TCP; never UDP")
		return
	}
	t.line("SIP over", "TLS %s or newer, with certificates on both sides", cmp.Or(t.s.Organisation.TLS.MinVersion, t.p.TLS.MinVersion))
	if object != nil {
		how := fmt.Sprintf("exsim pki issue %s, or exsim pki sign its request", object.FQDN)
		if a.Certificate != good && a.Certificate != "" {
			how = fmt.Sprintf("exsim pki bad %s --kind %s", object.FQDN, a.Certificate)
		}
		t.line("the device shows", "%s (%s)", fmt.Sprintf(shown[cmp.Or(a.Certificate, good)], object.FQDN), how)
	}
	t.line("the device trusts", "the lab's authority (exsim pki export > ca.pem); exsim run --authority FOLDER, or tls: {authority: FOLDER} in the organisation")
}

func (t *setupSheet) redirects(a Actor) {
	tr := transportOf(a)
	t.section("Redirects: each call is answered 302 first, and the device follows")
	if t.p.Front() != "um-service" {
		for _, at := range t.where("um-service", tr) {
			t.line("the UM service", "%s", at)
		}
	}
	for _, at := range t.where("um-worker", tr) {
		t.line("a worker process", "%s", at)
	}
	t.line("host and port", "are those of the Contact, for each call anew; all headers are kept, Diversion above all")
}

func (t *setupSheet) media(a Actor) {
	o := t.s.Organisation
	t.section("Media")
	kind := "RTP (RTP/AVP)"
	if a.Media == SRTP {
		kind = "SRTP (RTP/SAVP, a=crypto AES_CM_128_HMAC_SHA1_80)"
	}
	t.line("audio", "%s: G.711 mu-law or A-law, 20 ms; keys as telephone events (RFC 4733)", kind)
	for i := range o.Servers {
		if s := &o.Servers[i]; s.Has(org.Role(t.p.RoleOf("um-worker"))) {
			t.line("UDP to and from", "%s, ports %d to %d", s.Public(), o.RTP.Low, o.RTP.High)
		}
	}
}

// switches are what must be switched on for the steps of this scenario.
func (t *setupSheet) switches(actor string, object *org.UMIPGateway) {
	t.section("To be switched on")
	t.line("OPTIONS", "answered with 200, from every UM server, every %s", t.p.UM.GatewayProbeInterval)
	if object != nil {
		t.line("", "at port %d of the device", object.Port)
	}
	for i := range t.s.Steps {
		c, ok := t.s.Steps[i].action.(*call)
		if !ok || c.From != actor && c.To != actor {
			continue
		}
		if c.Diverted != "" {
			t.line("Diversion", "with the extension (%s) and the reason (%s) on forwarded calls (RFC 5806)", c.Diverted, c.Reason)
		}
		if c.Session != 0 {
			t.line("session timer", "%s (RFC 4028)", c.Session)
		}
		if c.Late {
			t.line("late offer", "the INVITE has no SDP")
		}
	}
	for _, number := range names(t.s.Actors[actor].Telephones) {
		t.line("telephone "+number, "does not take calls: it answers %d", t.s.Actors[actor].Telephones[number])
	}
}

func (t *setupSheet) todo(name string) {
	t.section("What will have to be done, each when exsim run says so")
	n := 0
	for i := range t.s.Steps {
		step := &t.s.Steps[i]
		if g, ok := step.action.(guide); ok && t.s.actor(step) == name {
			n++
			t.plain("%d. %s", n, g.instruction(t.s))
		}
	}
	if n == 0 {
		t.plain("nothing: the run does it all")
	}
}

// mailHost is the sheet of a host that sends mail.
func (t *setupSheet) mailHost(name string, a Actor) {
	t.title("MAIL HOST", name)
	t.section("Addresses")
	t.line("the host sends from", "%s", a.Address)
	title := "it sends to"
	for _, k := range t.plan {
		if k.Row.ID == t.p.MailRow() {
			t.line(title, "%s, by SMTP, without a log-on", port(&k))
			title = "or"
		}
	}
	t.line("mail goes to", "the domain %s", t.s.Organisation.Domain)
	t.section("TLS")
	t.line("STARTTLS", "is offered; the certificate names the server and is of the lab's authority: for a host that verifies it, tls: {authority: FOLDER} in the organisation, and exsim pki export > ca.pem")
	t.paths(name)
	t.purpose()
	t.todo(name)
}

// purpose says what the organisation will do wrong, so that nobody looks for the
// reason elsewhere.
func (t *setupSheet) purpose() {
	var lines []string
	add := func(f *PlantedFault, when string) {
		if t.s.roleOf(f.Actor) != roleServer {
			return
		}
		text := f.Actor + ": " + f.Do
		for _, part := range [...][2]string{{"at", f.At}, {"of", f.Of}, {"", f.when()}} {
			if part[1] != "" {
				text += " " + strings.TrimSpace(part[0]+" "+part[1])
			}
		}
		if f.Reply != "" {
			text += ": " + f.Reply
		}
		if strings.HasPrefix(f.Reply, "4") {
			text += "; the message is to come again while exsim run waits (--patience)"
		}
		lines = append(lines, text+when)
	}
	for i := range t.s.Faults {
		add(&t.s.Faults[i], "")
	}
	for i := range t.s.Steps {
		if f, ok := t.s.Steps[i].action.(*plantFault); ok && !f.Lift {
			add(&f.PlantedFault, ", from a step on")
		}
	}
	if len(lines) == 0 {
		return
	}
	t.section("What Exchange will do wrong on purpose")
	for _, l := range lines {
		t.line("", "%s", l)
	}
}
