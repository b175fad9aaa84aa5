package sim_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// eximAt is where make peers unpacks Exim: Debian installs Postfix or Exim.
const eximAt = "/usr/local/lib/exsim-peers/exim/usr/sbin/exim4"

// exim is an Exim of its own.
type exim struct {
	t            *testing.T
	binary, conf string
	dir          string
}

// newExim writes a configuration: what comes by SMTP goes to next, with a
// certificate, BDAT where it is offered, and TLS that is verified.
func newExim(t *testing.T, bundle, ca string, next netip.AddrPort, more string) *exim {
	t.Helper()
	e := &exim{t: t, binary: eximAt}
	if _, err := os.Stat(eximAt); err != nil {
		e.binary = needPeer(t, "exim4")
	}
	needRoot(t, "Exim")
	var err error
	e.dir, err = os.MkdirTemp("", "exsim-exim")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(e.dir) })
	require.NoError(t, os.Chmod(e.dir, 0o755))
	for _, d := range []string{"spool", "log"} {
		require.NoError(t, os.Mkdir(filepath.Join(e.dir, d), 0o750))
	}
	for _, f := range []string{bundle, ca} {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(e.dir, filepath.Base(f)), b, 0o600))
	}
	e.conf = filepath.Join(e.dir, "exim.conf")
	require.NoError(t, os.WriteFile(e.conf, fmt.Appendf(nil, `exim_path = %[2]s
primary_hostname = relay.fabrikam.example
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
log_selector = +smtp_protocol_error +tls_peerdn +tls_certificate_verified +incoming_port
disable_ipv6 = true
local_interfaces = <; 127.0.0.1
trusted_users = root
never_users =
keep_environment = LD_LIBRARY_PATH
tls_advertise_hosts = *
tls_certificate = %[1]s/bundle.pem
tls_privatekey = %[1]s/bundle.pem
chunking_advertise_hosts = *
acl_smtp_rcpt = accept
acl_smtp_data = accept
queue_run_in_order = true
%[3]s
begin acl
accept:
  accept
begin routers
all:
  driver = manualroute
  transport = out
  route_list = * %[4]s::%[5]d
  self = send
  host_find_failed = defer
begin transports
out:
  driver = smtp
  interface = 127.0.188.60
  allow_localhost = true
  hosts_try_chunking = *
  hosts_require_tls = *
  tls_certificate = %[1]s/bundle.pem
  tls_privatekey = %[1]s/bundle.pem
  tls_verify_certificates = %[1]s/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames = :
  hosts_try_dane =
begin retry
*  *  F,2h,2s
begin rewrite
bob@fabrikam.example alan@contoso.lab T
`, e.dir, e.binary, more, next.Addr(), next.Port()), 0o644))
	out, err := command(t, "", 10*time.Second, "chown", "-R", "Debian-exim:", e.dir)
	require.NoError(t, err, out)
	out, err = command(t, "", 10*time.Second, "chown", "root:", e.conf)
	require.NoError(t, err, out)
	return e
}

// listen runs Exim as a server until the test ends.
func (e *exim) listen(at netip.AddrPort) {
	e.t.Helper()
	logged(e.t, e.log)
	runGroup(e.t, e.binary, "-C", e.conf, "-bdf", "-q2s", "-oX", "<; ["+at.Addr().String()+"]:"+strconv.Itoa(int(at.Port())))
	awaitListening(e.t, at.String())
}

func (e *exim) log() string {
	var all []byte
	for _, name := range []string{"mainlog", "paniclog"} {
		b, _ := os.ReadFile(filepath.Join(e.dir, "log", name))
		all = append(all, b...)
	}
	return string(all)
}

