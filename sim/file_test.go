package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/yamlfile"
)

func TestStarred(t *testing.T) {
	const text = `mailboxes:
  - {name: ada, password: "Pass w0rd, 1", pin: 123456}
  - {name: bob, password: 'it''s-secret'}
  - {name: cy, password: "pa\\\"w2"}
  - {name: di, password: x, subject: x}
  - name: el
    password: |
      deep
      down
    extension: 1
vars: {pw: hunter22, other: told}
users: {password: "${pw}"}
steps:
  - dtmf: {call: c1, digits: 123456#, secret: true}
  - dtmf: {call: c1, digits: 99}
`
	b, vars := Starred("x.yaml", []byte(text))
	got := string(b)
	require.Equal(t, []string{"pw"}, vars)
	for _, secret := range []string{"Pass", "w0rd", "123456", "hunter", "s-secret", "pa\\", "w2", "deep", "down"} {
		require.NotContains(t, got, secret)
	}
	require.Contains(t, got, "name: ada")
	require.Contains(t, got, "digits: 99")
	require.Contains(t, got, "subject: x", "a short password stars nothing else")
	_, err := yamlfile.Parse("x.yaml", b)
	require.NoError(t, err, "it is YAML still")
	b, _ = Starred("x.yaml", []byte("a: [password: x"))
	require.Nil(t, b)
}
