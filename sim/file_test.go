package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStarred(t *testing.T) {
	const text = `mailboxes:
  - {name: ada, password: "Pass w0rd, 1", pin: 123456}
steps:
  - dtmf: {call: c1, digits: 123456#, secret: true}
  - dtmf: {call: c1, digits: 99}
`
	got := string(Starred("x.yaml", []byte(text)))
	for _, secret := range []string{"Pass", "w0rd", "123456"} {
		require.NotContains(t, got, secret)
	}
	require.Contains(t, got, "name: ada")
	require.Contains(t, got, "digits: 99")
	require.Nil(t, Starred("x.yaml", []byte("a: [password: x")))
}
