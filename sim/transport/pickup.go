package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// Message is what Unified Messaging hands over.
type Message struct {
	From, To string
	Data     []byte
	Call     trace.Session // that it came from
}

// PickupConfig describes a Pickup.
type PickupConfig struct {
	// Dir is the folder in which messages wait, on disk before Submit returns.
	Dir string
	// Hello is our name in EHLO, From our address.
	Hello string
	From  netip.Addr
	// To is the receive connector, ServerName the name in its certificate.
	To         netip.AddrPort
	ServerName string
	TLS        *tls.Config
	// LogOn gets Kerberos tickets; without it the receive connector knows us by
	// our address.
	LogOn   *sasl.Initiator
	Profile *profile.Profile
	Dial    func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	// Retry is the wait before a message is tried again.
	Retry  time.Duration
	Causes *Causes
	Trace  *trace.Source
}

// Pickup submits messages by SMTP with STARTTLS, and Kerberos where there is a
// realm. A message that is not taken
// stays on disk and is tried again; one that is refused for good is kept aside
// as .bad.
type Pickup struct {
	conf PickupConfig
	q    *queue
}

// envelope is the first line of a waiting file.
type envelope struct {
	From, To, Call string
}

// NewPickup uses a folder and submits what an earlier run left there.
func NewPickup(conf PickupConfig) (*Pickup, error) {
	if !conf.To.IsValid() {
		return nil, errNoConnector
	}
	st, err := store.Open(conf.Dir)
	if err != nil {
		return nil, err
	}
	p := &Pickup{conf: conf}
	p.q = &queue{store: st, folder: "voicemail", retry: conf.Retry, try: p.try, final: notAgain, failed: p.failed}
	return p, p.q.begin()
}

// Submit takes a message over: it is on disk when Submit returns, and on its
// way.
func (p *Pickup) Submit(m Message) error {
	_, err := p.q.submit(envelope{m.From, m.To, m.Call.String()}, bytes.NewReader(m.Data))
	return err
}

// Close lets what is on its way arrive, for a while, and stops trying; what
// waits then is submitted by the next run.
func (p *Pickup) Close() error { return p.q.close() }

// failed records a try that did not succeed.
func (p *Pickup) failed(item store.Item, err error, final bool) {
	call := trace.Session{}
	if env, _, e := open(item); e == nil {
		call, _ = trace.ParseSession(env.Call)
	}
	p.conf.Trace.Record(call, trace.Session{}, submitFailed{err.Error(), final, item.Path}, nil)
}

// open reads a waiting file.
func open(item store.Item) (env envelope, data []byte, err error) {
	b, err := os.ReadFile(item.Path)
	if err != nil {
		return env, nil, err
	}
	head, data, _ := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(head, &env); err != nil {
		return env, nil, fmt.Errorf("%s: %w", item.Path, err)
	}
	return env, data, nil
}

func (p *Pickup) try(j *job) error {
	env, data, err := open(j.item)
	if err != nil {
		return err
	}
	call, err := trace.ParseSession(env.Call)
	if err != nil {
		return fmt.Errorf("%s: %w", j.item.Path, err)
	}
	conn, err := p.dial(call)
	if err != nil {
		return err
	}
	local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	defer p.conf.Causes.forget(local)
	return p.send(conn, env, data)
}

func (p *Pickup) dial(call trace.Session) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.q.ctx, 30*time.Second)
	defer cancel()
	p.conf.Causes.announce(p.conf.From)
	conn, err := p.conf.Dial(ctx, p.conf.From, p.conf.To)
	var local netip.AddrPort
	if err == nil {
		local, _ = netip.ParseAddrPort(conn.LocalAddr().String())
	}
	p.conf.Causes.settle(p.conf.From, local, call)
	return conn, err
}

// send is one SMTP session. Close breaks it off up to the end of the message;
// behind that only the answer counts.
func (p *Pickup) send(conn net.Conn, env envelope, data []byte) error {
	keep := context.AfterFunc(p.q.ctx, func() { _ = conn.Close() })
	defer keep()
	defer func() { _ = conn.Close() }()
	k := smtp.NewClient(conn, smtp.ClientConfig{Hello: p.conf.Hello, Reply: patience})
	if err := k.Greet(); err != nil {
		return err
	}
	tlsConf := p.conf.TLS.Clone()
	tlsConf.ServerName = p.conf.ServerName
	if err := k.StartTLS("STARTTLS", tlsConf); err != nil {
		return err
	}
	if p.conf.LogOn != nil {
		if err := logOnAsServer(k, p.conf.Profile, p.conf.LogOn, p.conf.ServerName); err != nil {
			return err
		}
	}
	m := &smtp.Outgoing{From: env.From, To: []string{env.To}, Size: int64(len(data)), Data: func() io.Reader {
		return &lastOctets{r: bytes.NewReader(data), before: func() error {
			if !keep() {
				return p.q.ctx.Err() // broken off before the end of the message
			}
			p.q.lastWord(conn)
			return nil
		}}
	}}
	_, refused, err := k.Send(m, smtp.Way{Pipelining: true, Chunking: true, Size: true})
	if err == nil {
		err = refused[env.To]
	}
	if err == nil {
		_ = k.Quit(goodbye) // the message is taken: how the peer says goodbye matters no more
	}
	return err
}

// patience is how long the answer to a command or a message may take
// (RFC 5321 §4.5.3.2.6).
const patience = 10 * time.Minute

// lastOctets asks before it gives the last octets of a message away.
type lastOctets struct {
	r      *bytes.Reader
	before func() error
}

func (l *lastOctets) Read(b []byte) (int, error) {
	if n := l.r.Len(); n > 0 && n <= len(b) {
		if err := l.before(); err != nil {
			return 0, err
		}
	}
	return l.r.Read(b)
}
