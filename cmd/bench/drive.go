package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim"
)

// load is one run of the driver: the full Exchange flow, INVITE/302/ACK on
// two listeners and INVITE/200/ACK/BYE/200 on a third, over kept connections.
type load struct {
	from    netip.Addr
	targets [3]netip.AddrPort
	calls   int
	window  int           // calls outstanding
	every   time.Duration // between two calls; 0 is as fast as it goes
	conns   int           // for each target
	hold    chan struct{} // if set, answered calls wait for it before BYE
	held    *sync.WaitGroup
	pilot   bool // no Diversion: a call that leaves no mail
	hops    bool // a new connection for each hop of each call
	body    string
}

// times are what the driver saw.
type times struct {
	calls    int
	elapsed  time.Duration
	p50, p99 time.Duration // of the first answer
}

// driver sends from templates and reads no more of an answer than it needs:
// its own cost shall not blur the server's.
type driver struct {
	load
	run     string
	streams [3][]*stream
	slots   []chan answer
}

type answer struct {
	status int
	toTag  string
}

type stream struct {
	nc   net.Conn
	mu   sync.Mutex
	addr string
}

func (l load) drive(ctx context.Context) (times, error) {
	d := &driver{load: l, run: strconv.FormatInt(time.Now().UnixNano(), 36), slots: make([]chan answer, l.calls)}
	for i := range d.slots {
		d.slots[i] = make(chan answer, 2)
	}
	defer d.close()
	for t := range d.targets {
		for range l.conns {
			s, err := d.connect(ctx, t)
			if err != nil {
				return times{}, err
			}
			d.streams[t] = append(d.streams[t], s)
		}
	}
	return d.all(ctx)
}

func (d *driver) connect(ctx context.Context, t int) (*stream, error) {
	dial := func() (net.Conn, error) { return sim.Dial(ctx, d.from, d.targets[t]) }
	if d.hops { // the system's own address: a chosen one would use up its ports
		dial = func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", d.targets[t].String()) }
	}
	nc, err := dial()
	if err != nil {
		return nil, err
	}
	go d.read(nc)
	return &stream{nc: nc, addr: nc.LocalAddr().String()}, nil
}

func (d *driver) close() {
	for _, list := range d.streams {
		for _, s := range list {
			_ = s.nc.Close()
		}
	}
}

// all places the calls, window at a time.
func (d *driver) all(ctx context.Context) (times, error) {
	next := make(chan int)
	go func() {
		defer close(next)
		var turn <-chan time.Time
		if d.every > 0 {
			t := time.NewTicker(d.every)
			defer t.Stop()
			turn = t.C
		}
		for i := range d.calls {
			if turn != nil {
				<-turn
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	var first []time.Duration
	var errs []error
	begin := time.Now()
	var wg sync.WaitGroup
	for range d.window {
		wg.Go(func() {
			for i := range next {
				took, err := d.call(ctx, i)
				mu.Lock()
				first = append(first, took)
				if err != nil && len(errs) < 3 {
					errs = append(errs, fmt.Errorf("call %d: %w", i, err))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 || len(first) < d.calls {
		return times{}, errors.Join(append(errs, ctx.Err())...)
	}
	slices.Sort(first)
	return times{d.calls, time.Since(begin), first[len(first)/2], first[len(first)*99/100]}, nil
}

// call runs one call and returns how long its first answer took.
func (d *driver) call(ctx context.Context, i int) (time.Duration, error) {
	var took time.Duration
	for t := range d.targets {
		begin := time.Now()
		last := t == len(d.targets)-1
		s := d.streams[t][i%d.conns]
		if d.hops {
			var err error
			if s, err = d.connect(ctx, t); err != nil {
				return 0, err
			}
			defer func() { _ = s.nc.Close() }()
		}
		if err := d.send(s, t, i, "INVITE", t+1, ""); err != nil {
			return 0, err
		}
		a, err := d.wait(ctx, i)
		if err != nil {
			return 0, fmt.Errorf("INVITE %d: %w", t+1, err)
		}
		if t == 0 {
			took = time.Since(begin)
		}
		if want := map[bool]int{false: 302, true: 200}[last]; a.status != want {
			return took, fmt.Errorf("INVITE %d was answered %d", t+1, a.status)
		}
		if err := d.send(s, t, i, "ACK", t+1, a.toTag); err != nil {
			return took, err
		}
		if last {
			return took, d.hangUp(ctx, s, t, i, a.toTag)
		}
	}
	return took, nil
}

func (d *driver) hangUp(ctx context.Context, s *stream, t, i int, toTag string) error {
	if d.hold != nil {
		d.held.Done()
		<-d.hold
	}
	if err := d.send(s, t, i, "BYE", t+2, toTag); err != nil {
		return err
	}
	a, err := d.wait(ctx, i)
	if err == nil && a.status != 200 {
		err = fmt.Errorf("BYE was answered %d", a.status)
	}
	return err
}

func (d *driver) wait(ctx context.Context, i int) (answer, error) {
	select {
	case a := <-d.slots[i]:
		return a, nil
	case <-time.After(20 * time.Second):
		return answer{}, errors.New("no answer in 20 s")
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// send writes one request. An ACK of a 302 has the branch of its INVITE.
func (d *driver) send(s *stream, t, i int, method string, seq int, toTag string) error {
	branch := fmt.Sprintf("z9hG4bK%s.%d.%d", d.run, i, t)
	if t == 2 && method != "INVITE" {
		branch += method
	}
	b := make([]byte, 0, 1024)
	b = fmt.Appendf(b, "%s sip:4000@%s;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=%s\r\n", method, d.targets[t], s.addr, branch)
	b = fmt.Appendf(b, "From: <sip:7125550123@%s>;tag=f%d\r\nTo: <sip:4000@%s>%s\r\n", d.from, i, d.targets[0].Addr(), toTag)
	b = fmt.Appendf(b, "Call-ID: %s-%d@bench\r\nCSeq: %d %s\r\nMax-Forwards: 70\r\n", d.run, i, seq, method)
	if method == "INVITE" {
		b = fmt.Appendf(b, "Contact: <sip:7125550123@%s;transport=tcp>\r\n", s.addr)
		if !d.pilot {
			b = append(b, "Diversion: <tel:4021>;reason=no-answer\r\n"...)
		}
		b = fmt.Appendf(b, "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(d.body), d.body)
	} else {
		b = append(b, "Content-Length: 0\r\n\r\n"...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.nc.Write(b)
	return err
}

// read hands each final answer to its call.
func (d *driver) read(nc net.Conn) {
	r := bufio.NewReaderSize(nc, 64<<10)
	for {
		call, a, length, err := d.head(r)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return
		}
		if a.status >= 200 && call >= 0 && call < len(d.slots) {
			d.slots[call] <- a
		}
	}
}

func (d *driver) head(r *bufio.Reader) (call int, a answer, length int, err error) {
	call = -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return call, a, length, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, found := strings.Cut(string(line), ":")
		switch {
		case len(line) == 0:
			return call, a, length, nil
		case strings.HasPrefix(name, "SIP/2.0 "):
			a.status, _ = strconv.Atoi(name[8:11])
		case !found:
		case strings.EqualFold(name, "call-id"):
			id, _, _ := strings.Cut(value, "@")
			call, _ = strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
		case strings.EqualFold(name, "to"):
			if i := strings.Index(value, ";tag="); i >= 0 {
				a.toTag = value[i:]
			}
		case strings.EqualFold(name, "content-length"):
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
}
