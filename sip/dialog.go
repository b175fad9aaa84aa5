package sip

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

// End says how a dialog ended.
type End string

// The ends of a dialog.
const (
	EndBye    End = "bye"    // the peer hung up
	EndLocal  End = "local"  // we hung up
	EndNoACK  End = "no ack" // the 2xx was never acknowledged
	EndClosed End = "closed" // the endpoint was closed
	// EndExpired is a session that nobody refreshed (RFC 4028 §10).
	EndExpired End = "session expired"
)

// DialogHandler is told what happens in a dialog. Acknowledged and Request run
// on the connection's reading goroutine and must not block.
type DialogHandler interface {
	// Acknowledged is the ACK of a 2xx to INVITE or re-INVITE, with its body,
	// which is valid until the return.
	Acknowledged(body []byte)
	// Request is a valid request in the dialog other than ACK, BYE and CANCEL.
	// A 2xx to a re-INVITE is sent with Respond.
	Request(tx *ServerTx)
	// Ended is called once.
	Ended(how End)
}

// Dialog is a confirmed dialog (RFC 3261 §12).
type Dialog struct {
	ep      *Endpoint
	handler DialogHandler
	call    trace.Session
	key     uint64

	callID, local, remote string // From and To values as our requests have them
	target                string // remote target URI
	routes                []string

	mu        sync.Mutex
	conn      *conn
	localSeq  uint32
	remoteSeq uint32
	awaits    *peerLoad     // set while a 2xx of ours has no ACK
	answer    []byte        // this 2xx, empty where it could not be written
	answerSeq uint32        // CSeq of its INVITE
	ack       []byte        // our ACK, as caller
	interval  time.Duration // of the answer's retransmissions
	waited    time.Duration
	timer     entry     // of the answer
	session   entry     // of the session timer
	inviting  bool      // our re-INVITE has no answer yet
	offered   *ServerTx // the last INVITE or UPDATE with an offer of the peer
	ended     bool
}

// Session names the call.
func (d *Dialog) Session() trace.Session { return d.call }

// ID is what tells the dialog from others (RFC 3261 §12): its Call-ID, our tag,
// and the peer's.
func (d *Dialog) ID() (callID, local, remote string) {
	tag := func(value string) string {
		var h head
		h.raw = []byte(value)
		at := h.tag(span{0, int32(len(value))})
		return string(at.of(h.raw))
	}
	return d.callID, tag(d.local), tag(d.remote)
}

// retarget takes the URI in the Contact of a target refresh, "" for none
// (RFC 3261 §12.2).
func (d *Dialog) retarget(uri string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if uri != "" {
		d.target = uri
	}
}

func (e *Endpoint) dialogKey(callID, localTag, remoteTag []byte) uint64 {
	return hash(e.seed, callID, localTag, remoteTag, nil)
}

// dialogOf finds the dialog of a request by Call-ID and both tags.
func (e *Endpoint) dialogOf(h *head) *Dialog {
	if h.toTag.n == 0 {
		return nil
	}
	key := e.dialogKey(h.callID.of(h.raw), h.toTag.of(h.raw), h.fromTag.of(h.raw))
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dialogs.get(key)
}

// newServerDialog opens the dialog that a 2xx to this INVITE makes. The parts
// that it keeps share one copy.
func (e *Endpoint) newServerDialog(tx *ServerTx, handler DialogHandler) *Dialog {
	h := tx.h
	tag := tagValue(tx.tag)
	target := addrSpec(string(h.contact.of(h.raw)))
	all := string(h.callID.of(h.raw)) + string(h.from.of(h.raw)) + string(h.to.of(h.raw)) + tx.tag + target
	cut := func(n int) string {
		s := all[:n]
		all = all[n:]
		return s
	}
	d := &Dialog{
		ep: e, handler: handler, call: tx.session, conn: tx.conn, remoteSeq: h.seq,
		key:    e.dialogKey(h.callID.of(h.raw), []byte(tag), h.fromTag.of(h.raw)),
		callID: cut(int(h.callID.n)),
		remote: cut(int(h.from.n)),
		local:  cut(int(h.to.n) + len(tx.tag)),
		target: cut(len(target)),
	}
	for _, rr := range h.routes {
		d.routes = append(d.routes, splitList(string(lineValue(rr.of(h.raw))))...)
	}
	e.register(d)
	tx.dialog = d
	return d
}

