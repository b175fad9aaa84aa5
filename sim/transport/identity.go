package transport

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gosasl "github.com/emersion/go-sasl"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// identity is whom a session serves.
type identity struct {
	user   string // as a log names it
	group  profile.PermissionGroup
	owner  *org.Mailbox // of a user's mailbox
	rights []profile.Right
}

// arrival is who a peer is before it has logged on: a server of the
// organisation by its address, where there is no KDC by which it could log on,
// everybody at an externally secured connector,
// else nobody in particular.
func (c *ReceiveConnector) arrival(p smtp.Peer) identity {
	if owner := c.directTrust(p); owner != "" && c.fact.Allows(profile.ExchangeServers) {
		return identity{user: owner, group: profile.ExchangeServers}
	}
	if s := c.conf.Org.ServerAt(p.Remote.Addr()); s != nil && !c.conf.Org.Kerberos.KDC.IsValid() && c.fact.Allows(profile.ExchangeServers) {
		return identity{user: s.Name, group: profile.ExchangeServers}
	}
	if c.fact.Has(profile.AuthExternalAuthoritative) {
		return identity{user: `MS Exchange\Externally Secured Servers`, group: profile.ExternallySecured}
	}
	return identity{user: `NT AUTHORITY\ANONYMOUS LOGON`, group: profile.AnonymousUsers}
}

// become gives a session the rights that an identity has at the connector.
func (s *session) become(who identity) {
	g := s.c.grant(who.group)
	who.rights = g.rights
	s.who = who
	s.c.conf.Trace.Record(s.peer.Trace, noCause, permissions{who.user, string(who.group), g.log}, nil)
}

// grant is what a group has at a connector.
type grant struct {
	rights []profile.Right
	log    string
}

// grant is computed once for each group: settings do not change.
func (c *ReceiveConnector) grant(group profile.PermissionGroup) *grant {
	if g, ok := c.granted.Load(group); ok {
		if g, ok := g.(*grant); ok {
			return g
		}
	}
	allowed := c.fact.Allows(group) || group == profile.ExternallySecured
	g := &grant{}
	for _, p := range c.conf.Profile.Permissions {
		if allowed && slices.Contains(p.Groups, group) || group == profile.AnonymousUsers && slices.Contains(c.conf.Connector.Rights, p.Right) {
			g.rights = append(g.rights, p.Right)
		}
	}
	g.log = c.logRights(g.rights)
	c.granted.Store(group, g)
	return g
}

// logRights names rights as a protocol log does.
func (c *ReceiveConnector) logRights(rights []profile.Right) string {
	var names []string
	for _, p := range c.conf.Profile.Permissions {
		if slices.Contains(rights, p.Right) {
			names = append(names, p.Log)
		}
	}
	return strings.Join(names, " ")
}

func (s *session) has(r profile.Right) bool { return slices.Contains(s.who.rights, r) }

// User names whom the session serves.
func (s *session) User() string { return s.who.user }

// errNoSuchMechanism is a mechanism that is offered and cannot be served.
var errNoSuchMechanism = errors.New("the mechanism cannot be served here")

// errNoKeytab is GSSAPI without a key.
var errNoKeytab = errors.New("GSSAPI needs the server's key: kerberos: {keytab: FILE} of the organisation")

// Authenticate begins a log-on.
func (s *session) Authenticate(verb, mechanism string) (gosasl.Server, error) {
	admit := s.user
	if verb == "X-EXPS" {
		admit = s.exchangeServer
	}
	switch mechanism {
	case "LOGIN":
		return sasl.Login(func(user, password string) error {
			name, m := s.c.account(user)
			if m == nil || m.Password == "" || !same(m.Password, password) {
				return fmt.Errorf("%w: %s", sasl.ErrRefused, name)
			}
			return admit(name, m)
		}), nil
	case "NTLM":
		return s.ntlm(admit), nil
	case "GSSAPI":
		if s.c.conf.Kerberos == nil {
			return nil, errNoKeytab
		}
		return sasl.GSSAPI(s.c.conf.Kerberos, func(principal, realm string) error {
			name, m := s.c.account(principal)
			if !strings.EqualFold(realm, s.c.conf.Org.Domain) || m == nil && s.c.conf.Org.ServerPrincipal(principal) == nil {
				return fmt.Errorf("%w: %s@%s", sasl.ErrRefused, principal, realm)
			}
			return admit(name, m)
		}), nil
	}
	return nil, errNoSuchMechanism
}

