package scenarios

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/mailhost"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// session is a session at a receive connector of which each line, and each
// octet, is said by the file.
type session struct {
	From   string        `yaml:"from,required" doc:"actor that speaks, a simulated mail-host"`
	Server string        `yaml:"server" doc:"name of the server; left out: the one that takes mail from everybody"`
	At     string        `yaml:"at" doc:"its listener, such as client-frontend; left out: the one that takes mail from everybody"`
	Script []line        `yaml:"script,required" doc:"what is said and awaited, in this order"`
	Within time.Duration `yaml:"within" default:"30s" doc:"time for all of it"`
}

// line is one thing in a session; exactly one field is set.
type line struct {
	Pos      yamlfile.Pos
	Read     *string       `yaml:"read" doc:"a whole reply that this regular expression fits; its lines are joined by a line feed"`
	Say      *string       `yaml:"say" doc:"a line, sent with CRLF"`
	Octets   *string       `yaml:"octets" doc:"octets as they are, such as \"DATA\\r\\n\""`
	StartTLS *startTLS     `yaml:"starttls" doc:"says STARTTLS, awaits 220 and begins TLS"`
	Login    *login        `yaml:"login" doc:"logs on; that it succeeds is part of it"`
	Message  *content      `yaml:"message" doc:"a message with its last line, the full stop, behind DATA and its 354"`
	Chunk    *content      `yaml:"chunk" doc:"BDAT with its octets"`
	Wait     time.Duration `yaml:"wait" doc:"says nothing for so long"`
	Closed   bool          `yaml:"closed" doc:"true waits until the connection is closed from the other side"`
	Close    bool          `yaml:"close" doc:"true closes the connection"`
	Reset    bool          `yaml:"reset" doc:"true resets the connection"`
	Repeat   int           `yaml:"repeat" doc:"how often this is done, one time behind the other"`
	Piece    int           `yaml:"piece" doc:"octets of say, octets, message or chunk in one segment; left out: all in one"`
}

type startTLS struct {
	Verb    string `yaml:"verb" default:"STARTTLS" doc:"in its place, such as X-ANONYMOUSTLS"`
	Version string `yaml:"version" enum:"1.0,1.1,1.2,1.3" doc:"the only one that is offered"`
	Shows   string `yaml:"certificate" doc:"that is shown: own (HOST.fabrikam.example), the name of a server whose certificate it is, or a kind of exsim pki bad; left out: none"`
	Verify  bool   `yaml:"verify" doc:"true verifies the certificate against the organisation's authority, and the server's name"`
}

type login struct {
	Verb      string `yaml:"verb" default:"AUTH" doc:"in its place, such as X-EXPS"`
	Mechanism string `yaml:"mechanism" default:"LOGIN" enum:"LOGIN,PLAIN" doc:"by which"`
	User      string `yaml:"user,required" doc:"name"`
	Password  string `yaml:"password,required" doc:"of the user; see secrets"`
}

type content struct {
	Size    int               `yaml:"size" default:"1000" doc:"octets of text, at most 50000000"`
	Headers map[string]string `yaml:"headers" doc:"header fields beside From, To, Subject and Date"`
	Subject string            `yaml:"subject" default:"exsim" doc:"of the message"`
	Part    string            `yaml:"part" default:"whole" enum:"whole,text" doc:"whole: with its header section; text: a part of the text alone"`
	Last    bool              `yaml:"last" doc:"of a chunk: it is the last one"`
}

func (s *session) actorName() string { return s.From }

func (s *session) check(l *loader) string {
	l.actor(l.at("from"), s.From, roleMail)
	if l.s.Actors[s.From].Device == External {
		l.f.Report(l.at("from"), "send", "session: %s is an external device: it says what it says", s.From)
	}
	if s.Server != "" {
		l.server(l.at("server"), s.Server, "")
	}
	if s.At != "" {
		l.listener(l.at("at"), s.At)
	}
	if len(s.Script) == 0 {
		l.f.Report(l.at("script"), "- read: ^220", "session: the script is empty")
	}
	for i := range s.Script {
		if t := s.Script[i].StartTLS; t != nil && t.Shows != lab.OwnCertificate && (l.s.Organisation == nil || l.s.Organisation.ServerNamed(t.Shows) == nil) {
			l.certificate(s.Script[i].Pos, t.Shows)
		}
		if why := s.Script[i].wrong(); why != "" {
			l.f.Report(s.Script[i].Pos, "read, say, octets, starttls, login, message, chunk, wait, closed, close or reset", "session: %s", why)
		}
	}
	return fmt.Sprintf("%s says %d things", s.From, len(s.Script))
}