func (e *Endpoint) register(d *Dialog) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dialogs.put(d.key, d)
}

func (e *Endpoint) dropDialog(d *Dialog) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dialogs.remove(d.key)
}

// awaitACK repeats a 2xx until it is acknowledged; after 64*T1 the call is
// ended by a BYE (RFC 3261 §13.3.1.4).
func (d *Dialog) awaitACK(answer []byte, seq uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived()
	d.ep.mu.Lock()
	d.awaits = d.conn.load
	d.awaits.pending++
	d.ep.mu.Unlock()
	d.answer, d.answerSeq, d.interval, d.waited = answer, seq, d.ep.conf.T1, 0
	d.ep.wheel.start(&d.timer, d.interval, d.repeatAnswer)
}

// arrived ends the wait for an ACK; d.mu is held.
func (d *Dialog) arrived() {
	if d.awaits == nil {
		return
	}
	d.ep.wheel.stop(&d.timer)
	d.ep.answers.give(d.answer)
	d.ep.mu.Lock()
	d.ep.release(d.awaits)
	d.ep.mu.Unlock()
	d.answer, d.awaits = nil, nil
}

func (d *Dialog) repeatAnswer() {
	d.mu.Lock()
	answer, c := slices.Clone(d.answer), d.conn
	d.waited += d.interval
	if d.awaits == nil || d.ended {
		d.mu.Unlock()
		return
	}
	if d.waited >= d.ep.conf.give() {
		d.mu.Unlock()
		d.ep.conf.Trace.Record(d.call, trace.Session{}, timedOut(c.name, "ACK of the answer 200"), nil)
		d.bye(EndNoACK)
		return
	}
	d.interval = min(2*d.interval, max(t2, d.ep.conf.T1), d.ep.conf.give()-d.waited)
	d.ep.wheel.start(&d.timer, d.interval, d.repeatAnswer)
	d.mu.Unlock()
	if len(answer) > 0 {
		c.send(d.call, answer)
	}
}

// acknowledged takes an ACK; one of an earlier INVITE, said again, is none.
func (d *Dialog) acknowledged(seq uint32, body []byte) {
	d.mu.Lock()
	awaited := d.awaits != nil && seq == d.answerSeq && !d.ended
	if awaited {
		d.arrived()
	}
	d.mu.Unlock()
	if awaited {
		d.handler.Acknowledged(body)
	}
}

// receive takes a request of the peer in the dialog.
func (d *Dialog) receive(tx *ServerTx) {
	d.mu.Lock()
	late := tx.h.seq < d.remoteSeq
	busy := Response{}
	if !late {
		d.remoteSeq = tx.h.seq
		d.conn = tx.conn
		busy = d.glare(tx)
	}
	d.mu.Unlock()
	switch {
	case late: // RFC 3261 §12.2.2
		tx.Respond(Response{Status: 500, Reason: "Server Internal Error"})
	case busy.Status != 0:
		tx.Respond(busy)
	case tx.Method() == "BYE":
		tx.Respond(Response{Status: 200, Reason: "OK"})
		d.end(EndBye)
	default:
		tx.dialog = d
		d.handler.Request(tx)
	}
}

// end forgets the dialog and tells its handler, once; it reports whether this
// was the end.
func (d *Dialog) end(how End) bool {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return false
	}
	d.ended = true
	d.ack = nil
	d.arrived()
	d.ep.wheel.stop(&d.session)
	d.offered = nil
	d.mu.Unlock()
	d.ep.dropDialog(d)
	d.handler.Ended(how)
	return true
}

// Bye hangs up. It does not wait for the answer.
func (d *Dialog) Bye() { d.bye(EndLocal) }

