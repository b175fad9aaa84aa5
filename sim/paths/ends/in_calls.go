package ends

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths"
)

// A filter that reads SIP opens the ports of media for the calls that it sees.
// Each such port is tried inside a call whose session descriptions name it.

// callers place calls at the same time, each over a connection of its own.
const callers = 32

// inCalls probes ports of media.
func (e *End) inCalls(ctx context.Context, f *paths.Flow, ports paths.PortSet, slower time.Duration, c *collector) {
	todo := make(chan []uint16)
	var wg sync.WaitGroup
	hope := newHope()
	for range min(callers, ports.Len()) {
		wg.Go(func() {
			l := &caller{e: e, media: f, hope: hope, lines: map[*paths.Flow]*talk{}}
			defer l.close()
			for pair := range todo {
				l.try(ctx, pair, c)
				e.pace.end()
			}
		})
	}
	for pair := range pairs(ports) {
		if e.pace.begin(ctx, slower) != nil {
			break
		}
		todo <- pair
	}
	close(todo)
	wg.Wait()
}

// pairs are the ports of RTP with those of RTCP above them, as far as they are
// in a set: a call opens both.
func pairs(ports paths.PortSet) iter.Seq[[]uint16] {
	return func(yield func([]uint16) bool) {
		var pair []uint16
		for p := range ports.All() {
			if len(pair) > 0 && pair[0]&^1 != p&^1 {
				if !yield(pair) {
					return
				}
				pair = nil
			}
			pair = append(pair, p)
		}
		if len(pair) > 0 {
			yield(pair)
		}
	}
}

// caller places one call after another, over a connection for each path of calls.
type caller struct {
	e     *End
	media *paths.Flow
	hope  *hope
	lines map[*paths.Flow]*talk
}

// try asks a port of RTP, that of RTCP above it (RFC 3550 §11), or both, inside a
// call.
func (l *caller) try(ctx context.Context, ports []uint16, c *collector) {
	by := l.media.Call(ports[0])
	fail := func(why string) {
		for _, p := range ports {
			c.put(p, attempt{outcome: failed, why: why})
		}
	}
	vain, expected := l.hope.left(by)
	if vain != "" {
		fail(vain)
		return
	}
	near, beside, err := l.e.mediaPair(l.media.Source)
	if err != nil {
		fail(unsent(err))
		return
	}
	defer func() { _ = errors.Join(near.Close(), beside.Close()) }()
	reused := l.lines[by] != nil
	target, err := l.call(ctx, by, ports[0], portOf(near))
	if err != nil && reused { // the other end may have ended the connection meanwhile
		l.hangUp(by)
		target, err = l.call(ctx, by, ports[0], portOf(near))
	}
	if err != nil {
		l.hangUp(by)
		why := fmt.Sprintf("no call could be placed over tcp/%s: %v", by.Ports, err)
		l.hope.called(by, why)
		fail(why)
		return
	}
	l.hope.called(by, "")
	for i, p := range ports {
		if i > 0 && l.e.pace.wait(ctx, 0) != nil {
			return
		}
		own, to := near, target
		if p%2 == 1 {
			own, to = beside, netip.AddrPortFrom(target.Addr(), target.Port()+1)
		}
		tries, patience := c.tries, c.patience
		if !expected {
			tries, patience = 1, min(patience, shortPatience)
		}
		a := l.e.exchange(ctx, &ofOne{own, net.UDPAddrFromAddrPort(to)}, l.media, p, tries, patience)
		l.hope.asked(by, a.outcome == lost)
		c.put(p, a)
	}
	if ctx.Err() != nil || l.bye(by) != nil {
		l.hangUp(by)
	}
}

