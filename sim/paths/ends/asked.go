package ends

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// Serve answers control connections, one at a time, until the context is over.
func (e *End) Serve(ctx context.Context, ln net.Listener) error {
	conf, err := e.controlTLS(true)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	asking := make(chan struct{}, maxAsking)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			time.Sleep(50 * time.Millisecond) // out of descriptors: the listener must survive it
			continue
		}
		select {
		case asking <- struct{}{}:
		default: // strangers may not keep others out for long
			_ = nc.Close()
			continue
		}
		wg.Go(func() {
			var once sync.Once
			leave := func() { once.Do(func() { <-asking }) }
			defer leave()
			e.serveOne(ctx, tls.Server(nc, conf), leave)
		})
	}
}

// serveOne serves a control connection; proven is called once its end is known.
func (e *End) serveOne(ctx context.Context, nc *tls.Conn, proven func()) {
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(helloWait))
	if err := nc.HandshakeContext(ctx); err != nil {
		e.say("control connection from %s: %v", nc.RemoteAddr(), err)
		return
	}
	w := newWire(nc)
	var o order
	if err := w.read(&o.greeting, helloWait, maxHello); err != nil {
		e.say("control connection from %s: %v", nc.RemoteAddr(), err)
		return
	}
	s := &session{e: e, w: w, open: map[string]*inbox{}}
	defer s.closeAll()
	defer func() {
		if s.locked {
			e.serving.Unlock()
		}
	}()
	r, err := s.hello(o)
	if err != nil {
		e.say("control connection from %s is refused: %v", nc.RemoteAddr(), err)
		_ = w.write(reply{Error: err.Error()})
		return
	}
	if w.write(r) != nil {
		return
	}
	proven()
	e.say("%s asks", s.peer.Name)
	s.obey(ctx)
	e.say("%s has ended", s.peer.Name)
}

// obey carries out orders until the other end has no more, or is gone: nothing
// is probed for it any longer then.
func (s *session) obey(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := make(chan order)
	go func() {
		defer cancel()
		defer close(orders)
		for {
			var o order
			if s.w.read(&o, 0, maxOrder) != nil || o.Do == "bye" {
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	for o := range orders {
		r, err := s.do(ctx, o)
		if err != nil {
			r = reply{Error: err.Error()}
		}
		if s.w.write(r) != nil {
			return
		}
	}
}

// session is one control connection at the asked end.
type session struct {
	e      *End
	locked bool // it is the one that is served
	w      *wire
	peer   *paths.Host
	open   map[string]*inbox
}

var errSecret = errors.New("the other end does not know the secret of this plan: both ends need the same plan file and the same secret")

// hello checks who asks.
func (s *session) hello(o order) (reply, error) {
	e := s.e
	switch {
	case o.Do != "hello" || o.Protocol != controlProtocol:
		return reply{}, fmt.Errorf("protocol %d is spoken here, not %d: use the same exsim at both ends", controlProtocol, o.Protocol)
	case e.conf.Authority == nil && !e.proven(s.w.nc, "client", o.Code):
		return reply{}, errSecret
	case o.Digest != e.conf.Plan.Digest():
		return reply{}, errors.New("the plan files of the two ends differ")
	case o.As != e.conf.Host.Name:
		return reply{}, fmt.Errorf("this end listens as %s, not as %s", e.conf.Host.Name, o.As)
	case o.Offset != e.conf.Offset:
		return reply{}, fmt.Errorf("this end runs with --port-offset %d", e.conf.Offset)
	}
	if s.peer = e.conf.Plan.Host(o.Host); s.peer == nil || o.Host == o.As {
		return reply{}, fmt.Errorf("the plan has no other host %q", o.Host)
	}
	if e.conf.Authority != nil {
		name := s.w.nc.ConnectionState().PeerCertificates[0]
		if name.VerifyHostname(o.Host) != nil && name.Subject.CommonName != o.Host {
			return reply{}, fmt.Errorf("the certificate of the other end is not that of %s", o.Host)
		}
		if len(o.Key) < MinSecret {
			return reply{}, errors.New("the other end brought no key for the tokens")
		}
		if err := s.take(o); err != nil {
			return reply{}, err
		}
		e.setKey(o.Key)
		return reply{Most: mostPorts()}, nil
	}
	if err := s.take(o); err != nil {
		return reply{}, err
	}
	code, err := e.code(s.w.nc, "server")
	return reply{Code: code, Most: mostPorts()}, err
}

// take begins the session of whoever has proven itself.
func (s *session) take(o order) error {
	e := s.e
	if !e.serving.TryLock() {
		return errors.New("another end is being served; try again when it has ended")
	}
	s.locked = true
	if o.Limits != nil {
		e.conf.Limits = o.Limits.filled(false)
		e.pace.init(e.conf.Limits)
	}
	if len(o.Contact) <= maxContact && !strings.ContainsAny(o.Contact, "\r\n") {
		e.contact = o.Contact
	}
	return nil
}

// maxContact is the longest contact.
const maxContact = 100

// do carries out one order.
func (s *session) do(ctx context.Context, o order) (reply, error) {
	e := s.e
	switch o.Do {
	case "time":
		return reply{Now: time.Now()}, nil
	case "figures":
		return reply{Lines: []record.Line{{Host: e.conf.Host.Name, Rate: e.figures()}}}, nil
	}
	for i := range o.Parts {
		if err := s.allowed(o.Do, &o.Parts[i]); err != nil {
			return reply{}, err
		}
	}
	switch o.Do {
	case "open":
		if len(s.open)+len(o.Parts) > len(e.flows) {
			return reply{}, errors.New("more is open than the plan has")
		}
		lines := e.openAll(o.Parts, s.open)
		return reply{Lines: e.told(lines)}, nil
	case "close":
		lines := e.closeAll(ctx, s.open)
		return reply{Lines: e.told(lines)}, nil
	case "probe":
		before := len(e.conf.Log.Lines())
		err := e.probeAll(ctx, o.Parts)
		return reply{Lines: e.conf.Log.Lines()[before:]}, err
	}
	return reply{}, fmt.Errorf("order %q is not known", o.Do)
}

// allowed checks that a flow leads from or to whoever asks, and finds it.
func (s *session) allowed(do string, p *part) error {
	f, own := s.e.flows[p.Flow], s.e.conf.Host
	if f == nil {
		return fmt.Errorf("the plan has no flow %q", p.Flow)
	}
	if rest := p.Ports.Minus(f.Ports); rest.Len() > 0 {
		return fmt.Errorf("flow %s has no ports %s", f.ID, rest)
	}
	inwards, outwards := f.From == s.peer && f.To == own, f.To == s.peer && f.From == own
	if (do != "open" || !inwards) && (do != "probe" || !outwards) {
		return fmt.Errorf("order %q does not fit flow %q between %s and %s", do, p.Flow, s.peer.Name, own.Name)
	}
	if do == "open" && s.open[f.ID] != nil {
		return fmt.Errorf("flow %q is open already", p.Flow)
	}
	p.flow = f
	return nil
}

func (s *session) closeAll() {
	for _, in := range s.open {
		in.close()
	}
}
