// Package admit decides who may connect: allow-lists of addresses at accept,
// and the lab's certificate authority. Nobody is let in by default, and every
// refusal says who came, which check failed and what would admit it.
package admit

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Entry admits a range of addresses.
type Entry struct {
	Prefix netip.Prefix
	Name   string // whose they are: "gateway gw1"
}

// List is an allow-list. The zero List admits nobody.
type List struct {
	// Check names the list in events, such as "UM IP gateways".
	Check string
	// Fix says how to admit an address; {address} stands for it.
	Fix     string
	Entries []Entry
}

// Add admits one address.
func (l *List) Add(addr netip.Addr, name string) {
	l.Entries = append(l.Entries, Entry{netip.PrefixFrom(addr, addr.BitLen()), name})
}

// Find returns the most specific entry for an address.
func (l *List) Find(addr netip.Addr) (Entry, bool) {
	var best Entry
	found := false
	for _, e := range l.Entries {
		if e.Prefix.Contains(addr.Unmap()) && (!found || e.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = e, true
		}
	}
	return best, found
}

// String lists who is admitted.
func (l *List) String() string {
	if len(l.Entries) == 0 {
		return "nobody"
	}
	parts := make([]string, len(l.Entries))
	for i, e := range l.Entries {
		parts[i] = e.Prefix.String()
		if e.Prefix.IsSingleIP() {
			parts[i] = e.Prefix.Addr().String()
		}
		parts[i] += " (" + e.Name + ")"
	}
	return strings.Join(parts, ", ")
}

// Act is what a stranger gets.
type Act string

// The acts at accept.
const (
	Close Act = "close" // an orderly close
	Reset Act = "reset" // a TCP reset
)

// Listener admits only the peers of the list as it is then; the others are
// recorded, refused by the act and never seen by the server behind it.
func Listener(ln net.Listener, list func() *List, act Act, src *trace.Source) net.Listener {
	return &listener{Listener: ln, list: list, act: act, src: src}
}

type listener struct {
	net.Listener
	list func() *List
	act  Act
	src  *trace.Source

	refusals tally
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
		list := l.list()
		if err == nil {
			if _, ok := list.Find(ap.Addr()); ok {
				return c, nil
			}
		}
		l.refuse(c, ap, list)
	}
}

func (l *listener) refuse(c net.Conn, peer netip.AddrPort, list *List) {
	if tcp, ok := c.(interface{ SetLinger(sec int) error }); ok && l.act == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
	untold, tell := l.refusals.note(peer.Addr().Unmap(), time.Now())
	if !tell {
		return
	}
	addr := peer.Addr().Unmap().String()
	l.src.Record(trace.Session{}, trace.Session{}, refused{
		untold: untold, peer: c.RemoteAddr().String(), check: list.Check, admitted: list.String(), act: l.act,
		fix: strings.ReplaceAll(list.Fix, "{address}", addr),
	}, nil)
}

type refused struct {
	peer, check, admitted, fix string
	act                        Act
	untold                     int
}

func (refused) EventName() string { return "admit.refused" }

func (e refused) AppendTo(f *trace.Fields) {
	f.Text("peer", e.peer)
	f.Text("check", e.check)
	f.Text("admitted", e.admitted)
	f.Text("act", string(e.act))
	f.Text("fix", e.fix)
	if e.untold > 0 {
		f.Int("untold", int64(e.untold))
	}
}