// call places a call and returns where its media is to be sent.
func (l *caller) call(ctx context.Context, by *paths.Flow, port, own uint16) (netip.AddrPort, error) {
	d := l.lines[by]
	if d == nil {
		dial, cancel := context.WithTimeout(ctx, l.e.conf.Limits.Timeout)
		defer cancel()
		nc, err := l.e.dial(dial, by, l.e.bound(by.Target, by.Ports.First()))
		if err != nil {
			return netip.AddrPort{}, plain(err)
		}
		d = &talk{e: l.e, t: newTap(nc, nil), f: by, port: by.Ports.First()}
		l.lines[by] = d
	}
	stop := context.AfterFunc(ctx, func() { _ = d.t.Close() })
	defer stop()
	_ = d.t.SetDeadline(time.Now().Add(2*l.e.conf.Limits.Timeout + time.Second))
	d.nonce, d.media = newNonce(), l.e.bound(l.media.Listen, port&^1).Port()
	if !d.request("INVITE", 2, "", string(description(l.media.Source, own))) {
		return netip.AddrPort{}, plain(d.err)
	}
	m, err := d.final("INVITE")
	switch {
	case err != nil:
		return netip.AddrPort{}, plain(err)
	case m.status != 200:
		return netip.AddrPort{}, fmt.Errorf("INVITE was answered %d", m.status)
	case !l.e.mint.good(wordReply, by, d.port, m.header(markHeader)):
		return netip.AddrPort{}, errors.New("INVITE was answered by somebody else")
	case !d.request("ACK", 2, m.header("To"), ""):
		return netip.AddrPort{}, plain(d.err)
	}
	d.to = m.header("To")
	return mediaOf(m.body)
}

// bye ends the call.
func (l *caller) bye(by *paths.Flow) error {
	d := l.lines[by]
	_ = d.t.SetDeadline(time.Now().Add(l.e.conf.Limits.Timeout))
	if !d.request("BYE", 3, d.to, "") {
		return d.err
	}
	_, err := d.final("BYE")
	return err
}

// hangUp ends a connection.
func (l *caller) hangUp(by *paths.Flow) {
	if d := l.lines[by]; d != nil {
		_ = d.t.Close()
		delete(l.lines, by)
	}
}

func (l *caller) close() {
	for by := range l.lines {
		l.hangUp(by)
	}
}

// mediaPair binds a port for RTP, which is even, and the one above it.
func (e *End) mediaPair(addr netip.Addr) (even, odd net.PacketConn, err error) {
	const tries = 64
	for range tries {
		if even, err = e.mediaSocket(netip.AddrPortFrom(addr, 0)); err != nil {
			return nil, nil, err
		}
		if p := portOf(even); p%2 == 0 {
			if odd, err = e.mediaSocket(netip.AddrPortFrom(addr, p+1)); err == nil {
				return even, odd, nil
			}
		}
		_ = even.Close()
	}
	return nil, nil, errors.Join(errors.New("no two free ports in a row"), err)
}

func (e *End) mediaSocket(at netip.AddrPort) (net.PacketConn, error) {
	if e.conf.ListenPacket != nil {
		return e.conf.ListenPacket(at)
	}
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	mark(pc, at.Addr().Is6())
	return pc, nil
}

func portOf(pc net.PacketConn) uint16 {
	a, _ := netip.ParseAddrPort(pc.LocalAddr().String())
	return a.Port()
}

// mediaOf is where a session description wants audio to be sent.
func mediaOf(body []byte) (netip.AddrPort, error) {
	var addr netip.Addr
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 3 && fields[0] == "c=IN":
			addr, _ = netip.ParseAddr(fields[2])
		case len(fields) > 1 && fields[0] == "m=audio":
			port, err := strconv.ParseUint(fields[1], 10, 16)
			if err != nil || port == 0 || !addr.IsValid() {
				return netip.AddrPort{}, fmt.Errorf("the answer names no place for audio: %.60q", line)
			}
			return netip.AddrPortFrom(addr, uint16(port)), nil
		}
	}
	return netip.AddrPort{}, errors.New("the answer has no session description")
}

// plain is why something failed, the same for all ports that it befell.
func plain(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("nothing came back")
	}
	return errors.New(reason(err))
}
