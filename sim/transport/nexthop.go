package transport

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	gosasl "github.com/emersion/go-sasl"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// prepare greets, begins TLS and logs on, as the connector says, or as domain
// security does for a domain; "" where that is for none.
func (s *Sender) prepare(k *smtp.Client, domain string) error {
	c := &s.conf.Connector
	if err := k.Greet(); err != nil {
		return err
	}
	_, offered := k.Offers("STARTTLS")
	wanted := c.RequireTLS || c.TLSAuthLevel != "" || domain != ""
	secure := offered && !c.IgnoreSTARTTLS
	cert, has := certificateFor(s.conf.Certs, c.TLSCertificate, c.FQDN, time.Now())
	switch {
	case wanted && !offered:
		return s.says(replyStartTLSRequired, nil)
	case secure && !has:
		return s.says(replyNoCredentials, errNoCredentials)
	case secure:
		if err := k.StartTLS("STARTTLS", s.tls(cert, domain)); err != nil {
			var bad certificateError
			if errors.As(err, &bad) {
				return s.says(replyCertificate, bad)
			}
			return s.says(replyNoChannel, err)
		}
	}
	return s.logOn(k, secure)
}

// tls is how the connector shakes hands. Without a level, the next hop's
// certificate is not looked at: TLS is opportunistic. For a domain of domain
// security it has to name that domain.
func (s *Sender) tls(cert tls.Certificate, domain string) *tls.Config {
	c := &s.conf.Connector
	name := cmp.Or(c.TLSDomain, c.SmartHostName)
	return &tls.Config{
		ServerName: name, Certificates: []tls.Certificate{cert}, MinVersion: s.conf.Profile.SMTP.MinTLS(), MaxVersion: s.conf.Profile.SMTP.MaxTLS(),
		InsecureSkipVerify: true, // the connector's own check follows
		KeyLogWriter:       s.conf.Keys,
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := s.check(state.PeerCertificates, name, domain); err != nil {
				return certificateError{err}
			}
			return nil
		},
	}
}

// certificateError is what is wrong with a next hop's certificate.
type certificateError struct{ error }

// check holds a next hop's certificates against what the connector asks of them.
func (s *Sender) check(chain []*x509.Certificate, name, domain string) error {
	level := s.conf.Connector.TLSAuthLevel
	switch {
	case domain != "":
		return namesDomain(chain, s.conf.Roots, domain)
	case level == org.DomainValidation:
		return verifyChain(chain, x509.VerifyOptions{Roots: s.conf.Roots, DNSName: name})
	case level == org.CertificateValidation:
		return verifyChain(chain, x509.VerifyOptions{Roots: s.conf.Roots})
	}
	return nil
}

func (s *Sender) logOn(k *smtp.Client, secure bool) error {
	c := &s.conf.Connector
	switch c.Auth {
	case org.SendAuthBasicRequireTLS, org.SendAuthBasic:
		if c.Auth == org.SendAuthBasicRequireTLS && !secure {
			return s.says(replyStartTLSRequired, errBasicRequireTLS)
		}
		if !k.HasMechanism("AUTH", "LOGIN") {
			return s.says(replyExchangeAuth, errNoLogin)
		}
		return k.Auth("AUTH", gosasl.NewLoginClient(c.User, c.Password))
	case org.SendAuthExchangeServer:
		return logOnAsServer(k, s.conf.Profile, s.conf.LogOn, c.SmartHostName)
	}
	return nil
}

// logOnAsServer logs on as one Exchange server does to another: by Kerberos, and
// both prove themselves.
func logOnAsServer(k *smtp.Client, p *profile.Profile, by *sasl.Initiator, host string) error {
	switch {
	case by == nil:
		return spelled(p, replyExchangeAuth, errNoRealm)
	case !k.HasMechanism("X-EXPS", "GSSAPI"):
		return spelled(p, replyExchangeAuth, errNoGSSAPI)
	}
	logOn, err := by.LogOn("SMTPSVC/"+host, "smtp/"+host)
	if err != nil {
		return spelled(p, smtp.ReplyAuthUnavailable, err)
	}
	return k.Auth("X-EXPS", logOn)
}

// Why it stays.
var (
	errNoCredentials   = errors.New("TLS negotiation failed with error NoCredentials")
	errBasicRequireTLS = errors.New("the connector has BasicAuthRequireTLS")
	errNoLogin         = errors.New("the next hop does not offer AUTH LOGIN")
	errNoRealm         = errors.New("the organisation has no kerberos: {keytab, kdc}")
	errNoGSSAPI        = errors.New("the next hop does not offer X-EXPS GSSAPI")
)

func (s *Sender) says(name smtp.Reply, why error) error { return spelled(s.conf.Profile, name, why) }

// wrapped is a failure as a queue's LastError tells it: by the next hop's own
// answer, where there is one.
func (s *Sender) wrapped(said, err error) error {
	if s.q.ctx.Err() != nil {
		return s.q.ctx.Err()
	}
	var refused *smtp.Refused
	switch {
	case errors.As(err, &refused):
		said = refused
	case errors.Is(err, smtp.ErrBody):
		said = s.says(replyBody, nil)
	case errors.Is(err, smtp.ErrUTF8):
		said = s.says(replyUTF8, nil)
	case said == nil:
		said = err
	}
	return lastError{strings.ReplaceAll(s.conf.Profile.SMTP.LastError, "{reply}", said.Error()), err}
}

type lastError struct {
	text string
	err  error
}

func (l lastError) Error() string { return l.text }
func (l lastError) Unwrap() error { return l.err }
