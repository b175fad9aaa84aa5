package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// refer takes a REFER in a call: it is accepted, and what comes of the call to
// its target is reported (RFC 3515 §2.4.4).
func (c *Call) refer(tx *sip.ServerTx) {
	target := tx.Header("Refer-To")
	if len(target) != 1 {
		tx.Respond(sip.Response{Status: 400, Reason: sip.Reason(400)})
		return
	}
	to, err := sip.ParseParty(target[0])
	if err != nil {
		tx.Respond(sip.Response{Status: 400, Reason: sip.Reason(400)})
		return
	}
	tx.Respond(sip.Response{Status: 202, Reason: "Accepted", Contact: c.contact})
	c.g.spawn(func(ctx context.Context) {
		select {
		case <-c.ready: // the REFER may be faster than our taking of the answer
		case <-c.ended:
			return
		case <-ctx.Done():
			return
		}
		silent := c.g.has(NoReport)
		if !silent {
			c.report(ctx, 100, "active;expires=60")
		}
		status := c.g.join(to.URI)
		if status == 0 {
			status = c.g.reach(ctx, to)
		}
		c.g.src.Record(c.session, trace.Session{}, referred{to.URI, status}, nil)
		if silent {
			return
		}
		c.report(ctx, status, "terminated;reason=noresource")
	})
}

// report sends a NOTIFY about a transfer.
func (c *Call) report(ctx context.Context, status int, state string) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	_, _ = c.dialog.Request(ctx, "NOTIFY", []string{
		"Event: refer", "Subscription-State: " + state, "Contact: " + c.contact, "Content-Type: message/sipfrag;version=2.0",
	}, fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", status, sip.Reason(status))) // the call may be over
}

const reportTimeout = 10 * time.Second

// join puts a caller in the place of a call that the target of a REFER replaces
// (RFC 3891), and says what came of it; 0 if it replaces none.
func (g *Gateway) join(uri string) int {
	_, headers, _ := strings.Cut(uri, "?")
	escaped, ok := strings.CutPrefix(headers, "Replaces=")
	if !ok {
		return 0
	}
	replaces, err := url.QueryUnescape(escaped)
	if err != nil {
		return 400
	}
	if g.has(IgnoresReplaces) {
		return 481
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for other := range g.calls {
		callID, ours, theirs := other.dialog.ID()
		if replaces == callID+";to-tag="+ours+";from-tag="+theirs {
			g.wg.Go(other.dialog.Bye)
			return 200
		}
	}
	return 481
}

// up keeps a call to find it by, unless it has ended; down forgets it.
func (g *Gateway) up(c *Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-c.ended:
	default:
		g.calls[c] = struct{}{}
	}
}

func (g *Gateway) down(c *Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, c)
}

// reach calls somebody in a caller's place and says what came of it: one of the
// gateway's own telephones, or a SIP address elsewhere.
func (g *Gateway) reach(ctx context.Context, to sip.Party) int {
	addr, elsewhere := g.elsewhere(to)
	switch {
	case g.has(UnroutableREFER):
		return 404
	case !elsewhere:
		if g.conf.Telephone == nil {
			return 200
		}
		return g.conf.Telephone(to.User)
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := g.Call(ctx, CallParams{Routers: []netip.AddrPort{addr}, Dial: to.User, Caller: g.conf.Name})
	if err != nil {
		return 503
	}
	return 200
}

const reachTimeout = 20 * time.Second

// elsewhere is the address of a party that is no telephone of the gateway's.
func (g *Gateway) elsewhere(to sip.Party) (netip.AddrPort, bool) {
	at, err := sip.URIAddr(to.URI)
	if err != nil || at.Addr() == g.addr || at.Addr() == g.conf.Behind {
		return netip.AddrPort{}, false
	}
	return at, true
}

// spawn runs f on a goroutine that Close waits for.
func (g *Gateway) spawn(f func(ctx context.Context)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() == nil {
		g.wg.Go(func() { f(g.ctx) })
	}
}

// lamp takes an indication of waiting messages (RFC 3842).
func (g *Gateway) lamp(tx *sip.ServerTx) {
	l := lamp{}
	for line := range strings.Lines(string(tx.Body())) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "messages-waiting":
			l.waiting = value
		case "message-account":
			l.account = value
		case "voice-message":
			l.counts = value
		}
	}
	tx.Respond(sip.Response{Status: 200, Reason: "OK"})
	if l.waiting != "" {
		g.src.Record(tx.Session(), trace.Session{}, l, nil)
	}
}
