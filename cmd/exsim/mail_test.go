package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/store"
)

// Mailboxes are looked into beside the process that writes them.
func TestMail(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := runExsim(t, "mail", "list", "--dir", dir)
	require.Equal(t, 2, code)
	require.Contains(t, errs, "holds no mailboxes")
	st, err := store.Open(filepath.Join(dir, "mailboxes"))
	require.NoError(t, err)
	half, err := st.Create()
	require.NoError(t, err)
	defer half.Abort()
	for _, subject := range []string{"one", "two"} {
		_, err := st.Deliver(strings.NewReader("From: <bob@fabrikam.example>\r\nSubject: "+subject+"\r\n\r\nhello\r\n"), "ada@contoso.lab")
		require.NoError(t, err)
	}
	code, out, errs := runExsim(t, "mail", "list", "--dir", dir, "--format", "csv")
	require.Equal(t, 0, code, errs)
	require.Equal(t, 2, strings.Count(out, "ada@contoso.lab,"), out)
	code, out, _ = runExsim(t, "mail", "read", "ada@contoso.lab", "--dir", dir)
	require.Equal(t, 0, code)
	require.Contains(t, out, "Subject: two\r\n")
	code, out, _ = runExsim(t, "mail", "read", "ADA@contoso.lab", "1", "--dir", dir)
	require.Equal(t, 0, code)
	require.Contains(t, out, "Subject: one\r\n")
	code, out, _ = runExsim(t, "mail", "list", "--text", "Subject: one", "--dir", dir, "--format", "csv")
	require.Equal(t, 0, code)
	require.Equal(t, 1, strings.Count(out, "ada@contoso.lab,"), out)
	code, out, _ = runExsim(t, "mail", "wait", "ada@contoso.lab", "--text", "Subject: two", "--dir", dir)
	require.Equal(t, 0, code)
	b, err := os.ReadFile(strings.TrimSpace(out))
	require.NoError(t, err)
	require.Contains(t, string(b), "two")
	code, _, errs = runExsim(t, "mail", "wait", "alan@contoso.lab", "--timeout", "200ms", "--dir", dir)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no such message in alan@contoso.lab within 200ms")
	_, err = os.Stat(filepath.Join(dir, "mailboxes", "alan@contoso.lab"))
	require.ErrorIs(t, err, os.ErrNotExist, "looking makes no mailbox")
}
