package scenarios

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is explained is a scenario itself, and means the same.
func TestExplain(t *testing.T) {
	t.Parallel()
	comments := regexp.MustCompile(`(?m) +# .*$`)
	for _, name := range Shipped() {
		once, err := shipped(t, name).Explain()
		require.NoError(t, err)
		list, err := Load(name+".yaml", []byte(once), nil)
		require.NoError(t, err, once)
		again, err := list[0].Explain()
		require.NoError(t, err)
		require.Equal(t, comments.ReplaceAllString(once, ""), comments.ReplaceAllString(again, ""))
	}
}

// Each value says where it comes from, and a secret is no value to be seen.
func TestExplainOrigins(t *testing.T) {
	name := inFolder(t, map[string]string{"pin.txt": "47110815"})
	list, err := Load(name, []byte(`version: 1
name: x
secrets: {pin: {file: pin.txt}}
organisation: {rtp: {low: 2000, high: 3000}}
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c, from: gw, dial: "4000", diverted: "4021"}
  - dtmf: {call: c, digits: "${pin}"}
`), nil)
	require.NoError(t, err)
	text, err := list[0].Explain()
	require.NoError(t, err)
	require.NotContains(t, text, "47110815")
	for line, origin := range map[string]string{
		"low: 2000": "", "transport: tcp": "default", "within: 10s": "default", "fqdn: mbx1.contoso.lab": "default organisation of 2013",
		"max-call-duration: 30m": "documented: Set-UMDialPlan",
	} {
		found := ""
		for l := range strings.SplitSeq(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(l), line) {
				found = l
			}
		}
		_, got, _ := strings.Cut(found, "# ")
		require.NotEmpty(t, found, line)
		require.Equal(t, origin, got, line)
	}
}
