package profile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersions(t *testing.T) {
	require.Equal(t, []string{"2007-rtm", "2007-sp1", "2010", "2010-sp1", "2013", "2016", "2016-later", "2019", "online-2015"}, Versions())
	for _, v := range Versions() {
		p, err := Load(v)
		require.NoError(t, err)
		if require.Equal(t, v != "2019", p.HasUM()); p.HasUM() {
			require.Equal(t, "FROM", p.SIP.Headers.From)
			require.Equal(t, 302, p.Redirect.Status.Code)
			front, ok := p.Port(p.Front())
			require.True(t, ok)
			require.EqualValues(t, 5060, front.Port)
		}
		for key, s := range p.Sources {
			require.NotEmpty(t, s.Title, key)
			require.True(t, strings.HasPrefix(s.Address, "https://"), key)
		}
		for _, f := range p.Facts {
			require.Contains(t, p.Sources, f.Source, f.Key)
		}
		for _, r := range p.Ports {
			require.NotEqual(t, "5060/udp", r.Transport, "SIP over UDP is no row")
		}
	}
	_, err := Load("SE")
	require.ErrorContains(t, err, `Exchange SE is simulated as "2019"`)
	_, err = Load("2003")
	require.ErrorContains(t, err, "known are 2007-rtm, 2007-sp1, 2010, 2010-sp1, 2013, 2016")
}

// A user's file replaces what is assumed, and nothing else.
func TestOverride(t *testing.T) {
	load := func(text string) (*Profile, error) { return Load("2013", Override{"my.yaml", []byte(text)}) }
	p, err := load(`facts: {um.tone-hz: {value: 440}, redirect.router-host: {value: server-fqdn}}
replies: {reset: {text: "250 2.0.0 OK then"}}`)
	require.NoError(t, err)
	require.Equal(t, 440.0, p.UM.ToneHz)
	require.Equal(t, HostFQDN, p.Redirect.RouterHost)
	require.Equal(t, "250 2.0.0 OK then", p.Replies["reset"])
	f, _ := p.Fact("um.tone-hz")
	require.Equal(t, Fact{Key: "um.tone-hz", Value: "440", Standing: Observed, Source: "my.yaml"}, f)

	for text, want := range map[string]string{
		`facts: {um.max-calls: {value: 5}}`:                               `my.yaml:1:9: "um.max-calls" is documented (Set-UMService)`,
		`facts: {um.tone-hertz: {value: 5}}`:                              `did you mean "um.tone-hz"?`,
		`facts: {um.tone-hz: {value: high}}`:                              `wants a number, got "high"`,
		`facts: {um.tone-hz: {standing: assumed}}`:                        `fact "um.tone-hz" has no value`,
		`facts: {um.tone-hz: {value: 1, standing: sure}}`:                 `documented, observed or assumed`,
		`facts: {um.tone-hz: {value: 1, source: nowhere}}`:                `has no known source ("nowhere")`,
		`facts: {redirect.router-host: {value: elsewhere}}`:               `redirect.router-host: elsewhere`,
		`facts: {tls.check.algorithm: {value: maybe}}`:                    "my.yaml:1:38: tls.check.algorithm: maybe",
		`facts: {tls.min-version: {value: "2"}}`:                          "tls.min-version: 2",
		`facts: {sdp.more-crypto-suites: {value: [F8_128_HMAC_SHA1_80]}}`: "_32 are spoken here",
		`facts: {mwi.retry: {value: 0s}}`:                                 "mwi.retry: 0s",
		`facts: {um.bad-history-info: {value: perhaps}}`:                  "um.bad-history-info: perhaps",
		`ports: []`: `sources, facts and replies only`,
		"facts: {um.tone-hz: {value: 1}}\nfatcs: {}": `did you mean "facts"?`,
	} {
		_, err := load(text)
		require.ErrorContains(t, err, want, text)
	}
}

// A data file without a fact, or with a fact without source, does not load.
func TestDataIsComplete(t *testing.T) {
	base, err := data.ReadFile("data/base.yaml")
	require.NoError(t, err)
	load := func(text string) error {
		l := &loader{p: &Profile{Version: "x", Sources: map[string]Source{}, Connectors: map[string]Connector{}, Usages: map[string]Usage{}, Replies: map[string]string{}}, facts: map[string]placed{}, connectors: map[string][]placedValue{}}
		if err := l.file("x.yaml", []byte(text), false); err != nil {
			return err
		}
		return l.finish()
	}
	require.ErrorContains(t, load(string(base)), `no fact "roles.separate"`)
	noSource := strings.Replace(string(base), "standing: assumed, source: exsim}", "standing: assumed}", 1)
	require.NotEqual(t, string(base), noSource)
	require.ErrorContains(t, load(noSource), "has no known source")
}
