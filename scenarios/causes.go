package scenarios

import (
	"cmp"
	_ "embed"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Cause is why a step may have failed.
type Cause struct {
	Pos     yamlfile.Pos
	ID      string    `yaml:"id,required" doc:"its name"`
	About   topic     `yaml:"about" default:"call" enum:"call,media,mail,options,lamp,any" doc:"what the steps are about whose failure it explains"`
	Got     string    `yaml:"got" doc:"what the step got, if that matters"`
	Has     []Matcher `yaml:"has,required" doc:"events that the trace holds"`
	Lacks   []Matcher `yaml:"lacks" doc:"events that it does not hold"`
	Behind  []Matcher `yaml:"lacks-behind" doc:"events that it does not hold behind the first of has"`
	Altered bool      `yaml:"altered" doc:"a message of the call came otherwise than it left, between a simulated gateway and the organisation: {altered} says how"`
	Heard   string    `yaml:"heard" enum:"altered" doc:"what the mail host heard last was said by no receive connector"`
	Source  string    `yaml:"source" enum:"changed" doc:"no connection came from the mail host's address"`
	Calls   string    `yaml:"calls" default:"any" enum:"any,direct,to-device" doc:"which calls it explains: direct ones go to the organisation, others to a device"`
	Side    string    `yaml:"side,required" enum:"device,network,bench,unknown" doc:"where it lies"`
	Text    string    `yaml:"cause,required" doc:"what is wrong"`
	Next    string    `yaml:"next,required" doc:"what to do"`
	Ref     string    `yaml:"ref,required" doc:"what it rests on"`
}

//go:embed causes.yaml
var causesText []byte

// Causes is the table of causes, from the narrowest to the widest.
var Causes = sync.OnceValue(func() []Cause {
	causes, err := loadCauses("causes.yaml", causesText)
	if err != nil {
		panic(err) // the file is ours, and a test reads it
	}
	return causes
})

func loadCauses(name string, text []byte) ([]Cause, error) {
	var causes []Cause
	f, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	f.Decode(f.Root, &causes)
	l := loader{f: f, s: &Scenario{}}
	seen := map[string]bool{}
	for _, c := range causes {
		if seen[c.ID] {
			f.Report(c.Pos, "", "cause %q stands twice", c.ID)
		}
		seen[c.ID] = true
		l.words(&c)
		for _, list := range [][]Matcher{c.Has, c.Lacks, c.Behind} {
			for i := range list {
				l.event(list[i].Pos, list[i].Event)
				l.fields(list[i].Pos, list[i].Event, list[i].Where)
				l.values(list[i].Where)
				l.values(list[i].Header)
				l.values(list[i].SDP)
				l.value(&list[i].Body)
			}
		}
	}
	return causes, f.Err()
}

// words checks that the texts of a cause name fields of the event that fills
// them in.
func (l *loader) words(c *Cause) {
	known, _ := fieldsOf(c.Has[0].Event)
	for _, name := range placeholder.FindAllString(c.Text+c.Next, -1) {
		if name = strings.Trim(name, "{}"); name != "altered" && !slices.Contains(known, name) {
			l.f.Report(c.Pos, yamlfile.Suggest(name, known), "cause %s: %s has no field %q", c.ID, c.Has[0].Event, name)
		}
	}
}

// unknownCause is what is said where no cause fits: nothing is guessed.
const unknownCause = "unknown: no known cause fits what the trace shows"

// topic is what a step, or a cause, is about.
type topic string

const (
	aboutCall    topic = "call"
	aboutMedia   topic = "media"
	aboutMail    topic = "mail"
	aboutOptions topic = "options"
	aboutLamp    topic = "lamp"
	aboutAny     topic = "any"
)

// about are the topics of a step.
func (s *Step) about() []topic {
	switch a := s.action.(type) {
	case *sendMail, *session:
		return []topic{aboutMail}
	case *awaitMail:
		switch {
		case a.Call == "":
			return []topic{aboutMail}
		case a.Audio == "":
			return []topic{aboutCall, aboutMail}
		}
		return []topic{aboutCall, aboutMedia, aboutMail}
	case *expect:
		return a.about()
	case *repeat:
		return a.about()
	case *options:
		return []topic{aboutCall, aboutOptions}
	case *plantFault, *setGateway, *maintenance, *pressure, *recycle:
		return nil // what exsim was told to do, and could not
	}
	return []topic{aboutCall}
}

// about are the topics of a matcher, by its event.
func (m *Matcher) about() []topic {
	switch kind, _, _ := strings.Cut(m.Event, "."); {
	case kind == "smtp", kind == "mailhost", kind == "send":
		return []topic{aboutMail}
	case kind == "mail", kind == "fault":
		return []topic{aboutCall, aboutMail}
	case strings.HasPrefix(m.Event, "um.gateway_"):
		return []topic{aboutCall, aboutOptions}
	case strings.HasPrefix(m.Event, "um.mwi"), m.Event == "gateway.lamp":
		return []topic{aboutCall, aboutLamp}
	case kind == "rtp", m.Event == "um.recorded":
		return []topic{aboutCall, aboutMedia}
	}
	return []topic{aboutCall}
}

func (c *Cause) explains(about []topic) bool {
	return c.About == aboutAny || slices.Contains(about, c.About)
}

// alteredCall is how a call was altered, where nothing but the network can have
// done so. What was on its way at the end does not count.
func (j *judge) alteredCall(call string, session trace.Session) string {
	if !j.s.plain(call) {
		return ""
	}
	how, _, _ := j.altered(session, len(j.events))
	if strings.HasSuffix(how, didNotCome) {
		return ""
	}
	return how
}

// fitsCall reports whether a cause explains calls to an actor, or with "" to the
// organisation.
func (c *Cause) fitsCall(called string) bool {
	return c.Calls == "any" || (c.Calls == "direct") == (called == "")
}

// explain says why a step failed.
func (j *judge) explain(v *Verdict, call string, about []topic) {
	v.Side, v.Cause, v.Next = "unknown", unknownCause, "look at the ladder around event and got; a saved trace (--save) can be sent along with a question"
	session := j.calls[call]
	j.scope(call)
	for _, c := range Causes() {
		if about == nil || c.Got != "" && c.Got != v.Got || !c.explains(about) || !c.fitsCall(j.s.calledActor(call)) {
			continue
		}
		altered := ""
		if c.Altered {
			if altered = j.alteredCall(call, session); altered == "" {
				continue
			}
		}
		if first, ok := j.fits(&c, session); ok && j.onTheWay(&c, first) {
			text := strings.ReplaceAll(fillIn(c.Text, first), "{altered}", altered)
			v.CauseID, v.Side, v.Cause, v.Next, v.Ref = c.ID, c.Side, text, fillIn(c.Next, first), c.Ref
			return
		}
	}
}

// fits reports whether the trace shows what a cause says, and the event that
// shows it first.
func (j *judge) fits(c *Cause, session trace.Session) (first *trace.Event, ok bool) {
	for i := range c.Has {
		e := j.shows(&c.Has[i], session, 0)
		if e == nil {
			return nil, false
		}
		if first == nil {
			first = e
		}
	}
	for i := range c.Lacks {
		if j.shows(&c.Lacks[i], session, 0) != nil {
			return nil, false
		}
	}
	for i := range c.Behind {
		if j.shows(&c.Behind[i], session, first.Seq) != nil {
			return nil, false
		}
	}
	return first, first != nil
}

// onTheWay holds what a mail host heard, and where it stands, against what left
// and came at the organisation, where a cause asks for that.
func (j *judge) onTheWay(c *Cause, first *trace.Event) bool {
	host, _ := netip.ParseAddrPort(first.Text("local"))
	for i := range j.events {
		switch e := &j.events[i]; {
		case c.Heard != "" && e.Name == "smtp.sent" && first.Text("heard") == strings.ReplaceAll(strings.TrimRight(string(e.Raw), "\r\n"), "\r\n", "\n"):
			return false
		case c.Source != "" && e.Name == "smtp.connected":
			if peer, err := netip.ParseAddrPort(e.Text("peer")); err == nil && peer.Addr() == host.Addr() {
				return false
			}
		}
	}
	return true
}

// shows finds an event of a call, or of no call at all, from a number on.
func (j *judge) shows(m *Matcher, session trace.Session, from uint64) *trace.Event {
	for i := range j.events {
		e := &j.events[i]
		if e.Seq < from {
			continue
		}
		if session.Kind != "" && e.Session.Kind == session.Kind && e.Session != session || e.Session.Kind == "" && !j.concerns(e) {
			continue
		}
		if ok, _, _ := m.matches(e, j.calls); ok {
			return e
		}
	}
	return nil
}

// scope sets which events without a session can explain a failure of a call:
// those since it was placed that no other actor brought about.
func (j *judge) scope(id string) {
	j.since, j.others, j.ofCall = 0, nil, id != ""
	n, actor := j.s.opening(id)
	if n == 0 {
		return
	}
	if i, ran := j.step[n]; ran {
		j.since = i
	}
	for name, a := range j.s.Actors {
		if name != actor && name != j.s.calledActor(id) && a.Between != actor && a.Address != j.s.Actors[actor].Address {
			j.others = append(j.others, a.Address)
		}
	}
}

func (j *judge) concerns(e *trace.Event) bool {
	if strings.HasPrefix(e.Name, "um.gateway_") {
		return !j.ofCall // OPTIONS are asked for all the time, and explain no call
	}
	peer, err := netip.ParseAddrPort(e.Text("peer"))
	return (err != nil || !slices.Contains(j.others, peer.Addr())) && e.Seq >= j.events[j.since].Seq
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// fillIn puts fields of an event in place of their names.
func fillIn(text string, e *trace.Event) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		key := strings.Trim(name, "{}")
		v, _ := e.Get(key)
		if d, ok := v.(time.Duration); ok {
			return d.Round(time.Millisecond).String()
		}
		return cmp.Or(e.Text(key), name)
	})
}
