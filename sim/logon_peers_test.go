package sim_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
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
	smtpsasl "github.com/exsim/exsim/smtp/sasl"
)

// realm is a Kerberos realm with a KDC of MIT's.
type realm struct {
	dir string
	env []string
	kdc string // its address and port

	stop func()
}

// startRealm makes a realm with a user's principal and service principals, whose
// keys are in the keytab, and runs its KDC until the test ends.
func startRealm(t *testing.T, at string, services ...string) *realm {
	t.Helper()
	util, admin := needPeer(t, "kdb5_util"), needPeer(t, "kadmin.local")
	r := &realm{dir: t.TempDir()}
	free, err := net.Listen("tcp", at+":0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	r.kdc = net.JoinHostPort(at, strconv.Itoa(port))
	write := func(name, text string) string {
		path := filepath.Join(r.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	conf := write("krb5.conf", fmt.Sprintf(`[libdefaults]
default_realm = CONTOSO.LAB
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
default_ccache_name = FILE:%[1]s/cache
[realms]
CONTOSO.LAB = {
 kdc = %[2]s:%[3]d
}
[domain_realm]
.contoso.lab = CONTOSO.LAB
`, r.dir, at, port))
	profile := write("kdc.conf", fmt.Sprintf(`[kdcdefaults]
kdc_listen = %[2]s:%[3]d
kdc_tcp_listen = %[2]s:%[3]d
[realms]
CONTOSO.LAB = {
 database_name = %[1]s/principal
 key_stash_file = %[1]s/stash
 max_life = 1h
}
`, r.dir, at, port))
	r.env = []string{"KRB5_CONFIG=" + conf, "KRB5_KDC_PROFILE=" + profile}
	r.run(t, "", util, "create", "-s", "-r", "CONTOSO.LAB", "-P", "master")
	r.run(t, "", admin, "addprinc", "-pw", "Engine-1843", "ada")
	for _, s := range services {
		r.run(t, "", admin, "addprinc", "-randkey", s)
		r.run(t, "", admin, "ktadd", "-k", r.keytab(), s)
	}
	r.start(t)
	return r
}

// start runs the KDC.
func (r *realm) start(t *testing.T) {
	t.Helper()
	c := exec.Command(needPeer(t, "krb5kdc"), "-n")
	c.Env = append(os.Environ(), r.env...)
	_, r.stop = startGroup(t, c)
	awaitListening(t, r.kdc)
}

func (r *realm) keytab() string { return filepath.Join(r.dir, "keytab") }

func (r *realm) run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	out, err := r.try(input, name, args...)
	require.NoError(t, err, out)
	return out
}

func (r *realm) try(input, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Env, c.Stdin = append(os.Environ(), r.env...), strings.NewReader(input)
	out, err := c.CombinedOutput()
	return string(out), err
}

// GNU SASL logs on with a ticket of an MIT KDC, and takes our proof: GSSAPI with
// mutual authentication. A ticket for another service is refused.
func TestGSSAPI(t *testing.T) {
	gsasl, kinit := needPeer(t, "gsasl"), needPeer(t, "kinit")
	r := startRealm(t, "127.0.176.9", "smtp/ex1.contoso.lab", "smtp/other.contoso.lab")
	l := startLab(t, "2016", 176, "", func(o *org.Organisation) { o.Kerberos.Keytab = r.keytab() })
	r.run(t, "Engine-1843\n", kinit, "ada")
	at := l.at("client-frontend")
	logon := func(host string) (string, error) {
		return r.try("", gsasl, "--smtp", "--no-starttls", "--connect="+at.String(), "--hostname="+host, "-m", "GSSAPI", "-a", "ada", "-z", "", "--quality=qop-auth")
	}
	out, err := logon("ex1.contoso.lab")
	require.NoError(t, err, out)
	e := l.await("smtp.authenticated", 5*time.Second)
	require.Equal(t, `CONTOSO\ada`, e.Text("user"))
	require.Equal(t, "GSSAPI", e.Text("mechanism"))

	require.NoError(t, os.Rename(r.keytab(), r.keytab()+".gone"))
	r.run(t, "", needPeer(t, "kadmin.local"), "addprinc", "-randkey", "smtp/stranger.contoso.lab")
	out, err = logon("stranger.contoso.lab")
	require.Error(t, err, out)
	require.Contains(t, l.await("smtp.logon_failed", 10*time.Second).Text("why"), "the ticket is not good")
}

// A server of ours logs on to GNU SASL with a ticket of an MIT KDC, and takes its
// proof; not with one for another service.
func TestGSSAPIInitiator(t *testing.T) {
	gsasl := needPeer(t, "gsasl")
	r := startRealm(t, "127.0.185.9", "SMTPSVC/ex1.contoso.lab", "smtp/relay.contoso.lab", "smtp/other.contoso.lab")
	keys, err := smtpsasl.LoadKeytab(r.keytab())
	require.NoError(t, err)
	i, err := keys.Initiator(r.kdc, "EX1$", "smtpsvc/EX1.contoso.lab")
	require.NoError(t, err)
	_, err = keys.Initiator(r.kdc, "EX2$")
	require.ErrorContains(t, err, "no key of EX2$")
	_, err = i.LogOn("smtp/nobody.contoso.lab")
	require.ErrorContains(t, err, "no ticket of the KDC")
	accepts := func(host, ticketFor string) bool {
		logOn, err := i.LogOn(ticketFor)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, gsasl, "--server", "-m", "GSSAPI", "--service=smtp", "--hostname="+host, "--quiet")
		c.Env = append(append(os.Environ(), r.env...), "KRB5_KTNAME=FILE:"+r.keytab())
		in, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, token, err := logOn.Start()
		lines, letIn := bufio.NewScanner(out), false
		for err == nil && lines.Scan() {
			challenge := lines.Text()
			if challenge == "GSSAPI" {
				continue
			}
			if strings.HasPrefix(challenge, "Authzid:") { // it has let us in, and says whom
				letIn = lines.Scan() && strings.Contains(lines.Text(), "SMTPSVC/ex1.contoso.lab@CONTOSO.LAB")
				break
			}
			if challenge != "" { // nothing asks for the ticket
				octets, derr := base64.StdEncoding.DecodeString(challenge)
				require.NoError(t, derr, challenge)
				token, err = logOn.Next(octets)
			}
			_, _ = io.WriteString(in, base64.StdEncoding.EncodeToString(token)+"\n")
		}
		_ = in.Close()
		_ = c.Wait()
		return letIn
	}
	require.True(t, accepts("relay.contoso.lab", "smtp/relay.contoso.lab"))
	require.False(t, accepts("relay.contoso.lab", "SMTPSVC/ex1.contoso.lab"))
}

// Where there is a realm, UM submits with a ticket, and so does a send connector
// whose next hop is an Exchange server; without its KDC what they have waits.
func TestServersByKerberos(t *testing.T) {
	swaks := needPeer(t, "swaks")
	r := startRealm(t, "127.0.186.9", "SMTPSVC/mbx1.contoso.lab", "SMTPSVC/cas1.contoso.lab")
	kerberos := func(o *org.Organisation) {
		o.Kerberos.Keytab, o.Kerberos.KDC = r.keytab(), netip.MustParseAddrPort(r.kdc)
		o.Limits.SubmitRetry = 300 * time.Millisecond
	}
	hub := startLab(t, "2013", 186, "", kerberos)
	r.stop()
	callBySIPp(t, hub, false)
	require.Contains(t, hub.awaitWith("um.submit_failed", "why", "454 4.7.0 Temporary authentication failure").Text("why"), "no ticket of the KDC")
	require.Zero(t, hub.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" }))

	branch := startLab(t, "2013", 187, "", kerberos, func(o *org.Organisation) {
		o.Domain = "branch.lab" // contoso.lab is another organisation's
		o.SendConnectors = []org.SendConnector{{Name: "Hub", Server: "MBX1", AddressSpaces: []string{"contoso.lab"}, SmartHost: hub.at("default"), SmartHostName: "mbx1.contoso.lab",
			Auth: org.SendAuthExchangeServer, Retry: 300 * time.Millisecond}}
	})
	at := branch.at("client-frontend")
	out, err := command(t, "", 60*time.Second, swaks, "--server", at.Addr().String(), "--port", strconv.Itoa(int(at.Port())), "--tls", "--auth", "LOGIN", "-au", "ada@contoso.lab", "-ap", "Engine-1843",
		"--from", "ada@contoso.lab", "--to", "alan@contoso.lab", "--header", "Subject: by ticket")
	require.NoError(t, err, out)
	branch.awaitWith("send.failed", "why", "454 4.7.0 Temporary authentication failure")

	r.start(t)
	require.Equal(t, "voice-ca", hub.awaitWith("mail.delivered", "content_class", "voice-ca").Text("content_class"))
	hub.awaitWith("mail.delivered", "subject", "by ticket")
	require.GreaterOrEqual(t, hub.count(func(e *trace.Event) bool {
		return e.Name == "smtp.authenticated" && e.Text("mechanism") == "GSSAPI" && e.Text("user") == `CONTOSO\MBX1$`
	}), 2)
}

// curl and GNU SASL log on by NTLM, nmap reads what it tells of the server and
// names the program.
func TestNTLMPeers(t *testing.T) {
	curl, nmap := needPeer(t, "curl"), needPeer(t, "nmap")
	l := startLab(t, "2016", 177, "")
	mail := filepath.Join(t.TempDir(), "mail")
	require.NoError(t, os.WriteFile(mail, []byte("From: <ada@contoso.lab>\r\nSubject: from curl\r\n\r\nhello\r\n"), 0o600))
	at := l.at("client-frontend")
	send := func(password string) (string, error) {
		return command(t, "", 30*time.Second, curl, "-sv", "--url", "smtp://"+at.String()+"/curl.fabrikam.lab", "--login-options", "AUTH=NTLM", "--ssl-reqd", "-k",
			"-u", `CONTOSO\ada:`+password, "--mail-from", "ada@contoso.lab", "--mail-rcpt", "alan@contoso.lab", "-T", mail)
	}
	out, err := send("Engine-1843")
	require.NoError(t, err, out)
	require.Equal(t, "from curl", l.await("mail.delivered", 5*time.Second).Text("subject"))
	require.Equal(t, `CONTOSO\ada`, l.await("smtp.authenticated", 5*time.Second).Text("user"))
	out, err = send("Engine-1844")
	require.Error(t, err, out)
	require.Contains(t, out, "535 5.7.3 Authentication unsuccessful")

	out, err = command(t, "", 90*time.Second, nmap, "-n", "-Pn", "-sV", "-p", strconv.Itoa(int(at.Port())), "--script", "+smtp-commands,+smtp-ntlm-info", at.Addr().String())
	require.NoError(t, err, out)
	for _, want := range []string{"Microsoft Exchange smtpd", "NetBIOS_Domain_Name: CONTOSO", "DNS_Computer_Name: ex1.contoso.lab", "Product_Version: 10.0.14393", "AUTH GSSAPI NTLM", "This server supports the following commands"} {
		require.Contains(t, out, want)
	}
}
