package middlebox

import (
	"errors"
	"net"
	"net/netip"
)

// ListenPacket opens a UDP socket of a party behind the box, one for RTP, on an
// even port, with the box's faults: what it sends leaves from the box's address
// while there is NAT, and what is sent to its own address, as its session
// description says, does not arrive.
func (b *Box) ListenPacket(at netip.AddrPort) (net.PacketConn, error) {
	pc, err := b.socket(at)
	if err != nil || at.Port()%2 != 0 {
		return pc, err
	}
	return b.conf.Faults.Packets(pc), nil
}

func (b *Box) socket(at netip.AddrPort) (net.PacketConn, error) {
	private, err := b.conf.ListenPacket(at)
	if err != nil || !b.conf.NAT() {
		return private, err
	}
	public, err := b.conf.ListenPacket(netip.AddrPortFrom(b.conf.Address, 0))
	if err != nil {
		_ = private.Close()
		return nil, err
	}
	return &natted{PacketConn: public, private: private}, nil
}

// natted holds the port that the party believes in, and uses the other.
type natted struct {
	net.PacketConn
	private net.PacketConn
}

func (n *natted) Close() error { return errors.Join(n.PacketConn.Close(), n.private.Close()) }
