// Package middlebox is what stands between a party and the organisation: an
// application gateway or an inspecting firewall. It relays connections and does
// to what passes what its faults say; with NAT the organisation sees its
// address in place of the party's.
package middlebox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/exsim/exsim/sim/faults"
)

// Config describes a Box.
type Config struct {
	Address netip.Addr // of the box
	Faults  *faults.Set
	// NAT puts the box's address in place of the party's; it may change.
	NAT func() bool

	Listen       func(at netip.AddrPort) (net.Listener, error)
	ListenPacket func(at netip.AddrPort) (net.PacketConn, error)
	Dial         func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// Box is a running middlebox.
type Box struct {
	conf Config
	wg   sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc

	mu    sync.Mutex
	paths map[path]net.Listener
	open  map[net.Conn]struct{}
	done  bool
}

// path is a way through the box.
type path struct {
	from    netip.Addr
	to      netip.AddrPort
	framing faults.Framing
}

// New makes a box without a path.
func New(conf Config) *Box {
	b := &Box{conf: conf, paths: map[path]net.Listener{}, open: map[net.Conn]struct{}{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

var errClosed = errors.New("middlebox: closed")

// Dial connects from a party's address through the box.
func (b *Box) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort, framing faults.Framing) (net.Conn, error) {
	at, err := b.path(path{from, to, framing})
	if err != nil {
		return nil, err
	}
	return b.conf.Dial(ctx, from, at)
}

// path is where the box listens for a way through it.
func (b *Box) path(p path) (netip.AddrPort, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return netip.AddrPort{}, errClosed
	}
	ln := b.paths[p]
	if ln == nil {
		var err error
		if ln, err = b.conf.Listen(netip.AddrPortFrom(b.conf.Address, 0)); err != nil {
			return netip.AddrPort{}, fmt.Errorf("middlebox: %w", err)
		}
		b.paths[p] = ln
		b.wg.Go(func() { b.serve(ln, p) })
	}
	return netip.ParseAddrPort(ln.Addr().String())
}

func (b *Box) serve(ln net.Listener, p path) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.relay(near, p) })
	}
}

// relay joins a party's connection to one of its own.
func (b *Box) relay(near net.Conn, p path) {
	defer near.Close()
	from := p.from
	if b.conf.NAT() {
		from = b.conf.Address
		b.conf.Faults.Struck("nat", "")
	}
	far, err := b.conf.Dial(b.ctx, from, p.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !b.keep(near, far) {
		return
	}
	defer b.drop(near, far)
	r := &relay{toParty: b.conf.Faults.Conn(near, p.framing), toServer: b.conf.Faults.Conn(far, p.framing)}
	r.toServer.Answers(func(b []byte) { _, _ = r.toParty.Conn.Write(b) })
	var wg sync.WaitGroup
	wg.Go(func() { r.pump(r.toServer, near, r.asked) })
	wg.Go(func() { r.pump(r.toParty, far, r.told) })
	wg.Wait()
}

// relay is one connection through the box.
type relay struct {
	toParty, toServer *faults.Conn

	mu    sync.Mutex
	begin bool // STARTTLS was the last thing said
	said  liner
	heard liner
}

// pump moves octets one way; its end ends both ways.
func (r *relay) pump(to *faults.Conn, from net.Conn, look func(b []byte)) {
	defer func() {
		_ = r.toParty.Close()
		_ = r.toServer.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			look(buf[:n])
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// asked looks for what begins TLS, behind whose 220 nothing can be read any more. It
// comes before the octets are handed on.
func (r *relay) asked(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range r.said.lines(b) {
		verb := strings.ToUpper(strings.TrimSpace(line))
		r.begin = verb == "STARTTLS" || verb == "X-ANONYMOUSTLS"
	}
}

func (r *relay) told(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range r.heard.lines(b) {
		if r.begin && strings.HasPrefix(line, "220") {
			r.toParty.Opaque()
			r.toServer.Opaque()
		}
	}
}

// liner joins octets to lines; what is longer than any of SMTP is none.
type liner struct{ part []byte }

func (l *liner) lines(b []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(b) > 0 {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				if l.part = append(l.part, b...); len(l.part) > longestLine {
					l.part = nil
				}
				return
			}
			line := string(l.part) + string(b[:i])
			l.part, b = nil, b[i+1:]
			if !yield(line) {
				return
			}
		}
	}
}

const longestLine = 12288

func (b *Box) keep(conns ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		b.open[c] = struct{}{}
	}
	return !b.done
}

func (b *Box) drop(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		delete(b.open, c)
	}
}

// Close ends every path and waits for it.
func (b *Box) Close() error {
	b.mu.Lock()
	b.done = true
	for _, ln := range b.paths {
		_ = ln.Close()
	}
	for c := range b.open {
		_ = c.Close()
	}
	b.mu.Unlock()
	b.stop()
	b.wg.Wait()
	return nil
}