// wrong is what is wrong with a line, "" if nothing is.
func (n *line) wrong() string {
	set := 0
	for _, is := range []bool{n.Read != nil, n.Say != nil, n.Octets != nil, n.StartTLS != nil, n.Login != nil, n.Message != nil, n.Chunk != nil, n.Wait > 0, n.Closed, n.Close, n.Reset} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Sprintf("a line of a script does one thing, not %d", set)
	}
	if n.Read != nil {
		if _, err := regexp.Compile(*n.Read); err != nil {
			return err.Error()
		}
	}
	for _, c := range []*content{n.Message, n.Chunk} {
		if c != nil && (c.Size < 0 || c.Size > 50_000_000) {
			return fmt.Sprintf("size %d", c.Size)
		}
	}
	if n.Repeat < 0 || n.Repeat > 10000 {
		return fmt.Sprintf("repeat %d: at most 10000", n.Repeat)
	}
	if n.Piece < 0 {
		return fmt.Sprintf("piece %d", n.Piece)
	}
	return ""
}

func (s *session) do(ctx context.Context, r *run, _ int) error {
	to, name, err := r.connector(s.Server, s.At)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	var actions []mailhost.Action
	var lines []int // of the file, by action
	for i := range s.Script {
		script := s.Script[i].actions()
		if t := s.Script[i].StartTLS; t != nil && t.Shows != "" {
			cert, err := r.lab.MailCertificate(s.From, t.Shows)
			if err != nil {
				return err
			}
			script[len(script)-1].TLS.Shows = &cert
		}
		for range max(1, s.Script[i].Repeat) {
			for _, a := range script {
				actions, lines = append(actions, a), append(lines, s.Script[i].Pos.Line)
			}
		}
	}
	done, err := r.lab.Mail[s.From].Play(ctx, to, name, actions)
	if err != nil {
		return fmt.Errorf("line %d of the file: %w", lines[min(done, max(0, len(lines)-1))], err)
	}
	return nil
}

// connector is a listener of a server, by default the one that takes mail from
// everybody, and the name in its certificate.
func (r *run) connector(server, at string) (netip.AddrPort, string, error) {
	if server == "" && at == "" {
		return r.lab.MailFront()
	}
	for i := range r.s.Organisation.Servers {
		name := r.s.Organisation.Servers[i].Name
		if server != "" && name != server {
			continue
		}
		if l := r.x.Listener(name, cmp.Or(at, r.x.Profile().MailRow())); l != nil {
			return l.Addr(), l.Server.FQDN, nil
		}
	}
	return netip.AddrPort{}, "", fmt.Errorf("no server has the listener %s", at)
}

// actions are what a line of the script is made of.
func (n *line) actions() []mailhost.Action {
	say := func(text string) mailhost.Action { return mailhost.Action{Line: &text, Piece: n.Piece} }
	octets := func(b []byte) mailhost.Action { return mailhost.Action{Octets: b, Piece: n.Piece} }
	switch {
	case n.Read != nil:
		return []mailhost.Action{{Read: regexp.MustCompile(*n.Read)}}
	case n.Say != nil:
		return []mailhost.Action{say(*n.Say)}
	case n.Octets != nil:
		return []mailhost.Action{octets([]byte(*n.Octets))}
	case n.StartTLS != nil:
		t := n.StartTLS
		return []mailhost.Action{say(t.Verb), {Read: regexp.MustCompile("^220")}, {TLS: &mailhost.Handshake{Only: profile.TLSVersion(t.Version), Verify: t.Verify}}}
	case n.Login != nil:
		return []mailhost.Action{{Login: &mailhost.Login{Verb: n.Login.Verb, Mechanism: n.Login.Mechanism, User: n.Login.User, Password: n.Login.Password}}}
	case n.Message != nil:
		return []mailhost.Action{octets(append(n.Message.text(), ".\r\n"...))}
	case n.Chunk != nil:
		b := n.Chunk.text()
		last := map[bool]string{true: " LAST"}[n.Chunk.Last]
		return []mailhost.Action{octets(append(fmt.Appendf(nil, "BDAT %d%s\r\n", len(b), last), b...))}
	case n.Wait > 0:
		return []mailhost.Action{{Wait: n.Wait}}
	}
	return []mailhost.Action{{Closed: n.Closed, Close: n.Close, Reset: n.Reset}}
}

// text is what is sent as a message, or as a part of its text.
func (c *content) text() []byte {
	var b strings.Builder
	if c.Part != "text" {
		fmt.Fprintf(&b, "From: <bob@fabrikam.example>\r\nTo: <undisclosed>\r\nSubject: %s\r\nDate: %s\r\n", c.Subject, time.Now().Format(time.RFC1123Z))
		for _, name := range names(c.Headers) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, c.Headers[name])
		}
		b.WriteString("\r\n")
	}
	return append([]byte(b.String()), filler(c.Size)...)
}

// filler is text of a size, whole lines but for the last.
func filler(size int) []byte {
	const line = "This line was written by exsim, and says nothing at all.\r\n"
	text := strings.Repeat(line, size/len(line)+1)[:size]
	return []byte(strings.TrimRight(text, "\r\n") + "\r\n")
}
