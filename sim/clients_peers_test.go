package sim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients that people have submit at 587: Python's smtplib, msmtp and curl. Each verifies the certificate by authority and name.
func TestMailClients(t *testing.T) {
	l := startLab(t, "2019", 182, "")
	dir := t.TempDir()
	ca, message := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "message")
	require.NoError(t, os.WriteFile(ca, l.LabCA(), 0o600))
	at := l.at("client-frontend")
	host, port := at.Addr().String(), int(at.Port())
	text := func(subject string) string {
		return "From: <ada@contoso.lab>\r\nTo: <alan@contoso.lab>\r\nSubject: " + subject + "\r\n\r\n.\r\nhello\r\n"
	}
	msmtp := func(auth string) []string {
		rc := filepath.Join(dir, "msmtprc-"+auth)
		require.NoError(t, os.WriteFile(rc, fmt.Appendf(nil, "account default\nhost %s\nport %d\ntls on\ntls_starttls on\ntls_trust_file %s\ntls_host_override ex1.contoso.lab\nauth %s\nuser ada\npassword Engine-1843\nfrom ada@contoso.lab\n", host, port, ca, auth), 0o600))
		return []string{"sh", "-c", "msmtp -C " + rc + " alan@contoso.lab < " + message}
	}
	python := filepath.Join(dir, "send.py")
	require.NoError(t, os.WriteFile(python, fmt.Appendf(nil, `import smtplib, ssl, socket
s = smtplib.SMTP()
s.connect(%q, %d)
s._host = "ex1.contoso.lab"
s.starttls(context=ssl.create_default_context(cafile=%q))
s.ehlo("client.contoso.lab")
s.login("ada", "Engine-1843")
refused = s.sendmail("ada@contoso.lab", ["alan@contoso.lab"], open(%q, "rb").read())
assert not refused, refused
s.quit()
`, host, port, ca, message), 0o600))
	nodemailer := filepath.Join(dir, "send.js")
	require.NoError(t, os.WriteFile(nodemailer, fmt.Appendf(nil, `const fs = require("fs"), message = fs.readFileSync(%q);
const t = require("/usr/share/nodejs/nodemailer").createTransport({host: %q, port: %d, secure: false, requireTLS: true, pool: true,
  tls: {ca: fs.readFileSync(%q), servername: "ex1.contoso.lab"}, auth: {type: "login", user: "ada", pass: "Engine-1843"}});
t.sendMail({envelope: {from: "ada@contoso.lab", to: "alan@contoso.lab"}, raw: message}).then(r => { console.log(r.response); t.close(); }, e => { console.log(e); process.exit(1); });
`, message, host, port, ca), 0o600))
	for _, tt := range []struct {
		name, needs string
		run         []string
	}{
		{"nodemailer", "node", []string{"node", nodemailer}},
		{"smtplib", "python3", []string{"python3", python}},
		{"msmtp-login", "msmtp", msmtp("login")},
		{"curl", "curl", []string{"curl", "-sS", "--url", fmt.Sprintf("smtp://ex1.contoso.lab:%d/client.contoso.lab", port), "--resolve", fmt.Sprintf("ex1.contoso.lab:%d:%s", port, host), "--ssl-reqd", "--cacert", ca,
			"-u", "ada@contoso.lab:Engine-1843", "--login-options", "AUTH=LOGIN", "--mail-from", "ada@contoso.lab", "--mail-rcpt", "alan@contoso.lab", "-T", message}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needPeer(t, tt.needs)
			require.NoError(t, os.WriteFile(message, []byte(text("from "+tt.name)), 0o600))
			out, err := command(t, dir, 30*time.Second, tt.run[0], tt.run[1:]...)
			require.NoError(t, err, out)
			e := l.awaitWith("mail.delivered", "subject", "from "+tt.name)
			stored, err := os.ReadFile(e.Text("path"))
			require.NoError(t, err)
			require.Contains(t, string(stored), "\r\n\r\n.\r\nhello\r\n")
			require.Equal(t, "alan@contoso.lab", e.Text("mailbox"))
		})
	}
	// libntlm knows NTLMv1 alone, which is refused by name.
	needPeer(t, "msmtp")
	ntlm := msmtp("ntlm")
	out, err := command(t, dir, 30*time.Second, ntlm[0], ntlm[1:]...)
	require.Error(t, err)
	require.Contains(t, out, "535 5.7.3 Authentication unsuccessful")
	require.Contains(t, l.await("smtp.logon_failed", 5*time.Second).Text("why"), "NTLMv1 is not taken")
}
