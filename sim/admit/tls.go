package admit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// TLS is how one end of ours shakes hands: mutual TLS, where the peer's
// certificate is judged by the policy and not by Go.
type TLS struct {
	Policy *Policy
	Cert   tls.Certificate // that we show
	// MinVersion is the oldest protocol that is taken; 0 means TLS 1.2.
	MinVersion uint16
	// Legacy takes the suites of devices of Exchange's time, too: RSA key
	// exchange, CBC and 3DES.
	Legacy bool
	// Timeout bounds a handshake; 0 means 10 s.
	Timeout time.Duration

	// Expect tells whether one of the names of a certificate is expected, and
	// whose it is: "gateway gw1".
	Expect func(names []string) (who string, ok bool)
	// Expected says in events whose names these are.
	Expected string
	Trace    *trace.Source
	// Keys, if set, takes the key log.
	Keys io.Writer
	// Misdeed, if set, says for each connection what we do wrong on it: the
	// peer is under test.
	Misdeed func() Misdeed
}

// Conn is a connection whose peer has shown a certificate.
type Conn struct {
	*tls.Conn
	identity string
}

// Identity is whose certificate the peer has shown, as Expect says; "" if the
// policy lets it in without a name.
func (c *Conn) Identity() string { return c.identity }

// Client shakes hands on a connection that we opened. It closes it on failure.
func (t TLS) Client(ctx context.Context, nc net.Conn, serverName string) (net.Conn, error) {
	return t.shake(ctx, nc, asServer, func(conf *tls.Config) *tls.Conn {
		conf.ServerName = serverName
		conf.InsecureSkipVerify = true // the policy verifies, in VerifyConnection
		cert := conf.Certificates[0]
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		return tls.Client(nc, conf)
	})
}

// server shakes hands on a connection that a peer opened.
func (t TLS) server(ctx context.Context, nc net.Conn) (net.Conn, error) {
	return t.shake(ctx, nc, asClient, func(conf *tls.Config) *tls.Conn {
		conf.ClientAuth = tls.RequestClientCert // whether one must come is the policy's
		return tls.Server(nc, conf)
	})
}

// shake shakes hands and records what came of it. Each connection proves anew
// who it is: there are no session tickets.
func (t TLS) shake(ctx context.Context, nc net.Conn, peer side, end func(*tls.Config) *tls.Conn) (net.Conn, error) {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if t.Misdeed != nil {
		wrong := t.Misdeed()
		switch {
		case wrong.Clear:
			return nc, nil
		case wrong.Abort:
			return nil, abort(ctx, nc, peer)
		case wrong.Cert != nil:
			t.Cert = *wrong.Cert
		}
	}
	var who string
	var found []Finding
	conf := t.config()
	var hello *tls.ClientHelloInfo // what a client offers
	conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, nil
	}
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		who, found = t.Policy.judge(cs.PeerCertificates, peer, t.Expect)
		if f, no := refusal(found); no {
			return &refusedCertificate{f}
		}
		return nil
	}
	conn := end(conf)
	err := conn.HandshakeContext(ctx)
	state := conn.ConnectionState()
	var leaf *x509.Certificate
	if len(state.PeerCertificates) > 0 {
		leaf = state.PeerCertificates[0]
	}
	if err != nil {
		t.record(t.fault(nc, peer, err, leaf, hello))
		_ = nc.Close()
		return nil, err
	}
	for _, f := range found {
		t.record(warned{nc.RemoteAddr().String(), f})
	}
	t.record(established{nc.RemoteAddr().String(), peer, state, leaf, who})
	return &Conn{conn, who}, nil
}

// config is what we offer, whoever the peer is.
func (t TLS) config() *tls.Config {
	conf := &tls.Config{Certificates: []tls.Certificate{t.Cert}, MinVersion: t.MinVersion, SessionTicketsDisabled: true, KeyLogWriter: t.Keys}
	if conf.MinVersion == 0 {
		conf.MinVersion = tls.VersionTLS12
	}
	if t.Legacy {
		for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if !strings.Contains(s.Name, "RC4") {
				conf.CipherSuites = append(conf.CipherSuites, s.ID)
			}
		}
	}
	return conf
}

func (t TLS) record(p trace.Payload) { t.Trace.Record(trace.Session{}, trace.Session{}, p, nil) }

// refusedCertificate ends a handshake.
type refusedCertificate struct{ Finding }

func (r *refusedCertificate) Error() string { return string(r.Check) + ": " + r.What }

// Handshakes that may be under way at once, on a listener and for one address.
const (
	maxHandshakes     = 1024
	maxHandshakesEach = 64
)

// Listener shakes hands on what a listener accepts. Its Accept returns those
// connections that are through: a slow peer keeps nobody waiting.
func (t TLS) Listener(ln net.Listener) net.Listener {
	ctx, stop := context.WithCancel(context.Background())
	l := &tlsListener{Listener: ln, tls: t, ctx: ctx, stop: stop, ready: make(chan net.Conn), each: map[netip.Addr]int{}}
	l.wg.Go(l.acceptLoop)
	return l
}

type tlsListener struct {
	net.Listener
	tls   TLS
	ctx   context.Context // ends with Close, and ends handshakes
	stop  context.CancelFunc
	ready chan net.Conn
	wg    sync.WaitGroup

	mu   sync.Mutex
	all  int
	each map[netip.Addr]int // handshakes under way, by address

	crowd tally
}

func (l *tlsListener) acceptLoop() {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			l.wg.Go(func() { l.handshake(c) })
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors and the like
			select {
			case <-time.After(50 * time.Millisecond):
			case <-l.ctx.Done():
				return
			}
		}
	}
}

func (l *tlsListener) handshake(nc net.Conn) {
	peer := addrOf(nc)
	if !l.begin(peer) {
		if untold, tell := l.crowd.note(peer, time.Now()); tell {
			l.tls.record(failed{nc.RemoteAddr().String(), asClient, fmt.Sprintf("too many handshakes are under way, and were %d times before", untold), "slow the device down"})
		}
		_ = nc.Close()
		return
	}
	c, err := l.tls.server(l.ctx, nc)
	l.end(peer)
	if err != nil {
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

func addrOf(nc net.Conn) netip.Addr {
	ap, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	return ap.Addr().Unmap()
}

func (l *tlsListener) begin(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxHandshakes || l.each[peer] >= maxHandshakesEach {
		return false
	}
	l.all++
	l.each[peer]++
	return true
}

func (l *tlsListener) end(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.each[peer]--; l.each[peer] == 0 {
		delete(l.each, peer)
	}
}

func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *tlsListener) Close() error {
	l.stop()
	err := l.Listener.Close()
	l.wg.Wait()
	return err
}