// Hangup hangs up and waits for the answer to the BYE.
func (d *Dialog) Hangup(ctx context.Context) (Reply, error) {
	r, err := d.Request(ctx, "BYE", nil, nil)
	d.end(EndLocal)
	return r, err
}

// bye reports whether this was the end of the dialog.
func (d *Dialog) bye(how End) bool {
	if !d.end(how) {
		return false
	}
	d.ep.spawn(func() {
		ctx, cancel := context.WithTimeout(d.ep.ctx, d.ep.conf.give())
		defer cancel()
		_, _ = d.Request(ctx, "BYE", nil, nil)
	})
	return true
}

// Request sends a request in the dialog and waits for its final answer.
func (d *Dialog) Request(ctx context.Context, method string, headers []string, body []byte) (Reply, error) {
	c, err := d.connection(ctx)
	if err != nil {
		return Reply{}, err
	}
	d.mu.Lock()
	d.localSeq++
	req, err := d.request(c, method, d.localSeq, headers, body)
	d.mu.Unlock()
	if err != nil {
		return Reply{}, err
	}
	return d.ep.do(ctx, c, req, d.call)
}

// request builds a request in the dialog (RFC 3261 §12.2.1.1). A first route
// without lr is a strict router: the request is addressed to it, and the
// remote target is the last route.
func (d *Dialog) request(c *conn, method string, seq uint32, headers []string, body []byte) (*sipgo.Request, error) {
	target, routes := d.target, d.routes
	if len(routes) > 0 && !looseRouter(routes[0]) {
		routes = append(slices.Clone(routes[1:]), "<"+target+">")
		target = addrSpec(d.routes[0])
	}
	var uri URI
	if err := sipgo.ParseUri(target, &uri); err != nil {
		return nil, fmt.Errorf("sip: the peer's Contact %q is no URI: %w", target, err)
	}
	return d.ep.buildRequest(c, requestParts{
		method: method, uri: uri, from: d.local, to: d.remote, callID: d.callID, seq: seq,
		routes: routes, headers: headers, body: body,
	}), nil
}

// looseRouter reports whether the URI of a route has the parameter lr.
func looseRouter(route string) bool {
	for param := range strings.SplitSeq(addrSpec(route), ";") {
		if name, _, _ := strings.Cut(param, "="); strings.EqualFold(strings.TrimSpace(name), "lr") {
			return true
		}
	}
	return false
}

// connection is the dialog's stream, or a new one to the first route or the
// remote target if the peer has closed it.
func (d *Dialog) connection(ctx context.Context) (*conn, error) {
	d.mu.Lock()
	c, next := d.conn, d.target
	d.mu.Unlock()
	if c.ok() {
		return c, nil
	}
	if len(d.routes) > 0 {
		next = addrSpec(d.routes[0])
	}
	to, err := URIAddr(next)
	if err != nil {
		return nil, err
	}
	c, err = d.ep.dial(ctx, to)
	if err == nil {
		d.mu.Lock()
		d.conn = c
		d.mu.Unlock()
	}
	return c, err
}

// URIAddr is where a URI points if its host is an address; its port may be
// left out.
func URIAddr(text string) (netip.AddrPort, error) {
	host, port, err := URITarget(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("sip: host %q of %q is not an address", host, text)
	}
	return netip.AddrPortFrom(ip.Unmap(), port), nil
}

// URITarget is the host of a URI and its port, which may be left out.
func URITarget(text string) (host string, port uint16, err error) {
	var uri URI
	if err := sipgo.ParseUri(text, &uri); err != nil {
		return "", 0, fmt.Errorf("sip: %q is no URI: %w", text, err)
	}
	port = uint16(uri.Port)
	if port == 0 { // RFC 3263 §4.2
		port = 5060
		if t, _ := uri.UriParams.Get("transport"); strings.EqualFold(t, "tls") || strings.EqualFold(uri.Scheme, "sips") {
			port = 5061
		}
	}
	return strings.Trim(uri.Host, "[]"), port, nil
}