// Exim takes a message by BDAT from a send connector, and brings it back by BDAT
// to the front end, whose certificate it verifies and to which it shows its own.
func TestEximBothWays(t *testing.T) {
	swaks := needPeer(t, "swaks")
	at := freeAddr(t, "127.0.188.60")
	l := startLab(t, "2016", 188, "", func(o *org.Organisation) {
		o.SendConnectors = []org.SendConnector{{Name: "Out", Server: "EX1", AddressSpaces: []string{"*"}, SmartHost: at, SmartHostName: "relay.fabrikam.example", TLSAuthLevel: org.DomainValidation, Retry: time.Second}}
	})
	bundle, ca := papersOf(t, l, "relay.fabrikam.example")
	e := newExim(t, bundle, ca, l.at("default-frontend"), "")
	e.listen(at)
	submission := l.at("client-frontend")
	body := "first\n.\n..\n" + strings.Repeat("0123456789abcdef\n", 9000)
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
	out, err := command(t, "", 60*time.Second, swaks, "--server", submission.Addr().String(), "--port", strconv.Itoa(int(submission.Port())), "--tls", "--auth", "LOGIN", "-au", "ada", "-ap", "Engine-1843",
		"--from", "ada@contoso.lab", "--to", "bob@fabrikam.example", "--header", "Subject: through Exim", "--body", "@"+file)
	require.NoError(t, err, out)
	got := l.awaitWith("mail.delivered", "subject", "through Exim")
	require.Equal(t, "alan@contoso.lab", got.Text("mailbox"))
	stored, err := os.ReadFile(got.Text("path"))
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(stored), "\r\n\r\n")
	require.Equal(t, body, strings.ReplaceAll(text, "\r\n", "\n")[:len(body)])
	bdat := func(name string) int {
		return l.count(func(e *trace.Event) bool { return e.Name == name && e.Text("verb") == "BDAT" })
	}
	require.NotZero(t, bdat("smtp.asked"), "our side sends BDAT")
	require.NotZero(t, bdat("smtp.received"), "Exim sends BDAT")
	require.Eventually(t, func() bool { return strings.Contains(e.log(), " => ") }, 10*time.Second, 50*time.Millisecond)
	require.Contains(t, e.log(), "CV=yes", "Exim has verified the certificate")
}

// Dovecot's submission server passes on what its user submits, by STARTTLS.
func TestDovecotSubmission(t *testing.T) {
	swaks, dovecot := needPeer(t, "swaks"), needPeer(t, "dovecot")
	needRoot(t, "Dovecot")
	l := startLab(t, "2019", 189, "")
	bundle, ca := papersOf(t, l, "msa.fabrikam.example")
	at, next := freeAddr(t, "127.0.189.60"), l.at("default-frontend")
	dir, err := os.MkdirTemp("", "exsim-dovecot")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	conf := filepath.Join(dir, "dovecot.conf")
	for _, f := range []*string{&bundle, &ca} { // its processes are several users
		b, err := os.ReadFile(*f)
		require.NoError(t, err)
		*f = filepath.Join(dir, filepath.Base(*f))
		require.NoError(t, os.WriteFile(*f, b, 0o644))
	}
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `base_dir = %[1]s/run
log_path = %[1]s/log
protocols = submission
ssl = yes
ssl_cert = <%[2]s
ssl_key = <%[2]s
ssl_client_ca_file = %[3]s
disable_plaintext_auth = no
auth_mechanisms = plain login
hostname = msa.fabrikam.example
submission_relay_host = %[4]s
submission_relay_port = %[5]d
submission_relay_ssl = starttls
submission_relay_ssl_verify = no
mail_location = maildir:%[1]s/mail
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
passdb {
  driver = static
  args = password=open-sesame
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s/mail
}
service submission-login {
  inet_listener submission {
    address = %[6]s
    port = %[7]d
  }
}
`, dir, bundle, ca, next.Addr(), next.Port(), at.Addr(), at.Port()), 0o644))
	logged(t, func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(b)
	})
	runGroup(t, dovecot, "-F", "-c", conf)
	awaitListening(t, at.String())
	send := func(to, subject string) (string, error) {
		return command(t, "", 60*time.Second, swaks, "--server", at.Addr().String(), "--port", strconv.Itoa(int(at.Port())), "--auth", "PLAIN", "-au", "bob", "-ap", "open-sesame",
			"--from", "bob@fabrikam.example", "--to", to, "--header", "Subject: "+subject)
	}
	out, err := send("alan@contoso.lab", "through Dovecot")
	require.NoError(t, err, out)
	require.Contains(t, out, "Queued mail for delivery", "our answer comes back through it")
	require.Equal(t, "alan@contoso.lab", l.awaitWith("mail.delivered", "subject", "through Dovecot").Text("mailbox"))
	l.await("smtp.tls", 5*time.Second)
	out, err = send("x@elsewhere.example", "not relayed")
	require.Error(t, err, out)
	require.Contains(t, out, "Unable to relay")
}

