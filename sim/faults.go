package sim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
)

// faultsOf are the faults of a listener, nil for none.
func (x *Exchange) faultsOf(l *Listener) *faults.Set {
	if x.conf.Faults == nil {
		return nil
	}
	return x.conf.Faults(l.Server.Name, l.Row.ID)
}

// struck reports whether a fault of a row befalls a call now.
func (x *Exchange) struck(server, row string, what faults.Kind) bool {
	return x.conf.Faults != nil && x.conf.Faults(server, row).Of("", what) != nil
}

// RTPRow is the row of the port table whose faults befall RTP.
const RTPRow = "rtp"

// mediaSocket opens a UDP socket of a server, one for RTP with its faults.
func (x *Exchange) mediaSocket(at netip.AddrPort) (net.PacketConn, error) {
	pc, err := x.conf.Net.ListenPacket(at)
	if err != nil || x.conf.Faults == nil || at.Port()%2 != 0 {
		return pc, err
	}
	for _, s := range x.conf.Org.Servers {
		if set := x.conf.Faults(s.Name, RTPRow); set != nil && s.Address == at.Addr() {
			return set.Packets(pc), nil
		}
	}
	return pc, nil
}

// refusing is a service that answers some requests with a status of its own.
type refusing struct {
	sip.Handler
	faults *faults.Set
}

func (r refusing) ServeSIP(tx *sip.ServerTx) {
	if f := r.faults.Of(tx.Method(), faults.Status); f != nil {
		tx.Respond(sip.Response{Status: f.Code, Reason: sip.Reason(f.Code)})
		return
	}
	r.Handler.ServeSIP(tx)
}

// misdeed is what a party of ours does wrong in its next handshake.
func misdeed(set *faults.Set, bad func(kind admit.Bad) (tls.Certificate, error)) func() admit.Misdeed {
	if set == nil {
		return nil
	}
	return func() admit.Misdeed {
		f := set.Of("", faults.TLSAbort, faults.NoTLS, faults.Certificate)
		switch {
		case f == nil:
		case f.Do == faults.TLSAbort:
			return admit.Misdeed{Abort: true}
		case f.Do == faults.NoTLS:
			return admit.Misdeed{Clear: true}
		default:
			if cert, err := bad(admit.Bad(f.Value)); err == nil {
				return admit.Misdeed{Cert: &cert}
			}
		}
		return admit.Misdeed{}
	}
}

// Misdeeds gives mutual TLS the faults of a party, whose certificates name it.
func (x *Exchange) Misdeeds(t *admit.TLS, set *faults.Set, names ...string) {
	t.Misdeed = misdeed(set, func(kind admit.Bad) (tls.Certificate, error) {
		return x.lab.IssueBad(kind, admit.Request{Names: names})
	})
}

// trouble is what a receive connector does wrong.
func trouble(set *faults.Set) func(stage string) *smtp.Trouble {
	if set == nil {
		return nil
	}
	return func(stage string) *smtp.Trouble {
		f := set.Of(stage, faults.Reply, faults.Drop, faults.Stall, faults.Truncate)
		if f == nil {
			return nil
		}
		switch f.Do {
		case faults.Reply:
			return &smtp.Trouble{Reply: f.Value}
		case faults.Stall:
			return &smtp.Trouble{After: f.For}
		}
		return &smtp.Trouble{Ends: true, Octets: f.Octet}
	}
}

// StopServer stops every service of a server, as when the machine is down.
func (x *Exchange) StopServer(server string) error {
	if x.conf.Org.ServerNamed(server) == nil {
		return fmt.Errorf("sim: no server is named %q", server)
	}
	x.setDown(server, true)
	x.mailState(x.conf.Org.ServerNamed(server)).SetDown(true)
	var errs []error
	for _, l := range x.Listeners() {
		if l.Server.Name == server {
			errs = append(errs, l.serv.Close())
		}
	}
	return errors.Join(errs...)
}

// StartServer starts the services of a server again that was stopped.
func (x *Exchange) StartServer(server string) error {
	x.setDown(server, false)
	x.mailState(x.conf.Org.ServerNamed(server)).SetDown(false)
	var errs []error
	for _, l := range x.Listeners() {
		if l.Server.Name == server {
			errs = append(errs, x.StartListener(server, l.Row.ID))
		}
	}
	return errors.Join(errs...)
}

func (x *Exchange) setDown(server string, down bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.down[server] = down
}

// isDown reports whether a server is stopped: nothing of it may begin to listen.
func (x *Exchange) isDown(server string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.down[server]
}
