package observe

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/transport"
)

// MailServer is a receive connector that is observed.
type MailServer struct {
	// Dial opens a connection to it; some are opened one after the other.
	Dial func() (net.Conn, error)
	// Timeout bounds the wait for one answer; a refusal is delayed by five seconds.
	Timeout time.Duration
}

// mailQuestions are asked on a connection each: none brings a message about, and
// no connection sees more errors than a server takes. The reply to the last line
// is a fact.
var mailQuestions = []struct {
	name  string
	lines []string
	reply string
}{
	{"NOOP", []string{"EHLO observe.invalid", "NOOP"}, "noop"},
	{"RSET", []string{"EHLO observe.invalid", "RSET"}, "reset"},
	{"HELP", []string{"EHLO observe.invalid", "HELP"}, "help"},
	{"VRFY of a name that nobody has", []string{"EHLO observe.invalid", "VRFY exsim-observe"}, "vrfy"},
	{"a verb that does not exist", []string{"EHLO observe.invalid", "XEXSIM"}, "unrecognized"},
	{"MAIL before EHLO", []string{"MAIL FROM:<>"}, "send-hello"},
	{"EHLO with a name that is none", []string{"EHLO observe_invalid"}, "invalid-domain"},
	{"RCPT before MAIL", []string{"EHLO observe.invalid", "RCPT TO:<exsim-observe@exsim.invalid>"}, "need-mail"},
	{"MAIL with a parameter that does not exist", []string{"EHLO observe.invalid", "MAIL FROM:<> XEXSIM=1"}, "invalid-arguments"},
	{"MAIL", []string{"EHLO observe.invalid", "MAIL FROM:<>"}, "sender-ok"},
	{"MAIL within MAIL", []string{"EHLO observe.invalid", "MAIL FROM:<>", "MAIL FROM:<>"}, "sender-specified"},
	{"DATA before RCPT", []string{"EHLO observe.invalid", "MAIL FROM:<>", "DATA"}, "need-rcpt"},
	{"a recipient in a domain that nobody has", []string{"EHLO observe.invalid", "MAIL FROM:<>", "RCPT TO:<exsim-observe@exsim.invalid>"}, "unable-to-relay"},
	{"QUIT", []string{"QUIT"}, "quit"},
}

// classes are the first digits that a reply must have to be what its name says.
var classes = map[string]string{"noop": "2", "reset": "2", "help": "2", "vrfy": "2", "sender-ok": "2", "quit": "2"}

// Ask puts the questions and returns what came.
func (m *MailServer) Ask() (answers []Answer, seen []Seen) {
	for _, q := range mailQuestions {
		reply, err := m.ask(q.lines)
		a := Answer{Question: q.name}
		if err != nil {
			a.Fault = "no answer: " + err.Error()
			answers = append(answers, a)
			continue
		}
		a.Status, _ = strconv.Atoi(reply[:3])
		a.Reason = strings.ReplaceAll(reply[4:], "\n", " | ")
		answers = append(answers, a)
		want := classes[q.reply]
		if want == "" {
			want = "5"
		}
		if strings.HasPrefix(reply, want) {
			seen = append(seen, Seen{replyKey + q.reply, strconv.Quote(strings.ReplaceAll(reply, "'XEXSIM'", "'{verb}'")), q.name})
		}
	}
	return answers, seen
}

// replyKey begins the keys of replies among facts.
const replyKey = "smtp.reply."

func (m *MailServer) ask(lines []string) (string, error) {
	nc, err := m.Dial()
	if err != nil {
		return "", err
	}
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 8<<10)
	reply, err := m.reply(nc, r)
	for i := 0; i < len(lines) && err == nil; i++ {
		if !strings.HasPrefix(reply, "2") {
			return "", fmt.Errorf("it could not be asked, because of %s", reply)
		}
		if _, err = io.WriteString(nc, lines[i]+"\r\n"); err == nil {
			reply, err = m.reply(nc, r)
		}
	}
	if err == nil && len(reply) < 4 {
		err = fmt.Errorf("%q is no reply", reply)
	}
	return reply, err
}