// A Postfix that trusts a fingerprint alone, or encryption alone, sends; one that
// expects another fingerprint keeps its mail.
func TestPostfixTrust(t *testing.T) {
	needPostfix(t)
	l := startLab(t, "2016", 190, "")
	cert, err := l.ServerCertificate("EX1")
	require.NoError(t, err)
	sum := sha256.Sum256(cert.Certificate[0])
	good := strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":"))
	sum[0]++
	bad := strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":"))
	front := l.at("default-frontend")
	for _, tt := range []struct {
		name, level, more, status string
	}{
		{"encrypt", "encrypt", "", "status=sent"},
		{"fingerprint", "fingerprint", "smtp_tls_fingerprint_digest = sha256\nsmtp_tls_fingerprint_cert_match = " + good + "\n", "status=sent"},
		{"another fingerprint", "fingerprint", "smtp_tls_fingerprint_digest = sha256\nsmtp_tls_fingerprint_cert_match = " + bad + "\n", "Server certificate not verified"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startPostfix(t, freeAddr(t, "127.0.190.60"), fmt.Sprintf("relayhost = [%s]:%d\nmydestination =\nsmtp_tls_security_level = %s\nsmtp_tls_loglevel = 1\n%s", front.Addr(), front.Port(), tt.level, tt.more))
			out, err := command(t, "", 20*time.Second, "sh", "-c", "printf 'From: bob@fabrikam.example\\nSubject: "+tt.name+"\\n\\nhello\\n' | sendmail -C "+filepath.Join(p.dir, "etc")+" -f bob@fabrikam.example alan@contoso.lab")
			require.NoError(t, err, out)
			require.Eventually(t, func() bool { return strings.Contains(p.log(), tt.status) }, 20*time.Second, 50*time.Millisecond, "%s", p.log())
		})
	}
	require.Equal(t, 2, l.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" }))
}

// lastLine is the last one of a reply.
var lastLine = regexp.MustCompile(`^[0-9]{3} `)

// openssl shows a partner's certificate at 25: with it its domain is taken, and
// without it refused.
func TestOpenSSLClientCertificate(t *testing.T) {
	openssl := needPeer(t, "openssl")
	l := startLab(t, "2016", 191, "", func(o *org.Organisation) {
		o.DomainSecurity.Receive = []string{"fabrikam.example"}
		o.ReceiveConnectors = append(o.ReceiveConnectors, connectors("name: Partners, server: EX1, usage: Partner, remote-ip-ranges: [127.0.0.1], domain-secure-enabled: true")...)
	})
	bundle, ca := papersOf(t, l, "mx.fabrikam.example")
	say := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-quiet", "-crlf", "-starttls", "smtp", "-connect", l.at("default-frontend").String(),
			"-CAfile", ca, "-verify_hostname", "ex1.contoso.lab", "-verify_return_error"}, args...)...)
		in, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		var all strings.Builder
		lines := bufio.NewScanner(out)
		for _, say := range []string{"EHLO mx.fabrikam.example", "MAIL FROM:<bob@fabrikam.example>", "RCPT TO:<alan@contoso.lab>", "QUIT"} {
			_, _ = io.WriteString(in, say+"\n")
			for lines.Scan() && lastLine.FindString(lines.Text()) == "" {
			}
			all.WriteString(lines.Text() + "\n")
		}
		_ = in.Close()
		_ = c.Wait()
		return all.String()
	}
	out := say("-cert", bundle, "-key", bundle)
	require.Contains(t, out, "250 2.1.0 Sender OK")
	require.Contains(t, out, "250 2.1.5 Recipient OK")
	out = say()
	require.NotContains(t, out, "Sender OK")
	require.Contains(t, l.awaitWith("smtp.domain_security", "why", "showed no certificate").Text("why"), "showed no certificate")
}
