package transport

import (
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
)

// Security is what the lines of EHLO depend on beside the settings.
type Security struct {
	Verb        string // that TLS began with, "" in clear
	Certificate bool   // there is one that can be used
}

// verbAnonymousTLS begins TLS between Exchange servers.
const verbAnonymousTLS = "X-ANONYMOUSTLS"

// Keywords are the lines of EHLO behind the first, from a connector's settings,
// in the order that every public transcript of Exchange shows.
func Keywords(p *profile.Profile, c *org.Connector, s Security) []string {
	var k []string
	add := func(enabled bool, keyword string) {
		if enabled {
			k = append(k, keyword)
		}
	}
	add(c.SizeEnabled == profile.SizeWithValue, "SIZE "+strconv.FormatInt(c.MaxMessageSize, 10))
	add(c.SizeEnabled == profile.SizeWithoutValue, "SIZE")
	add(c.Pipelining, "PIPELINING")
	add(c.DSN, "DSN")
	add(c.EnhancedCodes, "ENHANCEDSTATUSCODES")
	begins := s.Verb == "" && s.Certificate
	add(begins && c.Has(profile.AuthTLS), "STARTTLS")
	add(begins && c.Has(profile.AuthExchangeServer) && !c.NoXAnonymousTLS, verbAnonymousTLS)
	m := mechanisms(c, s)
	add(m != "", "AUTH "+m)
	add(m == "" && p.SMTP.BareAuth && c.Has(profile.AuthExternalAuthoritative), "AUTH")
	add(exchangeAuth(c) != "", "X-EXPS "+map[bool]string{true: "EXCHANGEAUTH "}[s.Verb == verbAnonymousTLS]+exchangeAuth(c))
	add(s.Verb == verbAnonymousTLS, "X-EXCHANGEAUTH SHA256")
	add(c.EightBitMIME, "8BITMIME")
	add(c.BinaryMIME, "BINARYMIME")
	add(c.Chunking, "CHUNKING")
	return append(k, tail(p, c)...)
}

// tail are the last lines; XEXCH50 stands before SMTPUTF8, XRDST and what
// copies messages behind it.
func tail(p *profile.Profile, c *org.Connector) []string {
	var k []string
	server := c.Has(profile.AuthExchangeServer) || c.Has(profile.AuthExternalAuthoritative) && p.SMTP.BareAuth
	rest := c.Tail
	if !server {
		rest = nil
	}
	if len(rest) > 0 && rest[0] == "XEXCH50" {
		k, rest = append(k, "XEXCH50"), rest[1:]
	}
	for _, o := range []struct {
		enabled bool
		keyword string
	}{{c.SMTPUTF8, "SMTPUTF8"}, {c.Orar, "XORAR"}, {c.LongAddresses, "XLONGADDR"}} {
		if o.enabled {
			k = append(k, o.keyword)
		}
	}
	return append(k, rest...)
}

// mechanisms are those of AUTH, in Exchange's order.
func mechanisms(c *org.Connector, s Security) string {
	var m []string
	if c.Has(profile.AuthIntegrated) && c.EnableAuthGSSAPI {
		m = append(m, "GSSAPI")
	}
	if c.Has(profile.AuthIntegrated) {
		m = append(m, "NTLM")
	}
	if c.Has(profile.AuthBasic) && (s.Verb != "" || !c.Has(profile.AuthBasicRequireTLS)) {
		m = append(m, "LOGIN")
	}
	return strings.Join(m, " ")
}

// exchangeAuth are the mechanisms of X-EXPS, "" where it is not offered.
func exchangeAuth(c *org.Connector) string {
	switch {
	case c.Has(profile.AuthExchangeServer):
		return "GSSAPI NTLM"
	case c.Has(profile.AuthExternalAuthoritative):
		return "NTLM"
	}
	return ""
}
