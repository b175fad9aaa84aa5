// Package sim is one simulated Exchange organisation: it binds a listener for
// each row of the port table, puts the protocol endpoints and their behaviour
// behind them, and records everything on one timeline.
package sim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/capture"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// Config describes an Exchange.
type Config struct {
	Org *org.Organisation
	// Overrides are files of facts beside the one that the organisation names.
	Overrides []profile.Override
	// Dir keeps the mailboxes and the messages on their way. It is made if it
	// is not there.
	Dir string
	// Seed makes tags, branches, SSRC and port choices repeatable; 0 picks one.
	Seed uint64

	// Program is the version of exsim that the trace names; "" for none.
	Program string

	Ports Ports
	// SignallingOnly answers calls without media: all answers name one port.
	SignallingOnly bool
	// DiscardMail acknowledges what comes by SMTP and throws it away.
	DiscardMail bool
	// Net opens all sockets; its zero value is package net.
	Net Net
	// Faults, if set, are those of a row of a server, nil for none: what the
	// organisation itself does wrong, because its peer is under test.
	Faults func(server, row string) *faults.Set
	// Capture, if set, takes down what passes.
	Capture *capture.Capture
	// Trace is the log to record to; nil means one of its own, which Close
	// closes.
	Trace *trace.Log
}

// Ports says how a documented port becomes the bound one. Contact and SDP
// carry the bound port.
type Ports struct {
	Free   bool   // any free port: for tests that run side by side
	Offset uint16 // added to every port of a listener
	Low    uint16 // added to ports below 1024 only
}

func (p Ports) bound(documented uint16) uint16 {
	if p.Free {
		return 0
	}
	return uint16(p.moved(documented)) //nolint:gosec // Start refuses what is beyond
}

func (p Ports) moved(documented uint16) int {
	moved := int(documented) + int(p.Offset)
	if documented < 1024 {
		moved += int(p.Low)
	}
	return moved
}

// ConfigError is what a file or a flag says wrong, and only a start finds out.
type ConfigError struct{ Err error }

// Error tells it.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns it.
func (e *ConfigError) Unwrap() error { return e.Err }

// fits reports a port that would be moved beyond the last one.
func (p Ports) fits(documented uint16) error {
	if moved := p.moved(documented); !p.Free && moved > math.MaxUint16 {
		return &ConfigError{fmt.Errorf("sim: port %d would be bound as %d, beyond %d: take a smaller offset; that for low ports and that for all add up", documented, moved, math.MaxUint16)}
	}
	return nil
}

// Net is the only door to sockets.
type Net struct {
	Listen       func(at netip.AddrPort) (net.Listener, error)
	ListenPacket func(at netip.AddrPort) (net.PacketConn, error)
	// Lookup resolves the names of gateways; network is ip, ip4 or ip6.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// Dial connects from an address of ours.
	Dial func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
}

func (n Net) filled() Net {
	if n.Listen == nil {
		// A peer that is gone is noticed by the protocols' own times.
		conf := net.ListenConfig{KeepAlive: -1}
		n.Listen = func(at netip.AddrPort) (net.Listener, error) {
			return conf.Listen(context.Background(), "tcp", at.String())
		}
	}
	if n.ListenPacket == nil {
		n.ListenPacket = func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		}
	}
	if n.Lookup == nil {
		n.Lookup = net.DefaultResolver.LookupNetIP
	}
	if n.Dial == nil {
		n.Dial = Dial
	}
	return n
}

// captured takes down the connections.
func (n Net) captured(c *capture.Capture) Net {
	if c == nil {
		return n
	}
	listen, dial := n.Listen, n.Dial
	n.Listen = func(at netip.AddrPort) (net.Listener, error) {
		ln, err := listen(at)
		if err != nil {
			return nil, err
		}
		return c.Listener(ln), nil
	}
	n.Dial = func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
		nc, err := dial(ctx, from, to)
		if err != nil {
			return nil, err
		}
		return c.Dialled(nc), nil
	}
	return n
}

// Tap takes down datagrams; nil for a nil Capture.
func Tap(c *capture.Capture) rtp.Tap {
	if c == nil {
		return nil
	}
	return tap{c}
}

type tap struct{ *capture.Capture }

func (t tap) Datagram(d *rtp.Datagram) { t.Capture.Datagram((*capture.Datagram)(d)) }

// Dial connects from an address of this machine.
func Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// Chance is a repeatable source of randomness, safe for concurrent use.
func Chance(seed uint64) func() uint64 {
	var mu sync.Mutex
	r := rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Uint64()
	}
}