// reply reads a whole reply, its lines joined by a line feed.
func (m *MailServer) reply(nc net.Conn, r *bufio.Reader) (string, error) {
	_ = nc.SetDeadline(time.Now().Add(m.Timeout))
	var lines []string
	for len(lines) < maxLines {
		l, err := r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		text := strings.TrimRight(string(l), "\r\n")
		lines = append(lines, text)
		if len(text) < 4 || text[3] != '-' {
			return strings.Join(lines, "\n"), nil
		}
	}
	return "", errors.New("a reply without end")
}

// Greeting is what a connector says of itself.
type Greeting struct {
	Banner      string
	Clear, TLS  []string // lines of EHLO behind the first
	First       string   // the first
	Version     string   // of TLS
	Certificate string   // its subject
	Fault       string   // why there is no TLS
}

// Greet reads the banner and EHLO's answer, in clear and behind STARTTLS. Whoever
// answers is to be looked at: its certificate is shown, not judged.
func (m *MailServer) Greet() (g Greeting, err error) {
	nc, err := m.Dial()
	if err != nil {
		return g, err
	}
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 8<<10)
	if g.Banner, err = m.reply(nc, r); err != nil {
		return g, err
	}
	if g.First, g.Clear, err = m.ehlo(nc, r); err != nil {
		return g, err
	}
	if _, err := io.WriteString(nc, "STARTTLS\r\n"); err != nil {
		return g, err
	}
	reply, err := m.reply(nc, r)
	if err != nil || !strings.HasPrefix(reply, "220") {
		g.Fault = "STARTTLS was answered " + reply
		return g, err
	}
	t := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}) //nolint:gosec // see above
	if err := t.Handshake(); err != nil {
		g.Fault = "TLS: " + err.Error()
		return g, nil
	}
	state := t.ConnectionState()
	g.Version, g.Certificate = tls.VersionName(state.Version), state.PeerCertificates[0].Subject.String()
	_, g.TLS, err = m.ehlo(t, bufio.NewReaderSize(t, 8<<10))
	return g, err
}

func (m *MailServer) ehlo(nc net.Conn, r *bufio.Reader) (first string, rest []string, err error) {
	if _, err = io.WriteString(nc, "EHLO observe.invalid\r\n"); err != nil {
		return "", nil, err
	}
	reply, err := m.reply(nc, r)
	if err == nil && !strings.HasPrefix(reply, "250") {
		err = errors.New("EHLO was answered " + reply)
	}
	if err != nil {
		return "", nil, err
	}
	for i, l := range strings.Split(reply, "\n") {
		if text := l[min(4, len(l)):]; i == 0 {
			first = text
		} else {
			rest = append(rest, text)
		}
	}
	return first, rest, nil
}

var exchangeBanner = regexp.MustCompile(`^220 (\S+) Microsoft ESMTP MAIL Service ready at (Mon|Tue|Wed|Thu|Fri|Sat|Sun), [1-9][0-9]? \S{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$`)

// CompareGreeting holds what a connector says of itself against one of the
// profile's.
func CompareGreeting(p *profile.Profile, row string, g Greeting) []Verdict {
	f := p.Connectors[row]
	c := &org.Connector{Tail: f.Tail, ConnectorSettings: f.ConnectorSettings}
	known := func(value string) profile.Fact {
		return profile.Fact{Key: "connector." + row, Value: value, Standing: f.Standing, Source: f.Source}
	}
	banner := "Exchange's form"
	if !exchangeBanner.MatchString(g.Banner) {
		banner = g.Banner
	}
	list := []Verdict{{Seen: Seen{"banner", banner, "connect"}, Known: known("Exchange's form"), Same: banner == "Exchange's form"}}
	for _, s := range []struct {
		key, verb string
		got       []string
	}{{"ehlo in clear", "", g.Clear}, {"ehlo behind STARTTLS", "STARTTLS", g.TLS}} {
		if s.verb != "" && g.Fault != "" {
			list = append(list, Verdict{Seen: Seen{s.key, g.Fault, "STARTTLS"}, Known: known("TLS")})
			continue
		}
		want := strings.Join(transport.Keywords(p, c, transport.Security{Verb: s.verb, Certificate: true}), ", ")
		got := strings.Join(s.got, ", ")
		list = append(list, Verdict{Seen: Seen{s.key, got, "EHLO"}, Known: known(want), Same: got == want})
	}
	return list
}
