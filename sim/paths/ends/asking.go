package ends

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// asker is the asking end of a control connection.
type asker struct {
	e    *End
	w    *wire
	peer *paths.Host
	most int // ports that the peer can have open at once
}

// ask connects to the other end.
func (e *End) ask(ctx context.Context, peer *paths.Host) (*asker, *record.Clock, error) {
	to, from := e.ControlAddr(peer)
	d := net.Dialer{Timeout: e.conf.Limits.Timeout}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	nc, err := d.DialContext(ctx, "tcp", to.String())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil, nil, fmt.Errorf("%s of %s is no address of this machine: run it there, or change addresses in the plan", from, e.conf.Host.Name)
	}
	if err != nil {
		return nil, nil, &NobodyError{peer.Name, to, err}
	}
	conf, err := e.controlTLS(false)
	if err != nil {
		return nil, nil, err
	}
	t := tls.Client(nc, conf)
	_ = t.SetDeadline(time.Now().Add(controlWait))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, nil, fmt.Errorf("control connection to %s: %w", to, err)
	}
	a := &asker{e: e, w: newWire(t), peer: peer}
	if err := a.hello(); err != nil {
		_ = nc.Close()
		return nil, nil, fmt.Errorf("control connection to %s: %w", to, err)
	}
	clock, err := a.clock()
	return a, clock, err
}

// ControlAddr is where a host is asked, and the address of ours to ask from.
func (e *End) ControlAddr(peer *paths.Host) (to netip.AddrPort, from netip.Addr) {
	if a, err := netip.ParseAddrPort(peer.Control); err == nil {
		return a, netip.Addr{}
	}
	for _, w := range e.conf.Plan.Ways() {
		if w.From == e.conf.Host && w.To == peer {
			return e.bound(w.Target, e.conf.Plan.Control), w.Source
		}
	}
	return e.bound(peer.Addresses[0], e.conf.Plan.Control), netip.Addr{}
}

// NobodyError says that nobody listens where a host would be asked.
type NobodyError struct {
	Host string
	At   netip.AddrPort
	Err  error
}

func (e *NobodyError) Error() string {
	return fmt.Sprintf("no control connection to %s at %s: %v. Is exsim listen running there, and tcp/%d open? Without one: --alone --record FILE at both ends, then exsim probe --merge", e.Host, e.At, e.Err, e.At.Port())
}

func (e *NobodyError) Unwrap() error { return e.Err }

func (a *asker) hello() error {
	e := a.e
	limits := e.conf.Limits
	o := order{greeting: greeting{Do: "hello", Limits: &limits, Contact: e.contact, Protocol: controlProtocol, Host: e.conf.Host.Name, As: a.peer.Name, Digest: e.conf.Plan.Digest(), Offset: e.conf.Offset}}
	var err error
	if e.conf.Authority != nil {
		if len(e.key) == 0 {
			key := make([]byte, 32)
			_, _ = rand.Read(key)
			e.setKey(key)
		}
		o.Key = e.key
		if name := a.w.nc.ConnectionState().PeerCertificates[0]; name.VerifyHostname(a.peer.Name) != nil && name.Subject.CommonName != a.peer.Name {
			return fmt.Errorf("the certificate there is not that of %s", a.peer.Name)
		}
	} else if o.Code, err = e.code(a.w.nc, "client"); err != nil {
		return err
	}
	r, err := a.do(o, controlWait)
	a.most = r.Most
	if err == nil && e.conf.Authority == nil && !e.proven(a.w.nc, "server", r.Code) {
		err = errSecret
	}
	return err
}

// clock estimates the other end's clock, by the shortest of some round trips.
func (a *asker) clock() (*record.Clock, error) {
	c := &record.Clock{Peer: a.peer.Name, Within: time.Hour}
	for range 8 {
		begin := time.Now()
		r, err := a.do(order{greeting: greeting{Do: "time"}}, controlWait)
		if err != nil {
			return nil, err
		}
		if trip := time.Since(begin); trip/2 < c.Within {
			c.Within = trip / 2
			c.Offset = r.Now.Sub(begin.Add(trip / 2))
		}
	}
	return c, nil
}

func (a *asker) do(o order, wait time.Duration) (reply, error) {
	var r reply
	if err := a.w.write(o); err != nil {
		return r, err
	}
	most := maxMessage
	if o.Do == "hello" {
		most = maxHello // it is not known yet who answers
	}
	if err := a.w.read(&r, wait, most); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s says: %s", a.peer.Name, printable(r.Error))
	}
	return r, nil
}

// printable is text of the other end as a terminal may see it.
func printable(text string) string {
	const most = 300
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text[:min(len(text), most)])
}

func (a *asker) close() {
	_ = a.w.write(order{greeting: greeting{Do: "bye"}})
	_ = a.w.nc.Close()
}
