package admit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// Misdeed is what one end of ours does wrong in a handshake. The zero value is
// nothing.
type Misdeed struct {
	Clear bool             // it speaks in clear, without a handshake
	Abort bool             // it closes behind the first message of the handshake
	Cert  *tls.Certificate // it shows this one in place of its own
}

var errAborted = errors.New("admit: the handshake was broken off on purpose")

// abort begins a handshake and closes the connection: as a client behind its
// hello, as a server behind the peer's.
func abort(ctx context.Context, nc net.Conn, peer side) error {
	defer nc.Close()
	only := &onlyHello{Conn: nc, says: peer == asServer}
	if only.says {
		_ = tls.Client(only, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	} else {
		_ = tls.Server(only, &tls.Config{}).HandshakeContext(ctx)
	}
	return errAborted
}

// onlyHello lets one message leave, or none, and fails behind it.
type onlyHello struct {
	net.Conn
	says bool
}

func (c *onlyHello) Write(b []byte) (int, error) {
	if c.says {
		_, _ = c.Conn.Write(b)
	}
	return 0, errAborted
}
