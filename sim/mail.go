package sim

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/transport"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// mailState is what befalls the transport of a server.
func (x *Exchange) mailState(s *org.Server) *transport.State {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mail[s.Name] == nil {
		x.mail[s.Name] = &transport.State{}
	}
	return x.mail[s.Name]
}

// components are the services of the port table by the names that
// Set-ServerComponentState has.
var components = map[string]string{"HubTransport": "transport", "FrontendTransport": "front-end-transport", "EdgeTransport": "edge-transport"}

// SetTransport sets a component of a server's transport (HubTransport,
// FrontendTransport, EdgeTransport) inactive, or active again, as
// Set-ServerComponentState does: it answers, and takes no mail.
func (x *Exchange) SetTransport(server, component string, inactive bool) error {
	s, service := x.conf.Org.ServerNamed(server), components[component]
	if s == nil || service == "" {
		return fmt.Errorf("sim: no server is named %q, or no component %q", server, component)
	}
	st := x.mailState(s)
	st.SetInactive(service, inactive)
	st.Changed(x.log.Source(server, service), component, map[bool]string{true: "inactive", false: "active"}[inactive])
	return nil
}

// SetPressure sets how hard a server's transport is pressed for resources.
func (x *Exchange) SetPressure(server string, p transport.Pressure) error {
	s := x.conf.Org.ServerNamed(server)
	if s == nil {
		return fmt.Errorf("sim: no server is named %q", server)
	}
	st := x.mailState(s)
	st.SetPressure(p)
	st.Changed(x.log.Source(server, "transport"), "back pressure", string(p.Level))
	return nil
}

// openKerberos reads the keytab.
func (x *Exchange) openKerberos() error {
	k := x.conf.Org.Kerberos
	if k.Keytab == "" {
		return nil
	}
	var err error
	if x.keytab, err = sasl.LoadKeytab(k.Keytab); err != nil {
		return &ConfigError{fmt.Errorf("sim: kerberos: %w; it is beside the organisation's file, or has a whole path", err)}
	}
	return nil
}

// logOn is what a server gets Kerberos tickets by, nil without a KDC.
func (x *Exchange) logOn(s *org.Server) (*sasl.Initiator, error) {
	kdc := x.conf.Org.Kerberos.KDC
	if !kdc.IsValid() || x.keytab == nil {
		return nil, nil
	}
	i, err := x.keytab.Initiator(kdc.String(), s.Name+"$", "SMTPSVC/"+s.FQDN, "smtp/"+s.FQDN)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("sim: kerberos: %s: %w", s.Name, err)}
	}
	return i, nil
}

