package smtp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sending is a client at a server of ours.
func sending(t *testing.T, conf Config) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", serve(t, conf))
	require.NoError(t, err)
	c := NewClient(nc, ClientConfig{Hello: "hub.contoso.lab", Reply: 10 * time.Second})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func outgoing(text string, to ...string) *Outgoing {
	return &Outgoing{From: "a@contoso.lab", To: to, Size: int64(len(text)), Data: func() io.Reader { return strings.NewReader(text) }}
}

// Each way carries the same octets; a refused recipient is told, and the others
// have the message.
func TestSend(t *testing.T) {
	const text = "Subject: x\r\n\r\n.\r\n..two\r\nend"
	for _, way := range []Way{{}, {Pipelining: true}, {Chunking: true}, {Pipelining: true, Chunking: true, Size: true}} {
		b := &backend{}
		c := sending(t, testConfig(b))
		require.NoError(t, c.Greet())
		for range 2 {
			queued, refused, err := c.Send(outgoing(text, "unknown@x.lab", "b@x.lab"), way)
			require.NoError(t, err)
			require.Equal(t, "250 queued", queued.String())
			require.Len(t, refused, 1)
			require.ErrorContains(t, refused["unknown@x.lab"], "550 user-unknown")
		}
		_, refused, err := c.Send(outgoing(text, "unknown@x.lab"), way)
		require.NoError(t, err)
		require.Len(t, refused, 1)
		big := outgoing(strings.Repeat("x", 200_000), "b@x.lab")
		_, _, err = c.Send(big, way)
		var no *Refused
		require.ErrorAs(t, err, &no)
		require.Equal(t, 552, no.Answer.Code)
		require.False(t, no.Temporary())
		require.NoError(t, c.Quit(time.Second))
		want := text
		if !way.Chunking {
			want += "\r\n"
		}
		got := b.got()
		require.Len(t, got, 2)
		for _, m := range got {
			require.Equal(t, want, m.data)
			require.Equal(t, []string{"b@x.lab"}, m.to)
		}
	}
}

// A body or an address that the next hop does not take is told before anything
// is sent.
func TestSendUnable(t *testing.T) {
	conf := testConfig(&backend{})
	conf.Keywords = func(string) []string { return []string{"PIPELINING"} }
	c := sending(t, conf)
	require.NoError(t, c.Greet())
	for want, m := range map[error]*Outgoing{ErrBody: {Eight: true}, ErrUTF8: {UTF8: true}} {
		_, _, err := c.Send(m, Way{})
		require.ErrorIs(t, err, want)
	}
	_, _, err := c.Send(&Outgoing{Binary: true}, Way{Chunking: true})
	require.ErrorIs(t, err, ErrBody)
	_, _, err = c.Send(outgoing("x", "a@b>\r\nQUIT"), Way{})
	require.ErrorContains(t, err, "a line end")
	require.NoError(t, c.Quit(time.Second))
}

// Nothing within a message ends it, whatever a server takes for an end of line.
func TestNothingSmuggled(t *testing.T) {
	for _, text := range []string{"a\n.\nMAIL", "a\n.\r\nMAIL", "a\r.\rMAIL", "a\r\n.\nMAIL", "a\r.\r\nMAIL", "a\r\n.\rMAIL", "\n.\n", ".", "a\r", "a\r\r\n.\r\n"} {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		d := &dotWriter{w: w, lineStart: true}
		for i := range len(text) { // octet by octet, and whole
			_, err := d.Write([]byte{text[i]})
			require.NoError(t, err)
		}
		require.NoError(t, d.end())
		require.NoError(t, w.Flush())
		got := b.String()
		var whole strings.Builder
		w = bufio.NewWriter(&whole)
		d = &dotWriter{w: w, lineStart: true}
		_, err := d.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, d.end())
		require.NoError(t, w.Flush())
		require.Equal(t, got, whole.String(), "%q", text)

		require.True(t, strings.HasSuffix(got, "\r\n.\r\n") || got == ".\r\n", "%q", got)
		body := strings.TrimSuffix(got, ".\r\n")
		require.Empty(t, strings.Trim(strings.ReplaceAll(body, "\r\n", ""), "aMAIL."), "%q: line ends of another form", got)
		for line := range strings.SplitSeq(body, "\r\n") {
			require.NotEqual(t, ".", line, "%q", got)
		}
	}
}

// Servers that say nonsense, or nothing, are errors.
func TestClientHostile(t *testing.T) {
	for banner, want := range map[string]string{
		"hello\r\n":        "is no answer",
		"421 4.3.2 no\r\n": "421 4.3.2 no",
		"220-" + strings.Repeat("x", 70000) + "\r\n": "buffer full",
		strings.Repeat("220-x\r\n", 20000):           "without end",
		"":                                           "EOF",
	} {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.WriteString(theirs, banner); _ = theirs.Close() }()
		c := NewClient(ours, ClientConfig{Hello: "x", Reply: 5 * time.Second})
		err := c.Greet()
		require.ErrorContains(t, err, want)
		require.NoError(t, errors.Join(c.Close()))
	}
}

// unproven is a mechanism whose server has proven nothing.
type unproven struct{}

func (unproven) Start() (string, []byte, error) { return "GSSAPI", []byte("ticket"), nil }
func (unproven) Next([]byte) ([]byte, error)    { return nil, nil }
func (unproven) Proven() error                  { return errors.New("the server has not proven itself") }

// A server that takes everybody is not believed where it has to prove itself.
func TestMutualLogOn(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near, ClientConfig{Hello: "hub", Reply: 10 * time.Second})
	defer c.Close()
	go func() {
		r := bufio.NewReader(far)
		line, _ := r.ReadString('\n')
		if strings.HasPrefix(line, "X-EXPS GSSAPI ") {
			_, _ = io.WriteString(far, "235 come in\r\n")
		}
	}()
	require.ErrorContains(t, c.Auth("X-EXPS", unproven{}), "has not proven itself")
}
