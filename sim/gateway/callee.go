package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// maxRings bounds the calls that ring at once.
const maxRings = 16

// ring lets a call ring until Answer takes it, or the caller gives up.
func (g *Gateway) ring(tx *sip.ServerTx) {
	tx.Defer()
	g.mu.Lock()
	busy := len(g.rings) == maxRings
	if !busy {
		g.rings = append(g.rings, tx)
	}
	g.mu.Unlock()
	if busy {
		tx.Respond(sip.Response{Status: 486, Reason: sip.Reason(486)})
		return
	}
	tx.OnCancel(func() { g.stopRinging(tx) })
	tx.Respond(sip.Response{Status: 180, Reason: "Ringing", Contact: g.contact()})
	select {
	case g.rang <- struct{}{}:
	default:
	}
}

// stopRinging takes a call out of those that ring, and reports whether it was
// one.
func (g *Gateway) stopRinging(tx *sip.ServerTx) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.rings, tx)
	if i >= 0 {
		g.rings = slices.Delete(g.rings, i, i+1)
	}
	return i >= 0
}

// ringing waits for a call that rings, and takes it out.
func (g *Gateway) ringing(ctx context.Context) (*sip.ServerTx, error) {
	for {
		g.mu.Lock()
		list := slices.Clone(g.rings)
		g.mu.Unlock()
		for _, tx := range list {
			if g.stopRinging(tx) && !tx.Answered() {
				return tx, nil
			}
		}
		select {
		case <-g.rang:
		case <-ctx.Done():
			return nil, errors.New("no call came")
		}
	}
}

// contact is where the gateway is reached.
func (g *Gateway) contact() string {
	return fmt.Sprintf("<sip:%s;transport=%s>", g.local, g.conf.transport())
}

// Answer waits for a call to the gateway and takes it; with a status other than
// 200 it refuses it, which is no error. With early media its description is in a
// 183 already.
func (g *Gateway) Answer(ctx context.Context, status int, early bool) (*Call, error) {
	c := newCall(g)
	tx, err := g.ringing(ctx)
	if err != nil {
		return c, err
	}
	c.session = tx.Session()
	if status != 200 {
		tx.Respond(sip.Response{Status: status, Reason: sip.Reason(status)})
		return c, nil
	}
	stream, err := g.media.Open(g.addr, c.session, g.src)
	if err != nil {
		tx.Respond(sip.Response{Status: 500, Reason: sip.Reason(500)})
		return c, err
	}
	c.stream, c.contact = stream, g.contact()
	body, agreed, err := c.take(tx.Body())
	if err != nil {
		stream.Close()
		tx.Respond(sip.Response{Status: 488, Reason: "Not Acceptable Here"})
		return c, err
	}
	if early {
		g.early(tx, body)
	}
	c.mu.Lock() // the ACK may be faster than our return
	c.dialog = tx.Accept(sip.Response{Status: 200, Reason: "OK", Contact: c.contact, Headers: []string{allow}, Body: body}, c)
	c.mu.Unlock()
	close(c.ready)
	if c.dialog == nil {
		stream.Close()
		return c, errors.New("the caller gave up before the call was answered")
	}
	g.up(c)
	g.src.Record(c.session, trace.Session{}, took{tx.RequestURI()}, nil)
	if agreed != nil {
		err = c.startMedia(*agreed)
	}
	return c, err
}

// early lets media flow before the answer.
func (g *Gateway) early(tx *sip.ServerTx, body []byte) {
	tx.Respond(sip.Response{Status: 183, Reason: "Session Progress", Contact: g.contact(), Body: body})
	if g.has(SDPIn180) {
		tx.Respond(sip.Response{Status: 180, Reason: "Ringing", Contact: g.contact(), Body: body})
	}
}

// take answers the offer of a call to us and says what is agreed, or makes one
// where there is none.
func (c *Call) take(offer []byte) ([]byte, *sdp.Agreed, error) {
	if c.g.conf.SRTP && c.keys == nil {
		c.keys = newKeys()
	}
	if len(offer) == 0 {
		c.offered = true
		return c.offer(), nil, nil
	}
	desc, err := sdp.Parse(offer)
	if err != nil {
		return nil, nil, fmt.Errorf("the offer: %w", err)
	}
	answer, agreed, err := sdp.Answer(desc, c.description())
	if err != nil {
		return nil, nil, fmt.Errorf("the offer: %w", err)
	}
	return answer.AppendTo(nil), &agreed, nil
}

// Acknowledged takes the answer to an offer of ours, in the ACK.
func (c *Call) Acknowledged(body []byte) {
	if c.offered {
		c.offered = false
		if err := c.agree(body); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.dialog.Bye()
		}
	}
}

// Ping connects to a service and waits for its sign of life: the answer to a
// keep-alive (RFC 5626 §3.5.1).
func (g *Gateway) Ping(ctx context.Context, to netip.AddrPort) error {
	nc, err := g.conf.Dial(ctx, g.addr, to)
	if err != nil {
		return err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Now()) })
	defer stop()
	if _, err := nc.Write([]byte("\r\n\r\n")); err != nil {
		return err
	}
	var pong [2]byte
	if _, err := nc.Read(pong[:]); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return errors.New("it was connected, and nothing answered")
		}
		return fmt.Errorf("it was connected and closed: %w", err)
	}
	return nil
}
