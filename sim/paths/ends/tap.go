package ends

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"sync"

	"github.com/exsim/exsim/sim/paths/record"
)

// maxStream bounds what is kept of each direction of a dialogue.
const maxStream = 32 << 10

// tap keeps what passes through a connection.
type tap struct {
	net.Conn

	mu             sync.Mutex
	closed         func(t *tap) // called once
	sent, received []byte
	tls            *record.TLS
}

func newTap(nc net.Conn, closed func(t *tap)) *tap { return &tap{Conn: nc, closed: closed} }

// Read keeps what is read.
func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	t.received = keep(t.received, b[:n])
	t.mu.Unlock()
	return n, err
}

// Write keeps what is written.
func (t *tap) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	t.mu.Lock()
	t.sent = keep(t.sent, b[:n])
	t.mu.Unlock()
	return n, err
}

// Close ends the connection and hands over what was kept.
func (t *tap) Close() error {
	err := t.Conn.Close()
	t.mu.Lock()
	closed := t.closed
	t.closed = nil
	t.mu.Unlock()
	if closed != nil {
		closed(t)
	}
	return err
}

func keep(all, more []byte) []byte {
	return append(all, more[:min(len(more), maxStream-len(all))]...)
}

// inner is a tap of what is said inside TLS: it goes on where the outer one
// stopped.
func (t *tap) inner(nc *tls.Conn, own *tls.Certificate) *tap {
	t.mu.Lock()
	defer t.mu.Unlock()
	closed := t.closed
	t.closed = nil
	return &tap{Conn: nc, closed: closed, tls: seen(nc.ConnectionState(), own)}
}

func (t *tap) stream() *record.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &record.Stream{Sent: append([]byte(nil), t.sent...), Received: append([]byte(nil), t.received...), TLS: t.tls}
}

// seen is what one end saw of a handshake.
func seen(s tls.ConnectionState, own *tls.Certificate) *record.TLS {
	r := &record.TLS{Version: tls.VersionName(s.Version), Suite: tls.CipherSuiteName(s.CipherSuite), ALPN: s.NegotiatedProtocol}
	if own != nil && len(own.Certificate) > 0 {
		r.Own = fingerprint(own.Certificate[0])
	}
	if len(s.PeerCertificates) > 0 {
		r.Peer = fingerprint(s.PeerCertificates[0].Raw)
		r.Issuer = s.PeerCertificates[0].Issuer.String()
	}
	return r
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
