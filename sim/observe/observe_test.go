package observe

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
)

// scripted is a server that answers each request as a function says; "" keeps
// silent, and "close" ends the connection.
func scripted(t *testing.T, answer func(method, request string) string) *Server {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	go func() {
		r := bufio.NewReader(theirs)
		for {
			var lines []string
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line = strings.TrimSpace(line); line == "" {
					break
				}
				lines = append(lines, line)
			}
			method, _, _ := strings.Cut(lines[0], " ")
			text := answer(method, strings.Join(lines, "\n"))
			switch text {
			case "":
				continue
			case "close":
				_ = theirs.Close()
				return
			}
			for _, line := range lines[1:] {
				name, value, _ := strings.Cut(line, ":")
				switch name {
				case "Via", "From", "Call-ID", "CSeq":
					text += name + ":" + value + "\n"
				case "To":
					text += name + ":" + value + ";tag=x\n"
				}
			}
			_, _ = io.WriteString(theirs, strings.ReplaceAll(text+"Content-Length: 0\n\n", "\n", "\r\n"))
		}
	}()
	return &Server{Conn: ours, Host: "um1.example.com:5060", Transport: "TCP", Timeout: 300 * time.Millisecond}
}

// What another server shows is held against the profile, and only what was
// assumed goes into the file.
func TestFacts(t *testing.T) {
	s := scripted(t, func(method, request string) string {
		switch {
		case method == "OPTIONS":
			return "SIP/2.0 200 OK\nServer: Other/1.0\nAllow: INVITE, ACK\nAllow: BYE\n"
		case method == "ACK":
			return ""
		case strings.Contains(request, "Diversion"):
			return "SIP/2.0 420 Strange\n"
		}
		return "SIP/2.0 403 Forbidden\n"
	})
	answers := s.Ask()
	require.Len(t, answers, len(questions))
	p, err := profile.Load("2016")
	require.NoError(t, err)
	list, err := Compare(p, Facts(answers))
	require.NoError(t, err)
	seen := map[string]Verdict{}
	for _, v := range list {
		seen[v.Key] = v
	}
	require.Equal(t, "[INVITE, ACK, BYE]", seen["sip.allow"].Value)
	require.False(t, seen["sip.allow"].Same)
	require.False(t, seen["sip.allow"].Overrides, "it is observed already")
	require.Equal(t, "false", seen["sip.via-joined"].Value)
	require.Equal(t, "false", seen["sip.epid"].Value)
	require.True(t, seen["refusal.bad-header"].Overrides)

	text := File("2016", "um1.example.com:5060", time.Now(), list)
	require.Contains(t, text, `refusal.bad-header: {value: {status: 420, reason: "Strange"}`)
	require.NotContains(t, text, "sip.allow")
	p, err = profile.Load("2016", profile.Override{Name: "seen.yaml", Data: []byte(text)})
	require.NoError(t, err)
	require.Equal(t, 420, p.Refusals.BadHeader.Code)
	require.Equal(t, profile.Observed, p.Refusals.BadHeader.Standing)
	_, err = profile.Load("2013", profile.Override{Name: "seen.yaml", Data: []byte(text)})
	require.ErrorContains(t, err, "these are facts of Exchange 2016, and this is 2013")
}

// A call that is taken against all expectation is acknowledged and hung up.
func TestTakenCallEnds(t *testing.T) {
	methods := make(chan string, 20)
	s := scripted(t, func(method, _ string) string {
		methods <- method
		if method == "ACK" {
			return ""
		}
		return "SIP/2.0 200 OK\n"
	})
	s.Ask()
	close(methods)
	var got []string
	for m := range methods {
		got = append(got, m)
	}
	require.Equal(t, []string{"OPTIONS", "SUBSCRIBE", "REFER", "INVITE", "ACK", "BYE", "INVITE", "ACK", "BYE"}, got)
}

// Who says nothing, hangs up, or talks nonsense is told so, and asked no more.
func TestNoAnswer(t *testing.T) {
	for _, tt := range []struct{ answer, want string }{
		{"", "timeout"}, {"close", "EOF"}, {"HTTP/1.1 400 Bad Request\n", "timeout"},
	} {
		s := scripted(t, func(string, string) string { return tt.answer })
		answers := s.Ask()
		require.Len(t, answers, 1)
		require.Contains(t, answers[0].Fault, tt.want)
		require.Empty(t, Facts(answers))
	}
}
