package transport

import (
	"cmp"
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// Config describes the transport of one server.
type Config struct {
	Org     *org.Organisation
	Profile *profile.Profile
	Server  *org.Server // that listens
	// Connector is the one that takes the connections.
	Connector org.Connector
	// Hostname is the server that queues the message: the Mailbox server
	// behind a front end.
	Hostname string
	Store    *store.Store
	Discard  bool   // acknowledges, and throws away
	Service  string // of the port table, that the connector belongs to
	State    *State // of the server
	Behind   *State // of the server behind a front end
	Trust    *Trust
	// Relay finds the send connector of a domain; nil has none for any.
	Relay   func(domain string) *Sender
	Changed func(mailbox string) // is told of what was stored; it must not wait
	// Kerberos are the keys of the server, nil for none: GSSAPI fails then.
	Kerberos *sasl.Keytab
	Certs    []tls.Certificate // of the server; without one that fits no TLS is offered
	Keys     io.Writer         // takes the key log of TLS, nil for none
	Sessions *smtp.Sessions
	Causes   *Causes
	Trace    *trace.Source
	Trouble  func(stage string) *smtp.Trouble // what it does wrong, nil for nothing
}

// ReceiveConnector is a receive connector at work.
type ReceiveConnector struct {
	conf  Config
	fact  profile.ConnectorSettings
	cert  []tls.Certificate // that is shown: one, or none
	rates *rates

	granted sync.Map // rights by group
}

// NewReceiveConnector makes the server of a connector.
func NewReceiveConnector(conf Config) (*smtp.Server, error) {
	c := &ReceiveConnector{conf: conf, fact: conf.Connector.ConnectorSettings, rates: newRates(&conf.Connector.ConnectorSettings)}
	if cert, ok := certificateFor(conf.Certs, c.fact.TLSCertificate, c.fact.FQDN, time.Now()); ok {
		c.cert = []tls.Certificate{cert}
	}
	if len(c.cert) == 0 && c.fact.Has(profile.AuthTLS) {
		conf.Trace.Record(trace.Session{}, trace.Session{}, noCertificate{conf.Connector.Name, cmp.Or(c.fact.TLSCertificate, c.fqdn())}, nil)
	}
	p, f := &conf.Profile.SMTP, &c.fact
	return smtp.New(smtp.Config{
		Backend:        c,
		Name:           conf.Connector.Name,
		Banner:         c.banner,
		Hello:          func(remote netip.Addr) string { return c.fill(p.Hello, "ip", remote.String()) },
		Keywords:       c.keywords,
		Replies:        Replies(conf.Profile),
		TLS:            c.tls(tls.NoClientCert),
		AnonymousTLS:   c.tls(tls.RequestClientCert),
		MaxMessageSize: f.MaxMessageSize,
		MaxRecipients:  f.MaxRecipients,
		MaxConnections: f.MaxConnections,
		MaxPerSource:   f.PerSource(),
		MaxErrors:      f.MaxProtocolErrors,
		MaxLogons:      f.MaxLogonFailures,
		Tarpit:         f.TarpitInterval,
		AuthTarpit:     f.AuthTarpitInterval,
		TarpitChunks:   p.TarpitChunks,
		Discredit:      p.Discredit,
		RequireDomain:  f.RequireEHLODomain,
		NoBareLinefeed: f.BareLinefeedReject,
		LongAddresses:  f.LongAddresses,
		Inactivity:     f.InactivityTimeout,
		Session:        f.ConnectionTimeout,
		Sessions:       conf.Sessions,
		Cause:          conf.Causes.Of,
		Trace:          conf.Trace,
		Trouble:        conf.Trouble,
	})
}

// tls is how the connector shakes hands, nil without a certificate.
func (c *ReceiveConnector) tls(ask tls.ClientAuthType) *tls.Config {
	if len(c.cert) == 0 {
		return nil
	}
	if c.fact.DomainSecure {
		ask = tls.RequestClientCert
	}
	return &tls.Config{Certificates: c.cert, MinVersion: c.conf.Profile.SMTP.MinTLS(), MaxVersion: c.conf.Profile.SMTP.MaxTLS(), ClientAuth: ask,
		KeyLogWriter: c.conf.Keys, SessionTicketsDisabled: c.conf.Keys != nil} // what is resumed has the keys of another session
}

// fqdn is the name that the connector says.
func (c *ReceiveConnector) fqdn() string {
	if c.fact.FQDN != "" {
		return c.fact.FQDN
	}
	return c.conf.Server.FQDN
}

func (c *ReceiveConnector) fill(text, key, value string) string {
	return filled(text, "fqdn", c.fqdn(), key, value)
}

func (c *ReceiveConnector) banner(now time.Time) string {
	if c.fact.Banner != "" {
		return strings.TrimPrefix(c.fact.Banner, "220 ")
	}
	return c.fill(c.conf.Profile.SMTP.Banner, "date", now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
}

// keywords computes the lines of EHLO from the connector's settings.
func (c *ReceiveConnector) keywords(secured string) []string {
	return Keywords(c.conf.Profile, &c.conf.Connector, Security{Verb: secured, Certificate: len(c.cert) > 0})
}

// Session begins a session.
func (c *ReceiveConnector) Session(p smtp.Peer) (gosmtp.Session, error) {
	s := &session{c: c, peer: p}
	s.become(c.arrival(p))
	return s, nil
}
