package sim_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// anybody is a back end of go-smtp that takes what the organisation takes.
type anybody struct{}

func (anybody) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return anybody{}, nil }
func (anybody) Reset()                                          {}
func (anybody) Logout() error                                   { return nil }
func (anybody) Mail(string, *gosmtp.MailOptions) error          { return nil }
func (anybody) Data(r io.Reader) error                          { _, err := io.Copy(io.Discard, r); return err }
func (anybody) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	switch {
	case !strings.HasSuffix(to, "@contoso.lab"):
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "no"}
	case !strings.HasPrefix(to, "alan@"):
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no"}
	}
	return nil
}

func startGoSMTP(t *testing.T) netip.AddrPort {
	t.Helper()
	s := gosmtp.NewServer(anybody{})
	s.Domain, s.MaxMessageBytes, s.EnableBINARYMIME, s.EnableDSN, s.EnableSMTPUTF8 = "go.contoso.lab", 1<<20, true, true, false
	s.ReadTimeout = 20 * time.Second
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return netip.MustParseAddrPort(ln.Addr().String())
}

// replies runs a script at a server and returns the codes of its replies. Each
// line is sent by itself; of one with a count behind a bar so many replies are
// read.
func replies(t *testing.T, at netip.AddrPort, script []string) []string {
	t.Helper()
	nc, err := net.Dial("tcp", at.String())
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
	r := bufio.NewReader(nc)
	var codes []string
	read := func() {
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				codes = append(codes, "end")
				return
			}
			if len(l) < 4 || l[3] != '-' {
				codes = append(codes, l[:min(3, len(l))])
				return
			}
		}
	}
	read()
	for _, line := range script {
		text, n := line, 1
		if before, count, ok := strings.Cut(line, "|"); ok {
			text = before
			_, err := fmt.Sscan(count, &n)
			require.NoError(t, err)
		}
		if _, err := nc.Write([]byte(strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text))); err != nil {
			codes = append(codes, "end")
			continue
		}
		for range n {
			read()
		}
	}
	return codes
}

