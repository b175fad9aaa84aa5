package ends

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

// The control connection carries one JSON object a line, under TLS. With a
// shared secret the certificates are made for the moment and each side proves
// the secret by a code over this very TLS session, so that nobody in between
// can pass it on; with a lab's authority both certificates are checked, and the
// asking end brings the key of the tokens.
const (
	controlProtocol = 1
	maxMessage      = 32 << 20
	maxHello        = 4 << 10
	maxOrder        = 4 << 20
	maxAsking       = 8 // connections that have not proven themselves
	helloWait       = 3 * time.Second
	controlWait     = 10 * time.Second // for the other end's next word, while nothing is probed
	exporter        = "EXPORTER-exsim-paths"
)

// order is what the asking end says: what it greets with, and what it wants once
// it has proven itself.
type order struct {
	greeting
	Parts []part `json:"parts,omitempty"`
}

// greeting is what is read of an end that has not proven itself.
type greeting struct {
	Do       string  `json:"do"` // hello, time, open, probe, close, figures, bye
	Protocol int     `json:"protocol,omitempty"`
	Host     string  `json:"host,omitempty"`
	As       string  `json:"as,omitempty"` // whom it wants to speak with
	Digest   string  `json:"digest,omitempty"`
	Code     string  `json:"code,omitempty"`
	Key      []byte  `json:"key,omitempty"`
	Offset   uint16  `json:"offset,omitempty"`
	Limits   *Limits `json:"limits,omitempty"` // of probes from there
	Contact  string  `json:"contact,omitempty"`
}

// part is a flow, or some ports of it.
type part struct {
	Flow  string        `json:"flow"`
	Ports paths.PortSet `json:"ports,omitzero"`
	Held  paths.PortSet `json:"held,omitzero"`

	flow *paths.Flow
}

// reply is what the asked end answers.
type reply struct {
	Error string        `json:"error,omitempty"`
	Code  string        `json:"code,omitempty"`
	Now   time.Time     `json:"now,omitzero"`
	Most  int           `json:"most,omitempty"` // ports that can be open at once
	Lines []record.Line `json:"lines,omitempty"`
}

// wire is one side of a control connection.
type wire struct {
	nc *tls.Conn
	r  *bufio.Reader
}

func newWire(nc *tls.Conn) *wire { return &wire{nc, bufio.NewReader(nc)} }

func (w *wire) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = w.nc.SetWriteDeadline(time.Now().Add(controlWait))
	_, err = w.nc.Write(append(b, '\n'))
	return err
}

func (w *wire) read(v any, wait time.Duration, most int) error {
	deadline := time.Time{}
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	_ = w.nc.SetReadDeadline(deadline)
	var line []byte
	for {
		part, err := w.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(line) > most {
			return fmt.Errorf("a message of more than %d octets", most)
		}
	}
	return json.Unmarshal(line, v)
}

// code proves the secret on this TLS session.
func (e *End) code(nc *tls.Conn, side string) (string, error) {
	s := nc.ConnectionState()
	material, err := s.ExportKeyingMaterial(exporter, nil, 32)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, e.key)
	h.Write([]byte(side))
	h.Write(material)
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (e *End) proven(nc *tls.Conn, side, code string) bool {
	want, err := e.code(nc, side)
	return err == nil && hmac.Equal([]byte(want), []byte(code))
}

// controlTLS is the configuration of either side.
func (e *End) controlTLS(server bool) (*tls.Config, error) {
	c := &tls.Config{Certificates: []tls.Certificate{e.cert}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} //nolint:gosec // the secret is proven on the session, or the chain is checked below
	if a := e.conf.Authority; a != nil {
		cert, err := controlCertificate(a, e.conf.Host.Name)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
		c.VerifyConnection = func(s tls.ConnectionState) error { return chained(s, a) }
		if server {
			c.ClientAuth = tls.RequireAnyClientCert
		}
	}
	return c, nil
}

func controlCertificate(a *admit.Authority, host string) (tls.Certificate, error) {
	if cert, ok, err := a.Kept(host); ok || err != nil {
		return cert, err
	}
	return a.Issue(admit.Request{Names: []string{host}})
}

// chained checks that a certificate is the lab's.
func chained(s tls.ConnectionState, a *admit.Authority) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the other end shows no certificate")
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

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

// told records lines of this end, which are also told to the other.
func (e *End) told(lines []record.Line) []record.Line {
	for i := range lines {
		lines[i].Host = e.conf.Host.Name
		e.add(lines[i])
	}
	return lines
}

// openAll listens on parts of flows.
func (e *End) openAll(parts []part, open map[string]*inbox) []record.Line {
	var lines []record.Line
	for _, p := range parts {
		in, bound := e.open(p.flow, p.Ports)
		open[p.Flow] = in
		lines = append(lines, record.Line{Bound: bound})
	}
	return lines
}

// closeAll ends listening and returns what arrived.
func (e *End) closeAll(ctx context.Context, open map[string]*inbox) []record.Line {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var lines []record.Line
	for id, in := range open {
		in.settle(ctx)
		got := in.close()
		lines = append(lines, record.Line{Got: &got})
		delete(open, id)
	}
	return lines
}

// probeAll probes parts of flows at the same time, at the common pace.
func (e *End) probeAll(ctx context.Context, parts []part) error {
	begin := time.Now()
	defer func() { e.busy += time.Since(begin) }()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { errs[i] = e.probe(ctx, p.flow, p.Ports, p.Held) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

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
	if err != nil {
		return nil, nil, fmt.Errorf("no control connection to %s at %s: %w\nIs exsim listen running there, and tcp/%d open? Without one: --alone --record FILE at both ends, then exsim probe --merge", peer.Name, to, err, to.Port())
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
