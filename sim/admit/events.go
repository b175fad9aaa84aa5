package admit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// certificate writes what a peer offered.
func certificate(f *trace.Fields, c *x509.Certificate) {
	if c == nil {
		return
	}
	f.Text("subject", printable(c.Subject.String()))
	f.Text("issuer", printable(c.Issuer.String()))
	f.Text("names", printable(strings.Join(Names(c), ", ")))
}

type established struct {
	peer  string
	side  side
	state tls.ConnectionState
	cert  *x509.Certificate
	who   string
}

func (established) EventName() string { return "tls.established" }

func (e established) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("side", e.side.name)
	f.Text("version", tls.VersionName(e.state.Version))
	f.Text("suite", tls.CipherSuiteName(e.state.CipherSuite))
	f.Text("admitted_as", e.who)
	certificate(f, e.cert)
}

type warned struct {
	peer string
	Finding
}

func (warned) EventName() string { return "tls.warned" }

func (e warned) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("check", string(e.Check))
	f.Text("why", e.What)
}

type refusedTLS struct {
	peer, expected string
	side           side
	cert           *x509.Certificate
	Finding
}

func (refusedTLS) EventName() string { return "tls.refused" }

func (e refusedTLS) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("side", e.side.name)
	f.Text("check", string(e.Check))
	f.Text("why", e.What)
	f.Text("expected", e.expected)
	certificate(f, e.cert)
	f.Text("fix", fixes[e.Check]+", or set tls: {checks: {"+string(e.Check)+": warn}} in the organisation")
}

var fixes = map[Check]string{
	CheckChain:      "give the device a certificate of the lab (exsim pki issue, or sign its request), or trust its authority (exsim pki import)",
	CheckDates:      "renew the certificate, or set the clock of the device",
	CheckRevocation: "issue a new certificate",
	CheckUsage:      "issue a certificate for client and server authentication",
	CheckName:       "issue a certificate that names the fqdn of the device's gateway object, or correct that fqdn",
	CheckAlgorithm:  "issue a certificate that is signed with SHA-256",
	CheckKeySize:    "issue a certificate with an RSA key of 2048 bits or an ECDSA key",
}

type failed struct {
	peer     string
	side     side
	why, fix string
}

func (failed) EventName() string { return "tls.failed" }

func (e failed) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("side", e.side.name)
	f.Text("why", e.why)
	f.Text("fix", e.fix)
}

// fault says why a handshake failed.
func (t TLS) fault(nc net.Conn, peer side, err error, cert *x509.Certificate, hello *tls.ClientHelloInfo) trace.Payload {
	var no *refusedCertificate
	if errors.As(err, &no) {
		return refusedTLS{nc.RemoteAddr().String(), t.Expected, peer, cert, no.Finding}
	}
	e := failed{nc.RemoteAddr().String(), peer, err.Error(), "see why"}
	var plain tls.RecordHeaderError
	var op *net.OpError
	switch {
	case hello != nil && strings.Contains(e.why, "unsupported versions"):
		e.why, e.fix = "the device offers "+names(hello.SupportedVersions, tls.VersionName)+" only", ofThatTime
	case hello != nil && strings.Contains(e.why, "no cipher suite"):
		e.why, e.fix = "none of the cipher suites that the device offers is taken: "+names(hello.CipherSuites, tls.CipherSuiteName), ofThatTime
	case strings.Contains(e.why, "protocol version"): // the server is too old, or says that we are too strict
		e.fix = ofThatTime
	case errors.As(err, &plain):
		e.why, e.fix = "the peer does not speak TLS here", "switch the device to TLS, or let it use the port for TCP"
	case errors.As(err, &op) && op.Op == "remote error":
		e.why = "the peer refused: " + op.Err.Error()
		e.fix = "let the device trust the authority of the lab (exsim pki export), and expect the fqdn of the server"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.why, e.fix = "the handshake was not finished in time", "see whether the network lets large segments through"
	case errors.Is(err, io.EOF):
		e.why, e.fix = "closed by the peer in the handshake", "see whether the device trusts the authority of the lab (exsim pki export)"
	}
	return e
}

// ofThatTime takes devices with the TLS of Exchange's time.
const ofThatTime = `for a device of that time: tls: {min-version: "1.0", legacy: true} in the organisation`

// names lists versions or suites, the first few of many.
func names(ids []uint16, name func(uint16) string) string {
	const enough = 8
	var list []string
	for _, id := range ids[:min(len(ids), enough)] {
		list = append(list, name(id))
	}
	if more := len(ids) - enough; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	peer := trace.FieldType{Key: "peer", Means: "address and port of the other side"}
	side := trace.FieldType{Key: "side", Means: "what the peer is: client or server"}
	check := trace.FieldType{Key: "check", Means: "chain, dates, revocation, usage, name, algorithm or key-size"}
	why := trace.FieldType{Key: "why", Means: "what is wrong"}
	fix := trace.FieldType{Key: "fix", Means: "what would let it in"}
	cert := []trace.FieldType{
		{Key: "subject", Means: "of the peer's certificate"}, {Key: "issuer", Means: "of the peer's certificate"},
		{Key: "names", Means: "that the certificate has"},
	}
	return []trace.EventType{
		{Name: "admit.refused", Means: "a connection was refused at accept; told once a second for each address", Fields: []trace.FieldType{
			{Key: "peer", Means: "who came"}, {Key: "check", Means: "the list that does not name it"},
			{Key: "admitted", Means: "who is on the list"}, {Key: "act", Means: "close or reset"}, fix,
			{Key: "untold", Means: "refusals of this address before this one that were not told; absent if none"}}},
		{Name: "tls.established", Means: "a TLS handshake is done, and the peer's certificate taken", Fields: append([]trace.FieldType{
			peer, side, {Key: "version", Means: "of the protocol"}, {Key: "suite", Means: "of ciphers"},
			{Key: "admitted_as", Means: "whose certificate it is"}}, cert...)},
		{Name: "tls.warned", Means: "a check of the peer's certificate failed and is set to warn", Fields: []trace.FieldType{peer, check, why}},
		{Name: "tls.refused", Means: "the peer's certificate was refused", Fields: append([]trace.FieldType{
			peer, side, check, why, {Key: "expected", Means: "whose names are expected"}, fix}, cert...)},
		{Name: "tls.failed", Means: "a TLS handshake failed otherwise", Fields: []trace.FieldType{peer, side, why, fix}},
	}
}
