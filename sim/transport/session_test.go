package transport

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
)

// sessionAt is a session of a peer at a connector that is changed.
func sessionAt(t *testing.T, from string, change func(c *org.Connector, o *org.Organisation)) *session {
	t.Helper()
	o, p := load(t, "2016", "")
	c := *connectorOf(t, o, p, "default-frontend")
	change(&c, o)
	r := &ReceiveConnector{conf: Config{Org: o, Profile: p, Server: &o.Servers[0], Connector: c, State: &State{}, Trust: &Trust{}}, fact: c.ConnectorSettings, rates: newRates(&c.ConnectorSettings)}
	s := &session{c: r, peer: smtp.Peer{Remote: netip.MustParseAddrPort(from)}}
	s.become(r.arrival(s.peer))
	return s
}

func refusedWith(t *testing.T, err error, name smtp.Reply) {
	t.Helper()
	var no *smtp.Refusal
	require.ErrorAs(t, err, &no)
	require.Equal(t, name, no.Reply)
}

// The domain of an address is behind its last @, whatever a quoted name holds.
func TestQuotedNames(t *testing.T) {
	s := sessionAt(t, "192.0.2.1:25", func(c *org.Connector, o *org.Organisation) {
		c.DomainSecure = true
		o.DomainSecurity.Receive = []string{"fabrikam.example"}
	})
	refusedWith(t, s.Mail(`"x@y"@fabrikam.example`, nil), replyCertificateRequired)
	require.NoError(t, s.Mail(`"x@y"@elsewhere.example`, nil))
	refusedWith(t, s.Rcpt(`"ada@x"@contoso.lab`, nil), replyUserUnknown)
	refusedWith(t, s.Rcpt(`"x@contoso.lab"@elsewhere.example`, nil), replyUnableToRelay)
}

// A server's address is nobody's in particular where Exchange servers have no
// rights, and nobody is a user without a mailbox.
func TestIdentity(t *testing.T) {
	s := sessionAt(t, "127.0.0.10:25", func(c *org.Connector, _ *org.Organisation) {
		c.PermissionGroups = []profile.PermissionGroup{profile.AnonymousUsers}
	})
	require.Equal(t, profile.AnonymousUsers, s.who.group)
	require.NoError(t, s.Mail("bob@fabrikam.example", nil))
	s.c.fact.PermissionGroups = append(s.c.fact.PermissionGroups, profile.ExchangeUsers)
	require.ErrorContains(t, s.user("EX1$", nil), "has no mailbox")
	require.Error(t, s.exchangeServer(`CONTOSO\\ada`, &s.c.conf.Org.Mailboxes[0]))
}

// A partner's rights are those of the sender that was proven.
func TestPartnerRights(t *testing.T) {
	s := sessionAt(t, "192.0.2.1:25", func(c *org.Connector, _ *org.Organisation) {
		c.PermissionGroups = []profile.PermissionGroup{profile.Partners}
	})
	s.become(identity{user: "fabrikam.example", group: profile.Partners})
	require.True(t, s.has(profile.RightSubmit))
	refusedWith(t, s.Mail("x@elsewhere.example", nil), replyNotAuthenticated)
}

// Reserved domains are refused where the connector says so, and nowhere else.
func TestReservedDomains(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := sessionAt(t, "192.0.2.1:25", func(c *org.Connector, _ *org.Organisation) {
			c.RejectReservedTop, c.RejectReservedSecond, c.RejectSingleLabel = on, on, on
			c.Rights = []profile.Right{profile.RightAnyRecipient}
		})
		for to, want := range map[string]smtp.Reply{
			"a@x.example": replyReservedTop, "a@localhost": replySingleLabel, "a@mail.example.com": replyReservedSecond, "a@EXAMPLE.org": replyReservedSecond, "a@contoso": replySingleLabel,
			"a@example.de": "", "a@examples.com": "", "ada@contoso.lab": "",
		} {
			if err := s.Rcpt(to, nil); on && want != "" {
				refusedWith(t, err, want)
			} else {
				require.NoError(t, err, to)
			}
		}
	}
}
