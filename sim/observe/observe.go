// Package observe asks a real server what cannot do harm, and holds its answers
// against a profile: Unified Messaging OPTIONS and calls that nobody can take, a
// receive connector commands that bring no message about.
package observe

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/profile"
)

// Server is the connection to what is observed.
type Server struct {
	Conn net.Conn
	// Host is how requests name it, and Transport is TCP or TLS.
	Host, Transport string
	// Timeout bounds the wait for one answer.
	Timeout time.Duration

	r *bufio.Reader
}

// Seen is a fact as the server shows it.
type Seen struct {
	Key   string
	Value string // as YAML, as it stands in a file of facts
	By    string // which question showed it
}

// Answer is what came to one question.
type Answer struct {
	Question string
	Status   int
	Reason   string
	lines    []string // as they were written
	Fault    string   // why there is none
}

// questions are asked in this order. None names a telephone or a mailbox that
// could exist: no call of them can be taken.
var questions = []struct {
	name, method, user, headers string
	refusal                     string // the fact that a refusal shows
}{
	{name: "OPTIONS", method: "OPTIONS"},
	{name: "a method that is not allowed", method: "SUBSCRIBE", user: "exsim-observe", headers: "Event: presence"},
	{name: "REFER outside a call", method: "REFER", user: "exsim-observe", headers: "Refer-To: <sip:nobody@invalid>"},
	{name: "a call to a pilot that nobody has", method: "INVITE", user: "exsim-observe", refusal: "refusal.no-hunt-group"},
	{name: "a call with an open quote in Diversion", method: "INVITE", user: "exsim-observe", headers: `Diversion: "open <tel:0>;reason=no-answer`, refusal: "refusal.bad-header"},
}

// Ask puts the questions and returns what came; an answer that is a 2xx to a
// call is hung up on at once.
func (s *Server) Ask() []Answer {
	s.r = bufio.NewReaderSize(s.Conn, 64<<10)
	var list []Answer
	for i, q := range questions {
		a := s.ask(i, q.method, q.user, q.headers)
		a.Question = q.name
		list = append(list, a)
		if a.Fault != "" {
			break // the connection is of no use any more
		}
	}
	return list
}

func (s *Server) ask(n int, method, user, headers string) Answer {
	at := s.Host
	if user != "" {
		at = user + "@" + at
	}
	local := s.Conn.LocalAddr().String()
	id := fmt.Sprintf("observe-%d-%08x", n, rand.Uint32()) //nolint:gosec // a name
	branch := "z9hG4bK" + id
	head := func(method string) string {
		return fmt.Sprintf("%s sip:%s;transport=%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s\r\nVia: SIP/2.0/%s 192.0.2.1:5060;branch=%s-2\r\nMax-Forwards: 70\r\nFrom: <sip:anonymous@anonymous.invalid>;tag=%s\r\n",
			method, at, strings.ToLower(s.Transport), s.Transport, local, branch, s.Transport, branch, id)
	}
	contact := fmt.Sprintf("Contact: <sip:%s;transport=%s>\r\n", local, strings.ToLower(s.Transport))
	more := contact
	if headers != "" {
		more += headers + "\r\n"
	}
	_ = s.Conn.SetDeadline(time.Now().Add(s.Timeout))
	request := head(method) + fmt.Sprintf("To: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n", at, id, method) + more + "Content-Length: 0\r\n\r\n"
	if _, err := io.WriteString(s.Conn, request); err != nil {
		return Answer{Fault: "the request could not be sent: " + err.Error()}
	}
	a := s.final(method)
	if method == "INVITE" && a.Fault == "" {
		s.finish(&a, head, id, contact)
	}
	return a
}

// finish acknowledges the answer to a call, and hangs up one that was taken.
func (s *Server) finish(a *Answer, head func(string) string, id, contact string) {
	rest := func(n int, method string) string {
		return fmt.Sprintf("To: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%sContent-Length: 0\r\n\r\n", a.header("To"), id, n, method, contact)
	}
	_, _ = io.WriteString(s.Conn, head("ACK")+rest(1, "ACK"))
	if a.Status/100 == 2 {
		_, _ = io.WriteString(s.Conn, head("BYE")+rest(2, "BYE"))
		_ = s.final("BYE")
	}
}

// final reads the final answer to a request; what belongs to others is passed
// over.
func (s *Server) final(method string) Answer {
	for range 100 {
		a, err := s.read()
		switch {
		case err != nil:
			return Answer{Fault: "no answer: " + err.Error()}
		case a.Status < 200, !strings.HasSuffix(a.header("CSeq"), " "+method):
			continue
		}
		return a
	}
	return Answer{Fault: "nothing but other messages came"}
}

// maxLine and maxLines bound what is read of an answer.
const (
	maxLine  = 8 << 10
	maxLines = 200
	maxBody  = 64 << 10
)