// openSenders puts the send connectors to work, and one for what no connector is
// for: its queue waits.
func (x *Exchange) openSenders() error {
	x.senders = map[string]*transport.Sender{}
	servers := x.serversOf("transport")
	if len(servers) == 0 {
		return nil
	}
	list := append(slices.Clone(x.conf.Org.SendConnectors), org.SendConnector{Server: servers[0].Name})
	for _, c := range list {
		server := x.conf.Org.ServerNamed(c.Server)
		certs, err := x.mailCertificates(server)
		if err != nil {
			return err
		}
		var by *sasl.Initiator
		if c.Auth == org.SendAuthExchangeServer {
			if by, err = x.logOn(server); err != nil {
				return err
			}
		}
		x.senders[c.Name], err = transport.NewSender(transport.SenderConfig{
			Connector: c, Profile: x.profile, Server: server, Dir: filepath.Join(x.conf.Dir, server.Name, "queue", cmp.Or(c.ID(), org.Unreachable)),
			Certs: certs, Keys: x.conf.Capture.Keys(), Roots: x.lab.Pool(), LogOn: by, Sessions: x.sessions, Dial: x.conf.Net.Dial, Trace: x.log.Source(server.Name, "send-connector"),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// relay is the send connector of a domain.
func (x *Exchange) relay(domain string) *transport.Sender {
	if c := x.conf.Org.SendConnectorFor(domain); c != nil {
		return x.senders[c.Name]
	}
	return x.senders[""]
}

// openTrust collects the certificates of direct trust: the servers' own, and
// those that a file of the organisation names.
func (x *Exchange) openTrust() error {
	x.trust = &transport.Trust{Direct: map[[sha256.Size]byte]string{}, Roots: x.lab.Pool()}
	for i := range x.conf.Org.Servers {
		s := &x.conf.Org.Servers[i]
		certs, err := x.mailCertificates(s)
		if err != nil {
			return err
		}
		for _, c := range certs {
			x.trust.Direct[transport.Thumbprint(c.Leaf)] = s.Name
		}
	}
	for _, name := range x.conf.Org.DirectTrust {
		b, err := os.ReadFile(name)
		if err != nil {
			return &ConfigError{fmt.Errorf("sim: direct-trust: %w", err)}
		}
		block, _ := pem.Decode(b)
		if block == nil {
			return &ConfigError{fmt.Errorf("sim: direct-trust: %s has no certificate in PEM", name)}
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return &ConfigError{fmt.Errorf("sim: direct-trust: %s: %w", name, err)}
		}
		x.trust.Direct[transport.Thumbprint(cert)] = cert.Subject.CommonName
	}
	return nil
}

// ServerCertificate is what a server shows: for a party that plays it.
func (x *Exchange) ServerCertificate(name string) (tls.Certificate, error) {
	s := x.conf.Org.ServerNamed(name)
	if s == nil {
		return tls.Certificate{}, fmt.Errorf("sim: no server is named %q", name)
	}
	return x.certificate(s)
}

// closeSenders closes them at the same time: each may wait for its next hop.
func (x *Exchange) closeSenders() error {
	var wg sync.WaitGroup
	errs := make([]error, len(x.senders))
	for i, name := range slices.Sorted(maps.Keys(x.senders)) {
		wg.Go(func() { errs[i] = x.senders[name].Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// connectors makes the SMTP servers of the receive connectors at a listener.
func (x *Exchange) connectors(l *Listener) (endpoint, error) {
	certs, err := x.mailCertificates(l.Server)
	if err != nil {
		return nil, err
	}
	all := x.conf.Org.ConnectorsOf(x.profile, l.Server)
	servers := map[string]*smtp.Server{}
	for i := range all {
		if all[i].Port != l.Documented {
			continue
		}
		l.connectors = append(l.connectors, all[i].ID)
		servers[all[i].ID], err = transport.NewReceiveConnector(transport.Config{
			Org: x.conf.Org, Profile: x.profile, Server: l.Server, Connector: all[i], Hostname: x.queueing(l.Server).FQDN,
			Store: x.store, Kerberos: x.keytab, Service: l.Row.Service, State: x.mailState(l.Server), Behind: x.mailState(x.queueing(l.Server)), Discard: x.conf.DiscardMail, Trust: x.trust, Relay: x.relay, Changed: x.mailboxChanged, Certs: certs, Keys: x.conf.Capture.Keys(), Sessions: x.sessions, Causes: x.causes,
			Trace: x.log.Source(l.Server.Name, all[i].ID), Trouble: trouble(x.faultsOf(l)),
		})
		if err != nil {
			return nil, err
		}
	}
	return smtp.Share(func(from netip.Addr) *smtp.Server {
		if c := org.Serving(all, l.Documented, from); c != nil {
			return servers[c.ID]
		}
		return nil
	}, slices.Collect(maps.Values(servers))...), nil
}

// queueing is the server whose transport takes what comes to a server: itself,
// or the first one behind a front end.
func (x *Exchange) queueing(s *org.Server) *org.Server {
	servers := x.serversOf("transport")
	if len(servers) == 0 || slices.Contains(servers, s) {
		return s
	}
	return servers[0]
}

// submit hands Unified Messaging's messages to a server's pickup.
func (x *Exchange) submit(s *org.Server) func(um.Message) error {
	return func(m um.Message) error {
		p := x.pickups[s.Name]
		if p == nil {
			return errors.New("sim: no transport on " + s.Name)
		}
		return p.Submit(transport.Message{From: m.From, To: m.To, Data: m.Data, Call: m.Call})
	}
}

// openPickups makes what carries Unified Messaging's messages to the Default
// connector: of the same server, where it has one.
func (x *Exchange) openPickups() error {
	for _, s := range x.serversOf(um.UMWorker) {
		to := x.queueing(s)
		by, err := x.logOn(s)
		if err != nil {
			return err
		}
		p, err := transport.NewPickup(transport.PickupConfig{
			Dir:   filepath.Join(x.conf.Dir, s.Name, "UnifiedMessaging"),
			Hello: s.FQDN, From: s.Address, To: x.Listener(to.Name, "default").Addr(), ServerName: to.FQDN,
			TLS: &tls.Config{RootCAs: x.lab.Pool(), MinVersion: tls.VersionTLS12, KeyLogWriter: x.conf.Capture.Keys()}, Dial: x.conf.Net.Dial, LogOn: by, Profile: x.profile,
			Retry: cmp.Or(x.conf.Org.Limits.SubmitRetry, x.profile.UM.SubmitRetry), Causes: x.causes, Trace: x.log.Source(s.Name, um.UMWorker),
		})
		if err != nil {
			return err
		}
		x.pickups[s.Name] = p
	}
	return nil
}
