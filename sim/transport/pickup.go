package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
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
	Dial       func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	// Retry is the wait before a message is tried again.
	Retry  time.Duration
	Causes *Causes
	Trace  *trace.Source
}

// Pickup submits messages by SMTP with STARTTLS, as an ordinary client
// (go-smtp): two independent implementations talk. A message that is not taken
// stays on disk and is tried again; one that is refused for good is kept aside
// as .bad.
type Pickup struct {
	conf  PickupConfig
	store *store.Store
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex
	queue []*job
	more  chan struct{} // closed when the queue has grown
	busy  int           // jobs being delivered
	idle  chan struct{} // closed when one of them is done
}

// job is a message on its way.
type job struct {
	item  store.Item
	due   time.Time
	taken bool // by the connector: only its file is left to remove
}

// envelope is the first line of a waiting file.
type envelope struct {
	From, To, Call string
}

const (
	waiting = "voicemail"
	// senders bounds the connections at once.
	senders = 4
	// lastWord is how long the answer to a whole message may take: until then
	// the connection is kept, also by Close, so that a message that is taken is
	// not sent again.
	lastWord = 10 * time.Second
)

// NewPickup uses a folder and submits what an earlier run left there.
func NewPickup(conf PickupConfig) (*Pickup, error) {
	if !conf.To.IsValid() {
		return nil, errNoConnector
	}
	st, err := store.Open(conf.Dir)
	if err != nil {
		return nil, err
	}
	left, err := st.List(waiting)
	if err != nil {
		return nil, err
	}
	p := &Pickup{conf: conf, store: st, more: make(chan struct{}), idle: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for _, item := range left {
		p.queue = append(p.queue, &job{item: item})
	}
	for range senders {
		p.wg.Go(p.sender)
	}
	return p, nil
}

// Submit takes a message over: it is on disk when Submit returns, and on its
// way.
func (p *Pickup) Submit(m Message) error {
	head, err := json.Marshal(envelope{m.From, m.To, m.Call.String()})
	if err != nil {
		return err
	}
	items, err := p.store.Deliver(io.MultiReader(bytes.NewReader(append(head, '\n')), bytes.NewReader(m.Data)), waiting)
	if err != nil {
		return err
	}
	p.put(&job{item: items[0]})
	return nil
}

func (p *Pickup) put(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, j)
	close(p.more)
	p.more = make(chan struct{})
}

// next waits for the next due job; nil when the pickup is closed.
func (p *Pickup) next() *job {
	for {
		p.mu.Lock()
		now, wait := time.Now(), time.Hour
		for i, j := range p.queue {
			if !j.due.After(now) {
				p.queue = slices.Delete(p.queue, i, i+1)
				p.busy++
				p.mu.Unlock()
				return j
			}
			wait = min(wait, j.due.Sub(now))
		}
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-time.After(wait):
		case <-p.ctx.Done():
			return nil
		}
	}
}

// sender delivers one job after another.
func (p *Pickup) sender() {
	for j := p.next(); j != nil && p.ctx.Err() == nil; j = p.next() {
		if !p.deliver(j) {
			j.due = time.Now().Add(p.conf.Retry)
			p.put(j)
		}
		p.done()
	}
}

func (p *Pickup) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	close(p.idle)
	p.idle = make(chan struct{})
}

// deliver reports whether the job is done with: the message is taken and its
// file removed, or it is refused for good and kept aside.
func (p *Pickup) deliver(j *job) bool {
	call, err := trace.Session{}, error(nil)
	if !j.taken {
		call, err = p.try(j.item)
		j.taken = err == nil
	}
	if j.taken {
		err = p.store.Remove(j.item)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	if p.ctx.Err() != nil {
		return false
	}
	var refused *gosmtp.SMTPError
	final := errors.As(err, &refused) && refused.Code >= 500
	p.conf.Trace.Record(call, trace.Session{}, submitFailed{reason(err), final, j.item.Path}, nil)
	return final && os.Rename(j.item.Path, j.item.Path+".bad") == nil
}

func (p *Pickup) try(item store.Item) (call trace.Session, err error) {
	b, err := os.ReadFile(item.Path)
	if err != nil {
		return call, err
	}
	head, data, _ := bytes.Cut(b, []byte("\n"))
	var env envelope
	if err := json.Unmarshal(head, &env); err != nil {
		return call, fmt.Errorf("%s: %w", item.Path, err)
	}
	if call, err = trace.ParseSession(env.Call); err != nil {
		return call, fmt.Errorf("%s: %w", item.Path, err)
	}
	conn, err := p.dial(call)
	if err != nil {
		return call, err
	}
	local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	defer p.conf.Causes.forget(local)
	return call, p.send(conn, env, data)
}

func (p *Pickup) dial(call trace.Session) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
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
	keep := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
	defer keep()
	tlsConf := p.conf.TLS.Clone()
	tlsConf.ServerName = p.conf.ServerName
	c, err := gosmtp.NewClientStartTLS(conn, tlsConf)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Hello(p.conf.Hello); err != nil {
		return err
	}
	if err := c.Mail(env.From, &gosmtp.MailOptions{Size: int64(len(data))}); err != nil {
		return err
	}
	if err := c.Rcpt(env.To, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if !keep() {
		return p.ctx.Err() // broken off before the end of the message
	}
	_ = conn.SetDeadline(time.Now().Add(lastWord))
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the message is taken: how the peer says goodbye matters no more
	return nil
}

// settle waits until nothing is on its way any more: each message is taken, or
// waits for its next try.
func (p *Pickup) settle(ctx context.Context) {
	for {
		p.mu.Lock()
		busy := p.busy
		for _, j := range p.queue {
			if !j.due.After(time.Now()) {
				busy++
			}
		}
		changed := p.idle
		p.mu.Unlock()
		if busy == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Close lets what is on its way arrive, for a while, and stops trying; what
// waits then is submitted by the next run.
func (p *Pickup) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWord)
	defer cancel()
	p.settle(ctx)
	p.stop()
	p.wg.Wait()
	return nil
}

// reason is why a message was not taken: the reply, where there is one.
func reason(err error) string {
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) {
		return err.Error()
	}
	text := strconv.Itoa(reply.Code)
	if reply.EnhancedCode != (gosmtp.EnhancedCode{}) && reply.EnhancedCode != gosmtp.NoEnhancedCode {
		text += fmt.Sprintf(" %d.%d.%d", reply.EnhancedCode[0], reply.EnhancedCode[1], reply.EnhancedCode[2])
	}
	return text + " " + reply.Message
}
