package ends

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// Bounds of what strangers can make a listener keep or do.
const (
	maxStrange    = 8
	strangeOctets = 128
	maxSources    = 8
	mostDatagram  = 1500 // octets that are read of one
	maxConns      = 256  // at once, of a flow, beside two a port
	dialogueTime  = 20 * time.Second
)

// inbox is where a flow arrives.
type inbox struct {
	e    *End
	flow *paths.Flow
	wg   sync.WaitGroup

	closers []io.Closer
	serve   func(nc net.Conn)        // a dialogue, nil for tokens
	shared  atomic.Pointer[[]*inbox] // this one, and those of other senders to the same ports

	mu      sync.Mutex
	got     record.Got
	sources map[netip.Addr]bool
	conns   map[net.Conn]bool
	closed  bool
}

// open listens on some ports of a flow. What cannot be bound is told.
func (e *End) open(f *paths.Flow, ports paths.PortSet) (*inbox, *record.Bound) {
	in := &inbox{e: e, flow: f, got: record.Got{Flow: f.ID}, sources: map[netip.Addr]bool{}, conns: map[net.Conn]bool{}}
	in.shared.Store(&[]*inbox{in})
	b := &record.Bound{Flow: f.ID}
	if e.listening(f.Transport, e.bound(f.Listen, ports.First())) == nil {
		in.equip()
	}
	if f.Transport == "udp" && ports.Len() >= oneSocketFrom && e.listening("udp", e.bound(f.Listen, ports.First())) == nil && in.sweep(ports, b) {
		return in, b
	}
	for p := range ports.All() {
		in.note(b, p, in.bind(p))
	}
	return in, b
}

// listening is the inbox that listens at an address already, nil if none does.
func (e *End) listening(transport string, at netip.AddrPort) *inbox {
	return e.inboxes[transport+" "+at.String()]
}

// note notes whether a port could be bound.
func (in *inbox) note(b *record.Bound, p uint16, err error) {
	switch {
	case err == nil:
		b.Ports.Add(p)
	case errors.Is(err, syscall.EADDRINUSE):
		b.Held.Add(p)
	default:
		if b.Failed == nil {
			b.Failed = map[string]paths.PortSet{}
		}
		why := reason(err)
		set := b.Failed[why]
		set.Add(p)
		b.Failed[why] = set
	}
}

// oneSocketFrom is the number of ports from which one socket serves them all,
// where the privileges are there.
const oneSocketFrom = 256

// reason is why a socket was refused, without its address.
func reason(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "no privilege for ports below 1024 (run as root, or once: sudo setcap cap_net_bind_service=+ep PATH-OF-EXSIM)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is none of this machine: run it there, or change addresses in the plan"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "no more open files (ulimit -n)"
	}
	var e syscall.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

func (in *inbox) bind(port uint16) error {
	at := in.e.bound(in.flow.Listen, port)
	if o := in.e.listening(in.flow.Transport, at); o != nil {
		if all := *o.shared.Load(); !slices.Contains(all, in) {
			all = append(slices.Clone(all), in)
			o.shared.Store(&all)
		}
		return nil
	}
	if in.flow.Transport == "udp" {
		pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		in.closers = append(in.closers, pc)
		wantMark(pc)
		in.wg.Go(func() { in.datagrams(pc, port) })
		return nil
	}
	ln, err := net.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	in.closers = append(in.closers, ln)
	in.wg.Go(func() { in.accept(ln, port) })
	return nil
}

// close ends the listening and returns what arrived.
func (in *inbox) close() record.Got {
	in.mu.Lock()
	in.closed = true
	conns := maps.Clone(in.conns)
	in.mu.Unlock()
	for _, c := range in.closers {
		_ = c.Close()
	}
	for nc := range conns {
		_ = nc.Close()
	}
	in.wg.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got.Sources = len(in.sources)
	return in.got
}

// half notes the ports on which the sender has begun a connection that never came
// to be: its SYN arrived, and the answer to it was lost.
func (in *inbox) half(all map[netip.AddrPort][]netip.Addr) {
	if in.flow.Transport != "tcp" || len(all) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for p := range in.flow.Ports.All() {
		for _, from := range all[in.e.bound(in.flow.Listen, p)] {
			if from == in.flow.Source || in.sources[from] {
				in.got.Half.Add(p)
			}
		}
	}
}

// settle waits until the dialogues that are under way have ended, for a while.
func (in *inbox) settle(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		in.mu.Lock()
		n := len(in.conns)
		in.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (in *inbox) accept(ln net.Listener, port uint16) {
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			in.mu.Lock()
			in.got.Trouble = reason(err)
			in.mu.Unlock()
			time.Sleep(50 * time.Millisecond) // out of descriptors: the listener must survive it
			continue
		}
		if !in.take(nc, port) {
			_ = nc.Close()
			continue
		}
		in.wg.Go(func() {
			defer in.drop(nc)
			defer in.survive()
			_ = nc.SetDeadline(time.Now().Add(dialogueTime))
			in.converse(nc, port)
		})
	}
}

