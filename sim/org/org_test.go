package org

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
)

func TestDefaults(t *testing.T) {
	for _, v := range profile.Versions() {
		name, text, err := Default(v)
		require.NoError(t, err)
		o, err := Load(name, text)
		require.NoError(t, err)
		require.Equal(t, v, o.Version)
		require.Equal(t, "Ada Lovelace", o.MailboxAt("ADA@contoso.lab").Name)
		if v == "2019" {
			continue
		}
		gw := o.GatewayAt(netip.MustParseAddr("127.0.0.30"))
		require.Equal(t, "gw1", gw.Name)
		require.Equal(t, Enabled, gw.Status)
		require.Equal(t, "Lab", o.HuntGroupOf("gw1", "4000").DialPlan)
		require.Nil(t, o.HuntGroupOf("gw1", "4999"))
		require.Equal(t, "Ada Lovelace", o.MailboxOf("Lab", "4021").Name)
		require.Nil(t, o.GatewayAt(netip.MustParseAddr("127.0.0.31")))
	}
	_, text, err := Default("2007-rtm")
	require.NoError(t, err)
	_, err = Load("o.yaml", bytes.Replace(text, []byte("roles: [unified-messaging]"), []byte("um-startup-mode: Dual, roles: [unified-messaging]"), 1))
	require.ErrorContains(t, err, "o.yaml:6:78: server UM1: Exchange 2007-rtm has no um-startup-mode Dual (Data Path Security Reference (Exchange 2007): 5060 or 5061, never both; Dual came with SP1)")
	_, err = Load("o.yaml", append(text, "call-router: {sip-tcp-listening-port: 5070}\n"...))
	require.ErrorContains(t, err, "Exchange 2007-rtm has no call router")
	_, text, err = Default("2016")
	require.NoError(t, err)
	_, err = Load("o.yaml", bytes.Replace(text, []byte(`"2016"`), []byte(`"2019"`), 1))
	for _, what := range []string{"dial plan Lab", "gateway gw1", "extension 4021"} {
		require.ErrorContains(t, err, what+": Exchange 2019 has no Unified Messaging")
	}
}

// Each mistake is found, with its place.
func TestMistakes(t *testing.T) {
	_, good, err := Default("2013")
	require.NoError(t, err)
	for _, tt := range []struct{ old, new, want string }{
		{`version: "2013"`, `version: "2012"`, `Exchange version "2012" is not known`},
		{"address: 127.0.0.11", "address: 127.0.0.10", `server "MBX1" has the address of "CAS1"`},
		{"address: 127.0.0.11", "address: 127.0.0", "IPv4 address too short"},
		{"roles: [mailbox]", "roles: [mailbx]", `unknown role "mailbx"`},
		{"roles: [client-access]", "roles: [mailbox]", "a call needs a server with the role client-access"},
		{"digits: 4", "digits: 21", "digits is 1 to 20"},
		{"uri-type: TelExtn", "uri-type: Sip", `unknown uri-type "Sip"`},
		{"uri-type: TelExtn", "uri-type: E164", `extension "4021" does not have the 4 digits`},
		{"digits: 4}", "digits: 4, operator: zero}", `operator: "zero" is no number`},
		{"digits: 4}", "digits: 4, logon-failures-before-disconnect: 21}", "21 is not within 1 to 20"},
		{`extension: "4021"`, `extension: "4021", pin: "12345"`, "its PIN does not have 6 to 24 digits"},
		{`extension: "4021"`, `extension: "4021", policy: strict`, `no mailbox policy "strict"`},
		{"hunt-groups:", "mailbox-policies: [{name: p, logon-failures-before-pin-reset: 15}]\nhunt-groups:", "(15) is not less than max-logon-attempts (15)"},
		{"hunt-groups:", `auto-attendants: [{name: a, pilot: "4500", dial-plan: Lab, keys: {"0": {extension: "4021"}}}]` + "\nhunt-groups:", "key 0 is no key of a menu"},
		{"hunt-groups:", `auto-attendants: [{name: a, pilot: "4500", dial-plan: Lab, keys: {"1": {voice-mail: "4999"}}}]` + "\nhunt-groups:", `no mailbox of dial plan Lab has the extension "4999"`},
		{"hunt-groups:", `auto-attendants: [{name: a, pilot: "4500", dial-plan: Lab, keys: {timeout: {}}}]` + "\nhunt-groups:", "key timeout does 0 things"},
		{"domain:", "redirect: {router: \"a b\"}\ndomain:", `redirect: "a b" is no host name`},
		{"gateway: gw1, dial-plan: Lab", "gateway: gw2, dial-plan: Lab", `no gateway "gw2"`},
		{"address: 127.0.0.30, dial-plan: Lab", "address: 127.0.0.30, dial-plan: Labs", `did you mean "Lab"?`},
		{"address: 127.0.0.30, dial-plan: Lab", "address: 127.0.0.30, status: Off, dial-plan: Lab", `unknown status "Off"`},
		{`"4021"`, `"402"`, `extension "402" does not have the 4 digits`},
		{`"4022"`, `"4021"`, `extension "Lab 4021" stands twice`},
		{"alan@contoso.lab", "alan@fabrikam.lab", "is not NAME@contoso.lab"},
		{"server: MBX1", "server: CAS1", `no Mailbox server "CAS1"`},
		{"domain: contoso.lab", "domain: contoso.lab\nrtp: {low: 500, high: 400}", "500-400 is not a range"},
		{"domain: contoso.lab", "domain: contoso.lab\nlimits: {max-call-duration: 1m}", "is not within 10m0s to 2h0m0s"},
		{"domain: contoso.lab", "domain: contoso.lab\nlimits: {max-calls-allowed: 201}", "0 to 200"},
		{"domain: contoso.lab", "domian: contoso.lab", `did you mean "domain"?`},
	} {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		require.NotEqual(t, string(good), bad, tt.old)
		_, err := Load("org.yaml", []byte(bad))
		require.ErrorContains(t, err, tt.want)
		require.Regexp(t, `org.yaml:\d+:\d+: `, err.Error())
	}
}

// A gateway with a dial plan and no hunt group has a default one, for every
// pilot; one without either is no gateway.
func TestDefaultHuntGroup(t *testing.T) {
	_, text, err := Default("2016")
	require.NoError(t, err)
	bare := regexp.MustCompile(`(?s)hunt-groups:.*\nmailboxes`).ReplaceAllString(string(text), "mailboxes")
	o, err := Load("o.yaml", []byte(bare))
	require.NoError(t, err)
	require.Equal(t, "Lab", o.HuntGroupOf("gw1", "4711").DialPlan)
	_, err = Load("o.yaml", []byte(strings.Replace(bare, "127.0.0.30, dial-plan: Lab", "127.0.0.30", 1)))
	require.ErrorContains(t, err, `gateway "gw1" belongs to no dial plan`)
}

// More gateways than a dial plan can have keep the UM service from starting.
func TestTooManyGateways(t *testing.T) {
	_, text, err := Default("2016")
	require.NoError(t, err)
	var more strings.Builder
	for i := range 200 {
		fmt.Fprintf(&more, "  - {name: more%d, address: 127.1.0.%d, dial-plan: Lab}\n", i, i)
	}
	full := strings.Replace(string(text), "hunt-groups:\n", more.String()+"hunt-groups:\n", 1)
	_, err = Load("o.yaml", []byte(full))
	require.ErrorContains(t, err, `dial plan "Lab" has 201 gateways, more than 200`)
}
