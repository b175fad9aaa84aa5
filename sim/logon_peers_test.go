package sim_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// realm is a Kerberos realm with a KDC of MIT's.
type realm struct {
	dir string
	env []string
}

// startRealm makes a realm with a user's principal and service principals, whose
// keys are in the keytab, and runs its KDC until the test ends.
func startRealm(t *testing.T, at string, services ...string) *realm {
	t.Helper()
	kdc, util, admin := needPeer(t, "krb5kdc"), needPeer(t, "kdb5_util"), needPeer(t, "kadmin.local")
	r := &realm{dir: t.TempDir()}
	free, err := net.Listen("tcp", at+":0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
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
	c := exec.Command(kdc, "-n")
	c.Env = append(os.Environ(), r.env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", net.JoinHostPort(at, strconv.Itoa(port)))
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond)
	return r
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
