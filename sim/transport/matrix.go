package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
)

// MatrixRow is what a sender of one kind is told at a connector.
type MatrixRow struct {
	Connector, Port string
	Peer            string // anonymous, user, server, external
	TLS             bool
	Own, Foreign    string // what mail to a mailbox, and to another domain, comes to
}

// Matrix asks the default connectors of a version who may send what: it is made
// by the sessions that answer on the wire. Every connector is asked once more
// with ExternalAuthoritative, for hosts that are secured by other means.
func Matrix(version string) ([]MatrixRow, error) {
	p, err := profile.Load(version)
	if err != nil {
		return nil, err
	}
	o := &org.Organisation{Version: version, Domain: "contoso.lab", Servers: []org.Server{{Name: "EX1", FQDN: "ex1.contoso.lab", Address: serverAddress}},
		Mailboxes: []org.Mailbox{{Name: "Ada Lovelace", Address: "ada@contoso.lab", Password: "secret"}}}
	var rows []MatrixRow
	for _, r := range p.Ports {
		f, ok := p.Connectors[r.ID]
		if !ok || r.Protocol != "smtp" {
			continue
		}
		c := org.Connector{ID: r.ID, Name: strings.TrimSuffix(f.Name, " {server}"), ConnectorSettings: f.ConnectorSettings}
		port := fmt.Sprint(r.Port)
		if r.Beside != 0 {
			port = fmt.Sprintf("%d, %d", r.Port, r.Beside)
		}
		for _, peer := range []string{"anonymous", "user", "server", "external"} {
			for _, tls := range []bool{false, true} {
				a := asker{o: o, p: p, c: c, peer: peer, tls: tls}
				rows = append(rows, MatrixRow{c.Name, port, peer, tls, a.ask("ada@contoso.lab"), a.ask("x@fabrikam.example")})
			}
		}
	}
	return rows, nil
}

var serverAddress = netip.MustParseAddr("192.0.2.1")

// asker is a sender of one kind at a connector.
type asker struct {
	o    *org.Organisation
	p    *profile.Profile
	c    org.Connector
	peer string
	tls  bool
}

// ask is what a message to a recipient comes to.
func (a *asker) ask(to string) string {
	secured := &tls.ConnectionState{Version: tls.VersionTLS12}
	conf := Config{Org: a.o, Profile: a.p, Server: &a.o.Servers[0], Connector: a.c, State: &State{}, Trace: (*trace.Source)(nil)}
	peer := smtp.Peer{Remote: netip.MustParseAddrPort("192.0.2.99:4000"), Local: netip.AddrPortFrom(serverAddress, 25)}
	if a.tls {
		peer.Secured, peer.TLS = "STARTTLS", secured
		if !a.c.Has(profile.AuthTLS) {
			return "no TLS"
		}
	}
	from := "bob@fabrikam.example"
	switch a.peer {
	case "external":
		conf.Connector.AuthMechanism = []profile.AuthMechanism{profile.AuthTLS, profile.AuthExternalAuthoritative}
		conf.Connector.PermissionGroups = append(conf.Connector.PermissionGroups[:len(conf.Connector.PermissionGroups):len(conf.Connector.PermissionGroups)], profile.ExchangeServers)
	case "server":
		peer.Remote = netip.AddrPortFrom(serverAddress, 4000)
	}
	r := &ReceiveConnector{conf: conf, fact: conf.Connector.ConnectorSettings, rates: newRates(&conf.Connector.ConnectorSettings)}
	s := &session{c: r, peer: peer}
	s.become(r.arrival(peer))
	if a.peer == "user" {
		from = "ada@contoso.lab"
		if mechanisms(&conf.Connector, Security{Verb: peer.Secured, Certificate: true}) == "" {
			return "no AUTH"
		}
		if err := s.user(`CONTOSO\ada`, &a.o.Mailboxes[0]); err != nil {
			return a.p.Replies[string(smtp.ReplyAuthFailed)]
		}
	}
	err := s.Mail(from, nil)
	if err == nil {
		err = s.Rcpt(to, nil)
	}
	var no *smtp.Refusal
	switch {
	case err == nil:
		return "taken"
	case errors.As(err, &no):
		return a.p.Replies[string(no.Reply)]
	}
	return err.Error()
}
