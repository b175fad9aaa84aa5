package sasl

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/Azure/go-ntlmssp"
	"github.com/stretchr/testify/require"
)

var target = Target{
	NetBIOSDomain: "CONTOSO", NetBIOSComputer: "EX1", DNSDomain: "contoso.lab", DNSComputer: "ex1.contoso.lab", DNSTree: "contoso.lab",
	VersionMajor: 10, Build: 14393, Challenge: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Now: time.Unix(1_700_000_000, 0),
}

func account(domain, user string) (string, bool) {
	if (domain == "" || domain == "CONTOSO") && user == "ada" {
		return "Engine-1843", true
	}
	return "", false
}

// exchange lets Azure's client log on; what is done to a message on its way is
// twist's.
func exchange(t *testing.T, user, password string, twist func(message int, b []byte) []byte) error {
	t.Helper()
	server := NTLM(target, account)
	first, err := ntlmssp.NewNegotiateMessage("", "")
	require.NoError(t, err)
	challenge, done, err := server.Next(twist(1, first))
	if err != nil {
		return err
	}
	require.False(t, done)
	last, err := ntlmssp.NewAuthenticateMessage(challenge, user, password, nil)
	require.NoError(t, err)
	_, done, err = server.Next(twist(3, last))
	if err == nil {
		require.True(t, done)
		_, _, again := server.Next(last)
		require.ErrorIs(t, again, errFinished)
	}
	return err
}

func TestNTLM(t *testing.T) {
	as := func(_ int, b []byte) []byte { return b }
	require.NoError(t, exchange(t, "ada", "Engine-1843", as))
	require.NoError(t, exchange(t, `CONTOSO\ada`, "Engine-1843", as))
	require.ErrorIs(t, exchange(t, "ada", "engine-1843", as), ErrRefused)
	require.ErrorIs(t, exchange(t, "alan", "", as), ErrRefused, "nobody's password is empty")

	// A byte that differs anywhere in what is proven is found, none makes it
	// panic.
	for at := range 200 {
		err := exchange(t, "ada", "Engine-1843", func(message int, b []byte) []byte {
			if message == 3 && at < len(b) {
				b = bytes.Clone(b)
				b[at] ^= 0x41
			}
			return b
		})
		if at < 12 {
			require.Error(t, err, "octet %d", at)
		}
	}
	for size := range 120 {
		require.Error(t, exchange(t, "ada", "Engine-1843", func(message int, b []byte) []byte {
			if message == 3 {
				return b[:min(size, len(b))]
			}
			return b
		}), "%d octets", size)
	}
	require.Error(t, exchange(t, "ada", "Engine-1843", func(message int, b []byte) []byte { return []byte("hello") }))
}

func TestLogin(t *testing.T) {
	check := func(user, password string) error {
		if user == "ada" && password == "Engine-1843" {
			return nil
		}
		return ErrRefused
	}
	for _, tt := range []struct {
		first    []byte // with the command
		password string
		want     error
	}{{nil, "Engine-1843", nil}, {[]byte("ada"), "Engine-1843", nil}, {nil, "", ErrRefused}} {
		l := Login(check)
		challenge, done, err := l.Next(tt.first)
		require.NoError(t, err)
		if tt.first == nil {
			require.Equal(t, "Username:", string(challenge))
			challenge, done, err = l.Next([]byte("ada"))
			require.NoError(t, err)
		}
		require.Equal(t, "Password:", string(challenge))
		require.False(t, done)
		_, done, err = l.Next([]byte(tt.password))
		require.True(t, done)
		require.Equal(t, tt.want, err)
		_, _, err = l.Next(nil)
		require.ErrorIs(t, err, errFinished)
	}
}

// Tokens that are none are errors, and never panics.
func FuzzNTLM(f *testing.F) {
	first, err := ntlmssp.NewNegotiateMessage("D", "W")
	require.NoError(f, err)
	f.Add(first, []byte("NTLMSSP\x00\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		server := NTLM(target, account)
		if _, _, err := server.Next(one); err == nil {
			if _, _, err := server.Next(two); err == nil {
				t.Fatal("logged on by chance")
			}
		}
	})
}

func FuzzGSSAPI(f *testing.F) {
	f.Add([]byte("\x60\x0b\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"))
	f.Fuzz(func(t *testing.T, token []byte) {
		server := GSSAPI(&Keytab{}, func(string, string) error { return errors.New("admitted") })
		if _, done, err := server.Next(token); token != nil && (done || err == nil) {
			t.Fatal("logged on by chance")
		}
	})
}