// survive keeps a fault of ours from ending more than one connection.
func (in *inbox) survive() {
	if p := recover(); p != nil {
		in.e.say("a fault of exsim on %s: %v\n%s", in.flow.ID, p, debug.Stack())
	}
}

func (in *inbox) take(nc net.Conn, port uint16) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return false
	}
	in.got.Accepted.Add(port)
	if len(in.conns) >= maxConns+2*in.flow.Ports.Len() {
		in.got.Trouble = "too many connections at once"
		return false
	}
	in.conns[nc] = true
	for _, o := range (*in.shared.Load())[1:] {
		o.mu.Lock()
		o.got.Accepted.Add(port)
		o.mu.Unlock()
	}
	return true
}

func (in *inbox) drop(nc net.Conn) {
	_ = nc.Close()
	in.mu.Lock()
	delete(in.conns, nc)
	in.mu.Unlock()
}

// converse serves one connection: TLS first where the flow begins with it.
func (in *inbox) converse(nc net.Conn, port uint16) {
	done := make(chan struct{})
	from := remote(nc)
	t := newTap(nc, func(t *tap) {
		in.heard(t, port, from)
		close(done)
	})
	if secure(in.flow) {
		s := tls.Server(t, &tls.Config{Certificates: []tls.Certificate{in.e.cert}, MinVersion: tls.VersionTLS12, NextProtos: alpn(in.flow), ClientAuth: tls.RequestClientCert})
		if err := s.Handshake(); err != nil {
			t.tls = &record.TLS{Error: err.Error()}
			_ = t.Close()
			return
		}
		t = t.inner(s, &in.e.cert)
	}
	if in.serve != nil {
		in.serve(t)
		<-done
		return
	}
	in.line(t, port)
	_ = t.Close()
}

// alpn are the protocols that both ends of a flow offer: what a proxy picks
// otherwise betrays it.
func alpn(f *paths.Flow) []string {
	if f.Protocol == "HTTPS" {
		return []string{"http/1.1"}
	}
	return nil
}

// line answers a token.
func (in *inbox) line(t *tap, port uint16) {
	b, err := bufio.NewReaderSize(t, 512).ReadSlice('\n')
	if err != nil {
		return
	}
	if owner, nonce, ok := in.find(port, b); ok {
		_, _ = t.Write(in.e.mint.line(wordReply, owner.flow, port, nonce, ""))
	}
}

// find looks for a good token in what arrived on a port, and whose it is.
func (in *inbox) find(port uint16, b []byte) (owner *inbox, nonce string, ok bool) {
	for _, o := range *in.shared.Load() {
		if nonce, ok := in.e.mint.find(wordProbe, o.flow, port, b); ok {
			return o, nonce, true
		}
	}
	return in, "", false
}

// heard takes what a connection said.
func (in *inbox) heard(t *tap, port uint16, from netip.AddrPort) {
	stream := t.stream()
	in, _, ok := in.find(port, stream.Received)
	in.mu.Lock()
	defer in.mu.Unlock()
	if !ok && !in.got.Arrived.Has(port) && (len(stream.Received) > 0 || stream.TLS != nil) {
		in.strange(port, from, stream.Received)
	}
	if ok {
		in.got.Accepted.Add(port)
		in.arrived(port, from)
	}
	opensMedia := mediaWanted.Match(stream.Received)
	if in.flow.Ports.Len() == 1 && !opensMedia && (ok || in.got.Stream == nil) {
		if in.got.Stream != nil && stream.TLS == nil {
			stream.TLS = in.got.Stream.TLS
		}
		in.got.Stream = stream
	}
}

// arrived notes a good token; the lock is held.
func (in *inbox) arrived(port uint16, from netip.AddrPort) {
	in.got.Arrived.Add(port)
	if len(in.got.From) < maxSources && !slices.Contains(in.got.From, from) {
		in.got.From = append(in.got.From, from)
	}
	if len(in.sources) < 1<<10 {
		in.sources[from.Addr()] = true
	}
}

// strange notes what bears no good token; the lock is held.
func (in *inbox) strange(port uint16, from netip.AddrPort, b []byte) {
	if from.Addr() == in.flow.Source || in.sources[from.Addr()] || bytes.Contains(b, []byte(magic)) {
		in.got.Other.Add(port) // what anybody else sends says nothing of the path
	}
	if len(in.got.Strange) < maxStrange {
		in.got.Strange = append(in.got.Strange, record.Strange{Port: port, From: from, At: time.Now(), Head: append([]byte(nil), b[:min(len(b), strangeOctets)]...)})
	}
}

// datagrams answers probes on one port; nothing else is answered.
func (in *inbox) datagrams(pc *net.UDPConn, port uint16) {
	b, oob, out := make([]byte, mostDatagram), make([]byte, 128), make([]byte, 0, mostDatagram)
	for {
		n, on, _, from, err := pc.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		_, dscp := control(oob[:on])
		if out = in.datagram(out[:0], b[:n], port, from, dscp); len(out) > 0 {
			_, _ = pc.WriteToUDPAddrPort(out, from)
		}
	}
}

func remote(nc net.Conn) netip.AddrPort {
	a, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
