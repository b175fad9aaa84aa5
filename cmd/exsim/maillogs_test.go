package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/maillog"
)

// The logs of a run have Exchange's shape, and nothing of a log-on.
func TestMailLogs(t *testing.T) {
	dir := t.TempDir()
	code, out, _ := runExsim(t, "run", "outbound-tls", "--port-offset", "23000", "--mail-logs", dir)
	require.Equal(t, 0, code, out)
	read := func(kind string, fields []string) (rows [][]string) {
		names, err := filepath.Glob(filepath.Join(dir, kind+"*-1.log"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		b, err := os.ReadFile(names[0])
		require.NoError(t, err)
		head, rest, _ := strings.Cut(string(b), "#Fields: ")
		require.Contains(t, head, "#Software: Microsoft Exchange Server\r\n#Version: ")
		require.True(t, strings.HasPrefix(rest, strings.Join(fields, ",")+"\r\n"), rest)
		_, data, _ := strings.Cut(rest, "\r\n")
		rows, err = csv.NewReader(strings.NewReader(data)).ReadAll()
		require.NoError(t, err)
		require.NotContains(t, string(b), "Engine")
		require.NotContains(t, string(b), "RW5naW5l", "nor in base64")
		return rows
	}
	said := func(rows [][]string, n ...int) string {
		var b strings.Builder
		for _, r := range rows {
			for _, i := range n {
				b.WriteString(r[i] + " ")
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	recv := said(read("RECV", maillog.ProtocolFields), 1, 6, 7, 8)
	for _, want := range []string{
		`EX1\Client Frontend EX1 +`, `EX1\Client Frontend EX1 < AUTH LOGIN <authentication response>`, `EX1\Client Frontend EX1 * CONTOSO\ada authenticated`,
		`* SMTPSubmit SMTPAcceptAnyRecipient BypassAntiSpam AcceptRoutingHeaders Set Session Permissions`, `> 250 2.6.0 <`, `-  Remote`,
	} {
		require.Contains(t, recv, want)
	}
	send := said(read("SEND", maillog.ProtocolFields), 1, 6, 7)
	require.Contains(t, send, "To Fabrikam > RCPT TO:<bob@fabrikam.example> \nTo Fabrikam < 250 2.0.0 Roger", "MAIL and RCPT leave together")
	rows := read("MSGTRK", maillog.TrackingFields)
	tracked := said(rows, 7, 8, 12)
	require.Equal(t, said(rows[:1], 9, 10, 18, 19), said(rows[1:], 9, 10, 18, 19), "internal-message-id, message-id, subject and sender are those that it was received with")
	require.Equal(t, "SMTP RECEIVE bob@fabrikam.example \nSMTP SEND bob@fabrikam.example \n", tracked)
}
