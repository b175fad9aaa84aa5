package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// load is the default organisation of a version, with more in it.
func load(t *testing.T, version, more string) (*org.Organisation, *profile.Profile) {
	t.Helper()
	p, err := profile.Load(version)
	require.NoError(t, err)
	name, text, err := org.Default(version)
	require.NoError(t, err)
	o, err := org.Load(name, append(text, more...))
	require.NoError(t, err)
	return o, p
}

// connectorOf finds a connector by its ID.
func connectorOf(t *testing.T, o *org.Organisation, p *profile.Profile, id string) *org.Connector {
	t.Helper()
	for i := range o.Servers {
		s := &o.Servers[i]
		for _, c := range o.ConnectorsOf(p, s) {
			if c.ID == id {
				return &c
			}
		}
	}
	t.Fatalf("no connector %s", id)
	return nil
}

// The lines of EHLO are those of public transcripts; docs/mail.md names the
// transcript of each.
func TestKeywords(t *testing.T) {
	const (
		clear = ""
		tls   = "STARTTLS"
		anon  = verbAnonymousTLS
		rest  = "8BITMIME|BINARYMIME|CHUNKING"
		first = "PIPELINING|DSN|ENHANCEDSTATUSCODES"
	)
	for _, tt := range []struct{ name, version, connector, secured, more, want string }{
		{"F1 front end", "2016", "default-frontend", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XRDST"},
		{"F1 2013", "2013", "default-frontend", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XRDST"},
		{"F2 later front end", "2016-later", "default-frontend", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|SMTPUTF8|XRDST"},
		{"F3 behind STARTTLS", "2016", "default-frontend", tls, "",
			"SIZE 37748736|" + first + "|AUTH NTLM LOGIN|X-EXPS GSSAPI NTLM|" + rest + "|XRDST"},
		{"F4 client front end", "2016", "client-frontend", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|AUTH GSSAPI NTLM|" + rest},
		{"F4 behind STARTTLS", "2013", "client-frontend", tls, "",
			"SIZE 36700160|" + first + "|AUTH GSSAPI NTLM LOGIN|" + rest},
		{"F4 later", "2019", "client-frontend", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|AUTH GSSAPI NTLM|" + rest + "|SMTPUTF8"},
		{"F4 2010", "2010", "client", clear, "",
			"SIZE 10485760|" + first + "|STARTTLS|AUTH GSSAPI NTLM|" + rest},
		{"F5 hub of 2010", "2010-sp1", "default", clear, "",
			"SIZE|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XEXCH50|XRDST|XSHADOW"},
		{"F6 hub of 2016", "2016", "default", clear, "",
			"SIZE|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XEXCH50|XRDST|XSHADOWREQUEST"},
		{"F7 client proxy of 2019", "2019", "client-proxy", clear, "",
			"SIZE 37748736|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH GSSAPI NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XEXCH50|SMTPUTF8|XRDST|XSHADOWREQUEST"},
		{"F8 behind X-ANONYMOUSTLS", "2010", "default", anon, "",
			"SIZE|" + first + "|AUTH NTLM LOGIN|X-EXPS EXCHANGEAUTH GSSAPI NTLM|X-EXCHANGEAUTH SHA256|" + rest + "|XEXCH50|XRDST|XSHADOW"},
		{"F9 hub of 2007", "2007-sp1", "default", clear, "",
			"SIZE 10485760|" + first + "|STARTTLS|X-ANONYMOUSTLS|AUTH NTLM|X-EXPS GSSAPI NTLM|" + rest + "|XEXCH50"},
		{"F11 externally secured, 2010", "2010", "relay", clear,
			"receive-connectors: [{name: Relay, server: HUB1, port: 2526, auth-mechanism: [Tls, ExternalAuthoritative], permission-groups: [ExchangeServers]}]\n",
			"SIZE 10485760|" + first + "|STARTTLS|AUTH|X-EXPS NTLM|" + rest + "|XEXCH50|XRDST|XSHADOW"},
		{"F11 externally secured, 2016", "2016", "relay", clear,
			"receive-connectors: [{name: Relay, server: EX1, port: 2526, auth-mechanism: [Tls, ExternalAuthoritative], permission-groups: [ExchangeServers]}]\n",
			"SIZE 37748736|" + first + "|STARTTLS|X-EXPS NTLM|" + rest},
		{"F12 LOGIN in clear", "2016", "scanner", clear,
			"receive-connectors: [{name: Scanner, server: EX1, port: 2526, auth-mechanism: [Tls, BasicAuth], permission-groups: [ExchangeUsers]}]\n",
			"SIZE 37748736|" + first + "|STARTTLS|AUTH LOGIN|" + rest},
		{"all that can be switched", "2016", "default-frontend", clear,
			"receive-connectors: [{name: Default Frontend EX1, server: EX1, size-enabled: Disabled, pipelining-enabled: false, chunking-enabled: false, " +
				"suppress-x-anonymous-tls: true, enable-auth-gssapi: true, orar-enabled: true, long-addresses-enabled: true}]\n",
			"DSN|ENHANCEDSTATUSCODES|STARTTLS|AUTH GSSAPI NTLM|X-EXPS GSSAPI NTLM|8BITMIME|BINARYMIME|XORAR|XLONGADDR|XRDST"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, p := load(t, tt.version, tt.more)
			got := Keywords(p, connectorOf(t, o, p, tt.connector), Security{Verb: tt.secured, Certificate: true})
			require.Equal(t, strings.Split(tt.want, "|"), got)
		})
	}
}

// A certificate that cannot be used takes STARTTLS away, and an Edge offers no
// AUTH (F10).
func TestKeywordsWithout(t *testing.T) {
	o, p := load(t, "2016", "")
	c := connectorOf(t, o, p, "default-frontend")
	got := strings.Join(Keywords(p, c, Security{}), "|")
	require.NotContains(t, got, "TLS")
	require.Contains(t, got, "AUTH NTLM|X-EXPS GSSAPI NTLM")
	for version, tail := range map[string]string{"2010": "XEXCH50|XRDST", "2016": "XRDST", "2007-sp1": "XEXCH50"} {
		_, p := load(t, version, "")
		f := p.Connectors["edge"]
		got := strings.Join(Keywords(p, &org.Connector{Tail: f.Tail, ConnectorSettings: f.ConnectorSettings}, Security{Certificate: true}), "|")
		require.Equal(t, fmt.Sprintf("SIZE %d|PIPELINING|DSN|ENHANCEDSTATUSCODES|STARTTLS|X-ANONYMOUSTLS|X-EXPS GSSAPI NTLM|8BITMIME|BINARYMIME|CHUNKING|", f.MaxMessageSize)+tail, got)
	}
}

// Of several connectors at a port the narrowest range that holds the address
// serves it.
func TestServing(t *testing.T) {
	o, p := load(t, "2016", `receive-connectors:
  - {name: Printers, server: EX1, usage: Internet, remote-ip-ranges: [10.1.0.0/16, 127.0.0.40-127.0.0.49]}
  - {name: One, server: EX1, usage: Internet, remote-ip-ranges: ["::ffff:10.1.2.3"]}
  - {name: Elsewhere, server: EX1, port: 2526, usage: Internet, remote-ip-ranges: ["fd00::/8"]}
`)
	s := &o.Servers[0]
	list := o.ConnectorsOf(p, s)
	for from, want := range map[string]string{
		"10.1.2.3": "one", "10.1.2.4": "printers", "127.0.0.45": "printers", "127.0.0.50": "default-frontend", "fd00::1": "default-frontend", "::ffff:10.1.2.3": "one",
	} {
		require.Equal(t, want, org.Serving(list, 25, netip.MustParseAddr(from)).ID, from)
	}
	require.Equal(t, "elsewhere", org.Serving(list, 2526, netip.MustParseAddr("fd12::1")).ID)
	require.Nil(t, org.Serving(list, 2526, netip.MustParseAddr("10.1.2.3")))
}