// The same sessions are held with a receive connector, with go-smtp's server and
// with Postfix. Where the codes differ stands who says so.
func TestSessionsAgree(t *testing.T) {
	at := freeAddr(t, "127.0.179.60")
	startPostfix(t, at, "relay_domains = contoso.lab\nrelay_recipient_maps = inline:{ alan@contoso.lab=x }\nrelay_transport = discard\nmydestination =\nsmtpd_relay_restrictions = reject_unauth_destination\nsmtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 50\nsmtpd_soft_error_limit = 50\n"+
		"smtpd_helo_required = yes\n")
	l := startLab(t, "2016", 179, "", func(o *org.Organisation) {
		o.ReceiveConnectors = append(o.ReceiveConnectors, undelayed("Default Frontend EX1")...)
	})
	servers := map[string]netip.AddrPort{"exsim": l.at("default-frontend"), "go-smtp": startGoSMTP(t), "postfix": at}
	const begin = `MAIL FROM:<bob@fabrikam.example>\r\n`
	for _, tt := range []struct {
		name   string
		script []string
		want   string            // of the receive connector
		other  map[string]string // of the others, where it is not that
		why    string
	}{
		{name: "a message", script: []string{`EHLO c.example\r\n`, begin, `RCPT TO:<alan@contoso.lab>\r\n`, `DATA\r\n`, `Subject: x\r\n\r\nhi\r\n.\r\n`, `QUIT\r\n`}, want: "220 250 250 250 354 250 221"},
		{name: "two messages, RSET between", script: []string{`EHLO c.example\r\n`, begin, `RSET\r\n`, begin, `RCPT TO:<alan@contoso.lab>\r\n`, `DATA\r\n`, `x\r\n.\r\n`, `QUIT\r\n`}, want: "220 250 250 250 250 250 354 250 221"},
		{name: "pipelined", script: []string{`EHLO c.example\r\n`, begin + `RCPT TO:<alan@contoso.lab>\r\nDATA\r\n|3`, `x\r\n.\r\nQUIT\r\n|2`}, want: "220 250 250 250 354 250 221"},
		{name: "chunks", script: []string{`EHLO c.example\r\n`, begin, `RCPT TO:<alan@contoso.lab>\r\n`, `BDAT 3\r\na\r\n`, `BDAT 0 LAST\r\n`, `QUIT\r\n`}, want: "220 250 250 250 250 250 221"},
		{name: "refused recipients", script: []string{`EHLO c.example\r\n`, begin, `RCPT TO:<x@elsewhere.example>\r\n`, `RCPT TO:<alan@contoso.lab>\r\n`, `RSET\r\n`, `QUIT\r\n`},
			want: "220 250 250 550 250 250 221", other: map[string]string{"postfix": "220 250 250 554 250 250 221"},
			why: "Use Telnet to test SMTP communication on Exchange servers: 550 5.7.1 Unable to relay"},
		{name: "an unknown recipient", script: []string{`EHLO c.example\r\n`, begin, `RCPT TO:<nobody@contoso.lab>\r\n`, `RSET\r\n`, `QUIT\r\n`},
			want: "220 250 250 250 250 221", other: map[string]string{"go-smtp": "220 250 250 550 250 221", "postfix": "220 250 250 550 250 221"},
			why: "antispam on Mailbox servers: a front end passes recipients on, and one invalid recipient rejects the message (the stage is inferred)"},
		{name: "too early", script: []string{begin, `RCPT TO:<alan@contoso.lab>\r\n`, `DATA\r\n`, `EHLO c.example\r\n`, `RCPT TO:<alan@contoso.lab>\r\n`, `DATA\r\n`, `QUIT\r\n`},
			want: "220 503 503 503 250 503 503 221", other: map[string]string{"go-smtp": "220 502 502 502 250 502 502 221", "postfix": "220 503 503 503 250 503 503 221"},
			why: "DSNs and NDRs in Exchange Server: 503 5.5.2 Send hello first"},
		{name: "unknown verb", script: []string{`EHLO c.example\r\n`, `FOO\r\n`, `QUIT\r\n`}, want: "220 250 500 221", other: map[string]string{"go-smtp": "220 250 501 221"},
			why: "DSNs and NDRs in Exchange Server: 500 5.3.3 Unrecognized command"},
		{name: "EHLO without a name", script: []string{`EHLO\r\n`, begin, `QUIT\r\n`}, want: "220 250 250 221", other: map[string]string{"go-smtp": "220 501 502 221", "postfix": "220 501 503 221"},
			why: "Set-ReceiveConnector: RequireEHLODomain is false; [MS-SMTPNTLM] needs it"},
		{name: "EHLO with a name that is none", script: []string{`EHLO a_b\r\n`, `QUIT\r\n`}, want: "220 501 221", other: map[string]string{"go-smtp": "220 250 221", "postfix": "220 250 221"},
			why: "Use Telnet to test SMTP communication on Exchange servers: 501 5.5.4 Invalid domain name"},
		{name: "HELO, NOOP and VRFY", script: []string{`HELO c.example\r\n`, `NOOP\r\n`, `VRFY alan\r\n`, `QUIT\r\n`}, want: "220 250 250 252 221", other: map[string]string{"postfix": "220 250 250 554 221"},
			why: "the mailbox has no domain, and Postfix relays to none; 252 is assumed of Exchange"},
		{name: "nested MAIL", script: []string{`EHLO c.example\r\n`, begin, begin, `QUIT\r\n`}, want: "220 250 250 503 221", other: map[string]string{"go-smtp": "220 250 250 250 221"},
			why: "RFC 5321 section 4.1.4; go-smtp begins anew"},
		{name: "a chunk behind a refused recipient", script: []string{`EHLO c.example\r\n`, begin + `RCPT TO:<x@elsewhere.example>\r\nBDAT 6 LAST\r\nQUIT\r\n|3`, `NOOP\r\n`},
			want: "220 250 250 550 503 250", other: map[string]string{"go-smtp": "220 250 250 550 502 250", "postfix": "220 250 250 554 554 250"},
			why: "RFC 3030 section 2: the octets of a refused chunk are read; RFC 5321 section 4.1.4: 503"},
		{name: "DATA within chunks", script: []string{`EHLO c.example\r\n`, begin, `RCPT TO:<alan@contoso.lab>\r\n`, `BDAT 3\r\na\r\n`, `DATA\r\n`, `RSET\r\n`, `QUIT\r\n`},
			want: "220 250 250 250 250 503 250 221", other: map[string]string{"go-smtp": "220 250 250 250 250 502 250 221"},
			why: "RFC 3030 section 3: 503; MailKit issue 151"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"exsim", "go-smtp", "postfix"} {
				want := tt.want
				if o, ok := tt.other[name]; ok {
					want = o
				}
				require.Equal(t, want, strings.Join(replies(t, servers[name], tt.script), " "), "%s; %s", name, tt.why)
			}
		})
	}
}

// undelayed takes the delays off a connector.
func undelayed(name string) []org.ReceiveConnector {
	return connectors("name: " + name + ", server: EX1, tarpit-interval: 0s, max-protocol-errors: 50")
}

// connectors are what a file's settings of a receive connector make.
func connectors(settings string) []org.ReceiveConnector {
	list, err := org.Load("quick.yaml", []byte(`version: "2016"
domain: contoso.lab
servers: [{name: EX1, fqdn: ex1.contoso.lab, address: 127.0.0.10, roles: [client-access, mailbox]}]
receive-connectors: [{`+settings+`}]
`))
	if err != nil {
		panic(err)
	}
	return list.ReceiveConnectors
}
