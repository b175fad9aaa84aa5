package sim_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// postfix is a Postfix of its own, beside the system's.
type postfix struct {
	t   *testing.T
	dir string
}

// services are those of Postfix that relaying needs.
const services = `%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// needPostfix skips a test that has no Postfix, or may not run it.
func needPostfix(t *testing.T) {
	t.Helper()
	needPeer(t, "postfix")
	needRoot(t, "Postfix")
}

// startPostfix runs Postfix with more lines in its main.cf until the test ends.
// It needs root, as Postfix does.
func startPostfix(t *testing.T, at netip.AddrPort, more string) *postfix {
	t.Helper()
	needPostfix(t)
	dir, err := os.MkdirTemp("", "exsim-postfix") // its sockets need short names
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	p := &postfix{t: t, dir: dir}
	for _, d := range []string{"etc", "queue", "data", "log"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	out, err := command(t, "", 10*time.Second, "chown", "postfix", filepath.Join(dir, "data"))
	require.NoError(t, err, out)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc", "master.cf"), fmt.Appendf(nil, services, at), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc", "main.cf"), fmt.Appendf(nil, `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = %[1]s/log/mail.log
maillog_file_prefixes = %[1]s
multi_instance_enable = yes
multi_instance_name = postfix-%[2]s
myhostname = relay.fabrikam.example
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
local_transport = error:none
smtp_dns_support_level = disabled
smtp_host_lookup = native
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
smtp_bind_address = %[3]s
smtputf8_enable = no
%[4]s`, dir, filepath.Base(dir), at.Addr(), more), 0o644))
	if out, err := command(t, "", 30*time.Second, "postfix", "-c", filepath.Join(dir, "etc"), "start"); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log", "mail.log"))
		t.Fatalf("postfix: %v: %s\n%s", err, out, log)
	}
	t.Cleanup(func() {
		out, err := exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").CombinedOutput()
		if err != nil {
			t.Errorf("postfix: %v: %s", err, out)
		}
		if t.Failed() {
			t.Log(p.log())
		}
	})
	awaitListening(t, at.String())
	return p
}

func (p *postfix) log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log", "mail.log"))
	return string(b)
}

// awaitWith waits for an event of which a field holds a text.
func (l *lab) awaitWith(name, key, value string) *trace.Event {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		for e := range l.Trace().Events() {
			if e.Name == name && strings.Contains(e.Text(key), value) {
				return &e
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatalf("no %s with %s %s", name, key, value)
	return nil
}

// Postfix is the next hop of a send connector, with TLS required, and brings the
// message back to the front end, which it verifies and shows a certificate:
// what one user wrote the other reads, octet for octet behind the header section.
func TestPostfixBothWays(t *testing.T) {
	swaks := needPeer(t, "swaks")
	at := freeAddr(t, "127.0.178.60")
	l := startLab(t, "2016", 178, "", func(o *org.Organisation) {
		o.SendConnectors = []org.SendConnector{{Name: "Out", Server: "EX1", AddressSpaces: []string{"*"}, SmartHost: at, SmartHostName: "relay.fabrikam.example",
			TLSAuthLevel: org.DomainValidation, Retry: time.Second}}
	})
	bundle, ca := papersOf(t, l, "relay.fabrikam.example")
	keyFirst(t, bundle)
	front, submission := l.at("default-frontend"), l.at("client-frontend")
	p := startPostfix(t, at, fmt.Sprintf(`relayhost = [%s]:%d
mydestination =
virtual_alias_maps = inline:{ bob@fabrikam.example=alan@contoso.lab }
virtual_alias_domains = fabrikam.example
smtpd_tls_chain_files = %[3]s
smtpd_tls_security_level = may
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_tls_chain_files = %[3]s
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = ex1.contoso.lab
smtp_tls_CAfile = %[4]s
smtp_tls_loglevel = 1
`, front.Addr(), front.Port(), bundle, ca))
	for i, body := range []string{"Gr\u00fc\u00dfe\n.\n..\nend\n", strings.Repeat("0123456789abcdef\n", 20000)} {
		file, subject := filepath.Join(t.TempDir(), "body"), fmt.Sprintf("round trip %d", i)
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
		out, err := command(t, "", 60*time.Second, swaks, "--server", submission.Addr().String(), "--port", strconv.Itoa(int(submission.Port())), "--tls", "--auth", "LOGIN",
			"-au", "ada", "-ap", "Engine-1843", "--from", "ada@contoso.lab", "--to", "bob@fabrikam.example", "--header", "Subject: "+subject, "--body", "@"+file)
		require.NoError(t, err, out)
		e := l.awaitWith("mail.delivered", "subject", subject)
		require.Equal(t, "alan@contoso.lab", e.Text("mailbox"))
		stored, err := os.ReadFile(e.Text("path"))
		require.NoError(t, err)
		_, text, _ := strings.Cut(string(stored), "\r\n\r\n")
		require.Equal(t, body, strings.ReplaceAll(text, "\r\n", "\n")[:len(body)])
	}
	taken := l.awaitWith("send.taken", "recipient", "bob@fabrikam.example")
	require.Contains(t, taken.Text("answer"), "queued as")
	require.Eventually(t, func() bool { return strings.Count(p.log(), "status=sent (250 2.6.0 ") == 2 }, 10*time.Second, 50*time.Millisecond, "%s", p.log())
	require.Contains(t, p.log(), "Verified TLS connection established to 127.0.178.10")
	verbs := map[string]int{}
	for e := range l.Trace().Events() {
		if e.Name == "smtp.received" || e.Name == "smtp.asked" {
			verbs[e.Name+" "+e.Text("verb")]++
		}
	}
	require.Equal(t, 2, verbs["smtp.asked BDAT"], "%v", verbs)
}

// keyFirst puts the key of a bundle before its certificates, as Postfix wants it.
func keyFirst(t *testing.T, bundle string) {
	t.Helper()
	b, err := os.ReadFile(bundle)
	require.NoError(t, err)
	i := strings.Index(string(b), "-----BEGIN PRIVATE KEY")
	require.NoError(t, os.WriteFile(bundle, append(b[i:len(b):len(b)], b[:i]...), 0o600))
}
