package ends

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// The control connection carries one JSON object a line, under TLS. With a
// shared secret the certificates are made for the moment and each side proves
// the secret by a code over this very TLS session, so that nobody in between
// can pass it on; with a lab's authority both certificates are checked, and the
// asking end brings the key of the tokens.
const (
	controlProtocol = 1
	maxMessage      = 32 << 20
	maxHello        = 4 << 10
	maxOrder        = 4 << 20
	maxAsking       = 8 // connections that have not proven themselves
	helloWait       = 3 * time.Second
	controlWait     = 10 * time.Second // for the other end's next word, while nothing is probed
	exporter        = "EXPORTER-exsim-paths"
)

// order is what the asking end says: what it greets with, and what it wants once
// it has proven itself.
type order struct {
	greeting
	Parts []part `json:"parts,omitempty"`
}

// greeting is what is read of an end that has not proven itself.
type greeting struct {
	Do       string  `json:"do"` // hello, time, open, probe, close, figures, bye
	Protocol int     `json:"protocol,omitempty"`
	Host     string  `json:"host,omitempty"`
	As       string  `json:"as,omitempty"` // whom it wants to speak with
	Digest   string  `json:"digest,omitempty"`
	Code     string  `json:"code,omitempty"`
	Key      []byte  `json:"key,omitempty"`
	Offset   uint16  `json:"offset,omitempty"`
	Limits   *Limits `json:"limits,omitempty"` // of probes from there
	Contact  string  `json:"contact,omitempty"`
}

// part is a flow, or some ports of it.
type part struct {
	Flow  string        `json:"flow"`
	Ports paths.PortSet `json:"ports,omitzero"`
	Held  paths.PortSet `json:"held,omitzero"`
	Aside bool          `json:"aside,omitempty"` // only for calls by which media is opened

	flow *paths.Flow
}

// reply is what the asked end answers.
type reply struct {
	Error string        `json:"error,omitempty"`
	Code  string        `json:"code,omitempty"`
	Now   time.Time     `json:"now,omitzero"`
	Most  int           `json:"most,omitempty"` // ports that can be open at once
	Lines []record.Line `json:"lines,omitempty"`
}

// wire is one side of a control connection.
type wire struct {
	nc *tls.Conn
	r  *bufio.Reader
}

func newWire(nc *tls.Conn) *wire { return &wire{nc, bufio.NewReader(nc)} }

func (w *wire) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = w.nc.SetWriteDeadline(time.Now().Add(controlWait))
	_, err = w.nc.Write(append(b, '\n'))
	return err
}

func (w *wire) read(v any, wait time.Duration, most int) error {
	deadline := time.Time{}
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	_ = w.nc.SetReadDeadline(deadline)
	var line []byte
	for {
		part, err := w.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(line) > most {
			return fmt.Errorf("a message of more than %d octets", most)
		}
	}
	return json.Unmarshal(line, v)
}

// code proves the secret on this TLS session.
func (e *End) code(nc *tls.Conn, side string) (string, error) {
	s := nc.ConnectionState()
	material, err := s.ExportKeyingMaterial(exporter, nil, 32)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, e.key)
	h.Write([]byte(side))
	h.Write(material)
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (e *End) proven(nc *tls.Conn, side, code string) bool {
	want, err := e.code(nc, side)
	return err == nil && hmac.Equal([]byte(want), []byte(code))
}

// controlTLS is the configuration of either side.
func (e *End) controlTLS(server bool) (*tls.Config, error) {
	c := &tls.Config{Certificates: []tls.Certificate{e.cert}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} //nolint:gosec // the secret is proven on the session, or the chain is checked below
	if a := e.conf.Authority; a != nil {
		cert, err := controlCertificate(a, e.conf.Host.Name)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
		c.VerifyConnection = func(s tls.ConnectionState) error { return chained(s, a) }
		if server {
			c.ClientAuth = tls.RequireAnyClientCert
		}
	}
	return c, nil
}

func controlCertificate(a *admit.Authority, host string) (tls.Certificate, error) {
	if cert, ok, err := a.Kept(host); ok || err != nil {
		return cert, err
	}
	return a.Issue(admit.Request{Names: []string{host}})
}

// chained checks that a certificate is the lab's.
func chained(s tls.ConnectionState, a *admit.Authority) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the other end shows no certificate")
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