func (s *Server) read() (Answer, error) {
	var a Answer
	for len(a.lines) < maxLines {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return a, err
		}
		if len(line) > maxLine {
			return a, fmt.Errorf("a line of %d octets", len(line))
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			if len(a.lines) == 0 {
				continue // a keep-alive
			}
			break
		}
		a.lines = append(a.lines, line)
	}
	if n, err := strconv.Atoi(textproto.TrimString(a.header("Content-Length"))); err == nil && n > 0 && n <= maxBody {
		if _, err := io.CopyN(io.Discard, s.r, int64(n)); err != nil {
			return a, err
		}
	}
	fields := strings.SplitN(a.lines[0], " ", 3)
	if len(fields) == 3 && fields[0] == "SIP/2.0" {
		a.Status, _ = strconv.Atoi(fields[1])
		a.Reason = fields[2]
	}
	return a, nil
}

// header is the value of a header, "" if it is not there.
func (a *Answer) header(name string) string {
	for _, line := range a.lines[min(1, len(a.lines)):] {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimPrefix(v, " ")
		}
	}
	return ""
}

// spelling is how a header's name was written, "" if it is not there.
func (a *Answer) spelling(name string) string {
	for _, line := range a.lines[min(1, len(a.lines)):] {
		if n, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(n)
		}
	}
	return ""
}

// list is a header of tokens, over all its lines.
func (a *Answer) list(name string) []string {
	var all []string
	for _, line := range a.lines[min(1, len(a.lines)):] {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			for t := range strings.SplitSeq(v, ",") {
				all = append(all, strings.TrimSpace(t))
			}
		}
	}
	return all
}

// Facts are what the answers show, by the keys of profiles.
func Facts(answers []Answer) []Seen {
	var seen []Seen
	add := func(key, value, by string) {
		if value != "" && !slices.ContainsFunc(seen, func(s Seen) bool { return s.Key == key }) {
			seen = append(seen, Seen{key, value, by})
		}
	}
	for i := range answers {
		a := &answers[i]
		if a.Fault != "" {
			continue
		}
		for key, name := range map[string]string{
			"from": "From", "to": "To", "cseq": "CSeq", "call-id": "Call-ID", "via": "Via", "contact": "Contact", "content-length": "Content-Length", "server": "Server",
		} {
			add("sip.headers."+key, a.spelling(name), a.Question)
		}
		add("sip.via-joined", strconv.FormatBool(len(a.list("Via")) > 1 && strings.Count(strings.Join(a.lines, "\n"), "\n"+a.spelling("Via")+":") == 1), a.Question)
		if strings.Contains(a.header("To"), ";tag=") {
			add("sip.epid", strconv.FormatBool(strings.Contains(a.header("To"), ";epid=")), a.Question)
		}
		if a.Question == "OPTIONS" && a.Status == 200 {
			add("sip.allow", flow(a.list("Allow")), a.Question)
			add("sip.supported", flow(a.list("Supported")), a.Question)
		}
		if server := a.header("Server"); server != "" {
			add("sip.server.redirect", strconv.Quote(server), a.Question)
		}
		if key := questions[i].refusal; key != "" && a.Status >= 400 {
			add(key, fmt.Sprintf("{status: %d, reason: %s}", a.Status, strconv.Quote(a.Reason)), a.Question)
		}
	}
	slices.SortFunc(seen, func(a, b Seen) int { return strings.Compare(a.Key, b.Key) })
	return seen
}

func flow(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// Verdict is a fact held against a profile.
type Verdict struct {
	Seen
	Known profile.Fact
	Same  bool
	// Overrides is whether a file of facts may say it: it is assumed so far.
	Overrides bool
}

// Compare holds what was seen against a profile.
func Compare(p *profile.Profile, seen []Seen) ([]Verdict, error) {
	var list []Verdict
	for _, s := range seen {
		known, ok := p.Fact(s.Key)
		if !ok {
			return nil, fmt.Errorf("observe: the profile has no fact %s", s.Key)
		}
		shown, err := profile.Rendered(s.Value)
		if err != nil {
			return nil, fmt.Errorf("observe: %s: %w", s.Key, err)
		}
		list = append(list, Verdict{s, known, shown == known.Value, known.Standing == profile.Assumed})
	}
	return list, nil
}

// File is a file of facts from what was seen and may be said, "" if there is
// nothing to say.
func File(version, server string, at time.Time, list []Verdict) string {
	var facts, replies strings.Builder
	for _, v := range list {
		name, reply := strings.CutPrefix(v.Key, replyKey)
		switch {
		case !v.Overrides:
		case reply:
			fmt.Fprintf(&replies, "  %s: {text: %s, standing: observed, note: %s}\n", name, v.Value, strconv.Quote(v.By))
		default:
			fmt.Fprintf(&facts, "  %s: {value: %s, standing: observed, note: %s}\n", v.Key, v.Value, strconv.Quote(v.By))
		}
	}
	text := ""
	if facts.Len() > 0 {
		text += "facts:\n" + facts.String()
	}
	if replies.Len() > 0 {
		text += "replies:\n" + replies.String()
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf("# Seen at %s on %s by exsim observe.\nexchange: %q\n%s", server, at.UTC().Format("2006-01-02 15:04 MST"), version, text)
}
