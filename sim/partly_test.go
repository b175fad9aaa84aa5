package sim_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// choosy takes now@, later@ at the second try, and never@ never.
type choosy struct {
	mu   sync.Mutex
	late bool
	got  []string // recipients of messages taken
}

func (c *choosy) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &choice{c: c}, nil }

type choice struct {
	c  *choosy
	to []string
}

func (s *choice) Reset()                                 { s.to = nil }
func (s *choice) Logout() error                          { return nil }
func (s *choice) Mail(string, *gosmtp.MailOptions) error { return nil }

func (s *choice) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case strings.HasPrefix(to, "never@"):
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	case strings.HasPrefix(to, "later@") && !s.c.late:
		s.c.late = true
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "later"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *choice) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.got = append(s.c.got, s.to...)
	return err
}

// Of a message for three, one has it at once, one behind a second try, each once;
// what nobody takes for the third stays beside the queue, with its recipient.
func TestPartlyRefused(t *testing.T) {
	next := &choosy{}
	s := gosmtp.NewServer(next)
	s.Domain = "next.example"
	ln, err := net.Listen("tcp", "127.0.195.60:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	l := startLab(t, "2016", 195, "", func(o *org.Organisation) {
		o.ReceiveConnectors = connectors("name: Relay, server: EX1, usage: Internet, remote-ip-ranges: [127.0.0.1], anonymous-rights: [ms-Exch-SMTP-Accept-Any-Recipient]")
		o.SendConnectors = []org.SendConnector{{Name: "Out", Server: "EX1", AddressSpaces: []string{"*"}, SmartHost: netip.MustParseAddrPort(ln.Addr().String()), Retry: 200 * time.Millisecond}}
	})
	require.NotContains(t, replies(t, l.at("default-frontend"), []string{`EHLO c.example\r\n`, `MAIL FROM:<a@b.example>\r\n`, `RCPT TO:<now@x.example>\r\n`, `RCPT TO:<later@x.example>\r\n`,
		`RCPT TO:<never@x.example>\r\n`, `DATA\r\n`, `Subject: for three\r\n\r\nhi\r\n.\r\n`, `QUIT\r\n`}), "550")
	l.awaitWith("send.taken", "recipient", "later@x.example")
	next.mu.Lock()
	require.Equal(t, []string{"now@x.example", "later@x.example"}, next.got)
	next.mu.Unlock()
	failed := l.awaitWith("send.failed", "recipient", "never@x.example")
	require.Equal(t, "true", failed.Text("final"))
	kept, err := os.ReadFile(failed.Text("path"))
	require.NoError(t, err)
	require.Contains(t, string(kept), `"To":["never@x.example"]`)
	require.Eventually(t, func() bool {
		waiting, err := filepath.Glob(filepath.Join(filepath.Dir(failed.Text("path")), "*.eml"))
		return err == nil && len(waiting) == 0
	}, 5*time.Second, 20*time.Millisecond)
	require.Equal(t, 2, l.count(func(e *trace.Event) bool { return e.Name == "send.failed" }))
}

// Closing does not wait for an acknowledgement that is held back.
func TestCloseWithinDelayedAck(t *testing.T) {
	l := startLab(t, "2016", 196, "", func(o *org.Organisation) {
		o.ReceiveConnectors = connectors("name: Relay, server: EX1, usage: Internet, remote-ip-ranges: [127.0.0.1], anonymous-rights: [ms-Exch-SMTP-Accept-Any-Recipient], max-acknowledgement-delay: 10m")
		o.SendConnectors = []org.SendConnector{{Name: "Out", Server: "EX1", AddressSpaces: []string{"*"}, SmartHost: netip.MustParseAddrPort("127.0.196.60:9")}}
	})
	nc, err := net.Dial("tcp", l.at("default-frontend").String())
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n")
	require.NoError(t, err)
	l.await("send.failed", 10*time.Second)
	closed := make(chan error)
	go func() { closed <- l.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for the next hop")
	}
}
