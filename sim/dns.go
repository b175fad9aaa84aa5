package sim

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/exsim/exsim/sim/speak/dns"
	"github.com/exsim/exsim/sim/trace"
)

// nameServer is the organisation's DNS, nil if it has none.
type nameServer struct {
	at  netip.AddrPort
	srv *dns.Server
}

// openNames binds where the names of the servers are answered for.
func (x *Exchange) openNames() error {
	at := x.conf.Org.DNS
	if !at.IsValid() {
		return nil
	}
	var err error
	var pc net.PacketConn
	var ln net.Listener
	for range 20 { // a free port must be free for both
		where := netip.AddrPortFrom(at.Addr(), x.conf.Ports.bound(at.Port()))
		if ln, err = x.conf.Net.Listen(where); err != nil {
			break
		}
		got, perr := netip.ParseAddrPort(ln.Addr().String())
		if pc, err = x.conf.Net.ListenPacket(netip.AddrPortFrom(at.Addr(), got.Port())); err == nil {
			x.dns = &nameServer{at: got}
			break
		}
		_ = ln.Close()
		if err = perr; !x.conf.Ports.Free {
			break
		}
	}
	if x.dns == nil {
		return fmt.Errorf("sim: dns: %s cannot be bound: %w", at, err)
	}
	x.dns.srv = dns.New(pc, ln, x.zone, x.log.Source("", "dns"))
	return nil
}

// zone is what is answered for now.
func (x *Exchange) zone() dns.Zone {
	z := dns.Zone{Domain: x.conf.Org.Domain, Hosts: map[string][]netip.Addr{}, SRV: map[string][]dns.Target{}}
	for _, s := range x.conf.Org.Servers {
		z.Hosts[s.FQDN] = append(z.Hosts[s.FQDN], s.Public())
	}
	front, mail := x.profile.Front(), x.profile.MailRow()
	for _, l := range x.Listeners() {
		switch {
		case l.Row.Service == front && l.Row.Transport == "tls":
			z.SRV["_sips._tcp"] = append(z.SRV["_sips._tcp"], dns.Target{Host: l.Server.FQDN, Port: l.Bound})
		case l.Row.Service == front:
			z.SRV["_sip._tcp"] = append(z.SRV["_sip._tcp"], dns.Target{Host: l.Server.FQDN, Port: l.Bound})
		case l.Row.ID == mail:
			z.MX = append(z.MX, l.Server.FQDN)
		}
	}
	return z
}

// serveNames answers until the organisation is closed.
func (x *Exchange) serveNames() {
	if x.dns == nil {
		return
	}
	x.wg.Go(func() {
		if err := x.dns.srv.Serve(); err != nil && x.ctx.Err() == nil {
			x.log.Source("", "dns").Record(trace.Session{}, trace.Session{}, listenerFailed{err}, nil)
		}
	})
}

// DNS is where the names of the organisation are answered for; it is not valid
// if they are not.
func (x *Exchange) DNS() netip.AddrPort {
	if x.dns == nil {
		return netip.AddrPort{}
	}
	return x.dns.at
}