// ntlm is a log-on by NTLM; whoever it was is known when it has succeeded.
func (s *session) ntlm(admit func(name string, m *org.Mailbox) error) gosasl.Server {
	var name string
	var m *org.Mailbox
	server := sasl.NTLM(s.c.target(), func(domain, user string) (string, bool) {
		if domain != "" {
			user = domain + `\` + user
		}
		if name, m = s.c.account(user); m == nil || m.Password == "" {
			return "", false
		}
		return m.Password, true
	})
	return &then{server, func() error { return admit(name, m) }}
}

// then does something where an exchange has succeeded.
type then struct {
	gosasl.Server
	next func() error
}

func (t *then) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := t.Server.Next(response)
	if done && err == nil {
		err = t.next()
	}
	return challenge, done, err
}

// user admits the owner of a mailbox.
func (s *session) user(name string, m *org.Mailbox) error {
	if m == nil {
		return fmt.Errorf("%w: %s has no mailbox", sasl.ErrRefused, name)
	}
	if !s.c.fact.Allows(profile.ExchangeUsers) {
		return fmt.Errorf("%s may not submit here: permission-groups has no ExchangeUsers", name)
	}
	s.become(identity{user: name, group: profile.ExchangeUsers, owner: m})
	return nil
}

// exchangeServer admits a server of the organisation.
func (s *session) exchangeServer(name string, m *org.Mailbox) error {
	server := s.c.conf.Org.ServerPrincipal(name)
	switch {
	case m != nil || server == nil:
		return fmt.Errorf("%s is no Exchange server", name)
	case !s.c.fact.Allows(profile.ExchangeServers):
		return fmt.Errorf("%s may not submit here: permission-groups has no ExchangeServers", name)
	}
	s.become(identity{user: s.c.conf.Org.NetBIOSDomain() + `\` + server.Name + "$", group: profile.ExchangeServers})
	return nil
}

// account finds a mailbox by what its owner logs on with: DOMAIN\name, an
// address, or the name alone.
func (c *ReceiveConnector) account(user string) (name string, m *org.Mailbox) {
	domain := c.conf.Org.NetBIOSDomain()
	alias := user
	if d, rest, ok := strings.Cut(user, `\`); ok {
		if !strings.EqualFold(d, domain) && !strings.EqualFold(d, c.conf.Org.Domain) {
			return user, nil
		}
		alias = rest
	}
	if !strings.Contains(alias, "@") {
		alias += "@" + c.conf.Org.Domain
	}
	if m = c.conf.Org.MailboxAt(alias); m == nil {
		return user, nil
	}
	local, _, _ := strings.Cut(m.Address, "@")
	return domain + `\` + local, m
}

// target is what NTLM tells of the server: nmap's smtp-ntlm-info reads it.
func (c *ReceiveConnector) target() sasl.Target {
	o := c.conf.Org
	host, _, _ := strings.Cut(c.conf.Server.FQDN, ".")
	w := c.conf.Profile.SMTP.Windows
	t := sasl.Target{
		NetBIOSDomain: o.NetBIOSDomain(), NetBIOSComputer: strings.ToUpper(host[:min(15, len(host))]),
		DNSDomain: o.Domain, DNSComputer: c.conf.Server.FQDN, DNSTree: o.Domain, Now: time.Now(),
	}
	_, _ = fmt.Sscanf(w, "%d.%d.%d", &t.VersionMajor, &t.VersionMinor, &t.Build)
	_, _ = rand.Read(t.Challenge[:]) // never fails
	return t
}
