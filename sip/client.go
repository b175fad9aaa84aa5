package sip

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

// Reply is a response to a request of ours.
type Reply struct {
	Status  int
	Reason  string
	Contact string // URI of the first Contact, "" if none
	Body    []byte
	Message *sipgo.Response
}

// clientTx is the client side of one transaction on a reliable transport
// (RFC 3261 §17.1): nothing is retransmitted.
type clientTx struct {
	ep      *Endpoint
	conn    *conn
	branch  string
	req     *sipgo.Request
	session trace.Session
	timer   entry
	lost    func() // what the timer does

	mu      sync.Mutex
	replies chan Reply // provisional ones and the final one; closed behind it
	err     error
	over    bool
	cancels bool // a CANCEL is sent: the timer stays
	given   bool // nobody waits any more: what comes is declined
}

// do sends a request and waits for the final answer. provisional, if not nil,
// sees the answers before it.
func (e *Endpoint) do(ctx context.Context, c *conn, req *sipgo.Request, session trace.Session, provisional func(Reply)) (Reply, error) {
	tx, err := e.start(c, req, session)
	if err != nil {
		return Reply{}, err
	}
	early := false
	for {
		select {
		case r, open := <-tx.replies:
			if !open {
				return Reply{}, tx.err
			}
			if r.Status >= 200 {
				return r, nil
			}
			early = string(req.Method) == "INVITE"
			if provisional != nil {
				provisional(r)
			}
		case <-ctx.Done():
			if string(req.Method) != "INVITE" {
				tx.fail(ctx.Err())
				return Reply{}, ctx.Err()
			}
			if !early {
				// An INVITE must not be cancelled before a provisional
				// answer (RFC 3261 §9.1): what still comes is declined.
				tx.giveUp()
				return Reply{}, ctx.Err()
			}
			e.cancel(tx)
			ctx = context.WithoutCancel(ctx) // the 487 ends it, or the timer
		}
	}
}

// start sends a request and registers its transaction.
func (e *Endpoint) start(c *conn, req *sipgo.Request, session trace.Session) (*clientTx, error) {
	branch, _ := req.Via().Params.Get("branch")
	tx := &clientTx{ep: e, conn: c, branch: branch, req: req, session: session, replies: make(chan Reply, 16)}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	e.clients.put(branch, tx)
	e.mu.Unlock()
	tx.lost = func() {
		e.conf.Trace.Record(session, trace.Session{}, timedOut(c.name, "answer to "+string(req.Method)), nil)
		tx.fail(fmt.Errorf("sip: %s did not answer %s within %s", c.name, req.Method, e.conf.give()))
	}
	tx.mu.Lock()
	if !tx.over {
		e.wheel.start(&tx.timer, e.conf.give(), tx.lost)
	}
	tx.mu.Unlock()
	c.send(session, []byte(req.String()))
	if !c.ok() {
		tx.fail(fmt.Errorf("sip: connection to %s is broken", c.name))
	}
	return tx, nil
}

// finish ends the transaction; behind it no reply is delivered.
func (tx *clientTx) finish(err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.over {
		return
	}
	tx.over = true
	tx.err = err
	close(tx.replies)
	tx.ep.wheel.stop(&tx.timer)
	tx.ep.mu.Lock()
	tx.ep.clients.remove(tx.branch)
	tx.ep.mu.Unlock()
}

func (tx *clientTx) fail(err error) { tx.finish(err) }

// giveUp leaves the transaction to itself.
func (tx *clientTx) giveUp() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.given = true
}

// givenUp reports whether nobody waits, and whether the timer must stay.
func (tx *clientTx) givenUp() (given, cancels bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.given, tx.cancels
}

// deliver hands on a reply. A provisional one is dropped if nobody reads.
func (tx *clientTx) deliver(r Reply) {
	tx.mu.Lock()
	if !tx.over && (r.Status >= 200 || len(tx.replies) < cap(tx.replies)-1) {
		tx.replies <- r
	}
	tx.mu.Unlock()
	if r.Status >= 200 {
		tx.finish(nil)
	}
}

// receiveResponse matches a response to its request by branch and method
// (RFC 3261 §17.1.3); what matches none is dropped.
func (e *Endpoint) receiveResponse(c *conn, h *head) {
	e.mu.Lock()
	tx := e.clients.get(string(h.branch.of(h.raw)))
	e.mu.Unlock()
	var session trace.Session
	if tx != nil {
		session = tx.session
	} else {
		session = e.conf.Calls.find(h.callID.of(h.raw), h.fromTag.of(h.raw), false)
	}
	e.conf.Trace.Record(session, trace.Session{}, received{c}, h.shown())
	if h.problem.status != 0 {
		e.conf.Trace.Record(session, trace.Session{}, malformed(c.name, h.problem.reason), nil)
		return
	}
	if tx == nil || string(tx.req.Method) != string(h.seqM.of(h.raw)) {
		if !e.repeatACK(h) {
			e.declineFork(h)
		}
		return
	}
	msg, err := e.parser.ParseSIP(h.raw)
	resp, ok := msg.(*sipgo.Response)
	if err != nil || !ok {
		e.conf.Trace.Record(session, trace.Session{}, malformed(c.name, "Bad Response"), nil)
		return
	}
	reply := Reply{Status: h.status, Reason: resp.Reason, Contact: addrSpec(string(h.contact.of(h.raw))), Body: resp.Body(), Message: resp}
	invite := string(tx.req.Method) == "INVITE"
	if invite && h.status >= 300 {
		c.send(tx.session, e.ackOf(tx.req, resp))
	}
	given, cancels := tx.givenUp()
	switch {
	case invite && h.status < 200 && given:
		e.cancel(tx)
	case invite && h.status < 200 && !cancels:
		e.wheel.stop(&tx.timer) // from here on the caller decides how long to wait
	case invite && h.status/100 == 2 && given:
		e.decline(tx, reply)
	}
	if invite && h.status/100 == 2 {
		e.forks.put(e.forkKey(h), fork{tx, string(h.toTag.of(h.raw))})
	}
	tx.deliver(reply)
}

// fork is an INVITE of ours that was answered 2xx, and by whom.
type fork struct {
	tx    *clientTx
	toTag string
}

func (e *Endpoint) forkKey(h *head) uint64 { return hash(e.seed, h.branch.of(h.raw), nil, nil, nil) }

// declineFork ends the dialog of another 2xx to the same INVITE, from another
// device that a proxy has rung (RFC 3261 §13.2.2.4).
func (e *Endpoint) declineFork(h *head) {
	f, ok := e.forks.get(e.forkKey(h), false)
	if !ok || h.status/100 != 2 || f.toTag == string(h.toTag.of(h.raw)) || string(h.seqM.of(h.raw)) != "INVITE" {
		return
	}
	if msg, err := e.parser.ParseSIP(h.raw); err == nil {
		if resp, ok := msg.(*sipgo.Response); ok {
			e.decline(f.tx, Reply{Status: h.status, Contact: addrSpec(string(h.contact.of(h.raw))), Message: resp})
		}
	}
}

// decline ends a call that was answered when nobody waited any more
// (RFC 3261 §13.2.2.4).
func (e *Endpoint) decline(tx *clientTx, r Reply) {
	value := func(name string) string { return tx.req.GetHeader(name).Value() }
	n, _, _ := strings.Cut(value("CSeq"), " ")
	seq, _ := strconv.ParseUint(n, 10, 32)
	parts := requestParts{from: value("From"), callID: value("Call-ID"), seq: uint32(seq)}
	h := head{raw: []byte(parts.from)}
	tag := h.tag(span{0, int32(len(parts.from))})
	inv := &Invite{FromTag: string(tag.of(h.raw)), Handler: nobody{}}
	if d, err := e.newClientDialog(tx.conn, parts, r, tx.session, inv); err == nil {
		d.Bye()
	}
}

// nobody handles a dialog that is hung up at once.
type nobody struct{}

func (nobody) Acknowledged([]byte) {}
func (nobody) Request(tx *ServerTx) {
	tx.Respond(Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
}
func (nobody) Ended(End) {}

// repeatACK acknowledges a 2xx once more (RFC 3261 §13.2.2.4); false if it is
// of no dialog.
func (e *Endpoint) repeatACK(h *head) bool {
	if h.status/100 != 2 || string(h.seqM.of(h.raw)) != "INVITE" {
		return false
	}
	key := e.dialogKey(h.callID.of(h.raw), h.fromTag.of(h.raw), h.toTag.of(h.raw))
	e.mu.Lock()
	d := e.dialogs.get(key)
	e.mu.Unlock()
	if d == nil {
		return false
	}
	d.mu.Lock()
	ack, c := d.ack, d.conn
	d.mu.Unlock()
	if len(ack) > 0 {
		c.send(d.call, ack)
	}
	return true
}

// ackOf is the ACK of an answer other than 2xx: the INVITE's branch, the
// answer's To (RFC 3261 §17.1.1.3).
func (e *Endpoint) ackOf(invite *sipgo.Request, resp *sipgo.Response) []byte {
	ack := sipgo.NewRequest("ACK", *invite.Recipient.Clone())
	ack.AppendHeader(sipgo.HeaderClone(invite.Via()))
	for _, r := range invite.GetHeaders("Route") {
		ack.AppendHeader(sipgo.HeaderClone(r))
	}
	ack.AppendHeader(sipgo.NewHeader("From", invite.GetHeader("From").Value()))
	ack.AppendHeader(sipgo.NewHeader("To", resp.GetHeader("To").Value()))
	ack.AppendHeader(sipgo.NewHeader("Call-ID", invite.GetHeader("Call-ID").Value()))
	n, _, _ := strings.Cut(invite.GetHeader("CSeq").Value(), " ")
	ack.AppendHeader(sipgo.NewHeader("CSeq", n+" ACK"))
	ack.AppendHeader(sipgo.NewHeader("Max-Forwards", "70"))
	ack.AppendHeader(sipgo.NewHeader("Content-Length", "0"))
	return []byte(ack.String())
}

// cancel asks to end an INVITE that has no final answer; the timer bounds the
// wait for it.
func (e *Endpoint) cancel(tx *clientTx) {
	tx.mu.Lock()
	send := !tx.over && !tx.cancels
	tx.cancels = true
	if send {
		e.wheel.start(&tx.timer, e.conf.give(), tx.lost)
	}
	tx.mu.Unlock()
	if !send {
		return
	}
	req := sipgo.NewRequest("CANCEL", *tx.req.Recipient.Clone())
	req.AppendHeader(sipgo.HeaderClone(tx.req.Via()))
	for _, name := range []string{"From", "To", "Call-ID"} {
		req.AppendHeader(sipgo.NewHeader(name, tx.req.GetHeader(name).Value()))
	}
	n, _, _ := strings.Cut(tx.req.GetHeader("CSeq").Value(), " ")
	req.AppendHeader(sipgo.NewHeader("CSeq", n+" CANCEL"))
	req.AppendHeader(sipgo.NewHeader("Max-Forwards", "70"))
	req.AppendHeader(sipgo.NewHeader("Content-Length", "0"))
	tx.conn.send(tx.session, []byte(req.String()))
}

// requestParts is what a request of ours is built from.
type requestParts struct {
	method   string
	uri      URI
	from, to string
	callID   string
	seq      uint32
	contact  string
	routes   []string
	headers  []string
	body     []byte
}

func (e *Endpoint) buildRequest(c *conn, p requestParts) *sipgo.Request {
	req := sipgo.NewRequest(sipgo.RequestMethod(p.method), p.uri)
	via := &sipgo.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: e.conf.Transport, Params: sipgo.NewParams()}
	via.Host, via.Port = HostOf(c.local.Addr()), int(c.local.Port())
	if host, port, ok := strings.Cut(e.conf.Host, ":"); ok {
		via.Host = host
		via.Port, _ = strconv.Atoi(port)
	}
	via.Params.Add("branch", magicCookie+e.token()+e.token())
	req.AppendHeader(via)
	for _, r := range p.routes {
		req.AppendHeader(sipgo.NewHeader("Route", r))
	}
	for _, hd := range [...][2]string{
		{"From", p.from}, {"To", p.to}, {"Call-ID", p.callID},
		{"CSeq", strconv.FormatUint(uint64(p.seq), 10) + " " + p.method}, {"Max-Forwards", "70"}, {"Contact", p.contact},
	} {
		if hd[1] != "" {
			req.AppendHeader(sipgo.NewHeader(hd[0], hd[1]))
		}
	}
	for _, line := range p.headers {
		name, value, _ := strings.Cut(line, ":")
		req.AppendHeader(sipgo.NewHeader(name, strings.TrimSpace(value)))
	}
	if len(p.body) > 0 {
		req.AppendHeader(sipgo.NewHeader("Content-Type", "application/sdp"))
		req.SetBody(p.body) // sets Content-Length
	} else {
		req.AppendHeader(sipgo.NewHeader("Content-Length", "0"))
	}
	return req
}

// Invite is a call to place.
type Invite struct {
	To      netip.AddrPort // where to send it
	URI     string         // Request-URI
	From    string         // name-addr without a tag
	ToURI   string         // name-addr of To
	Contact string         // name-addr at which we can be reached
	Headers []string       // further header lines, such as Diversion
	Body    []byte         // the offer

	// CallID and FromTag continue a redirected call; empty ones are made up
	// and set. CSeq counts the INVITEs of the call.
	CallID, FromTag string
	CSeq            uint32

	Handler     DialogHandler
	Provisional func(Reply)
	// Answer, if set, makes the body of the ACK from that of the 2xx: the
	// answer to an offer that came there (RFC 3261 §13.2.1).
	Answer func(offer []byte) []byte
}

// Answer is how a call was answered. Dialog is nil unless it was a 2xx.
type Answer struct {
	Reply
	Dialog *Dialog
}

// Invite places a call and waits for the final answer, which is acknowledged.
// Redirects are not followed. When ctx ends first, the call is cancelled.
func (e *Endpoint) Invite(ctx context.Context, inv *Invite) (Answer, error) {
	if inv.CallID == "" {
		inv.CallID, inv.FromTag = e.token()+e.token(), e.token()
	}
	inv.CSeq++
	var uri URI
	if err := sipgo.ParseUri(inv.URI, &uri); err != nil {
		return Answer{}, fmt.Errorf("sip: %q is no URI: %w", inv.URI, err)
	}
	session := e.conf.Calls.find([]byte(inv.CallID), []byte(inv.FromTag), true)
	dialCtx, cancel := context.WithTimeout(ctx, e.conf.give())
	defer cancel()
	c, err := e.dial(dialCtx, inv.To)
	if err != nil {
		return Answer{}, err
	}
	parts := requestParts{
		method: "INVITE", uri: uri, from: inv.From + ";tag=" + inv.FromTag, to: inv.ToURI, callID: inv.CallID,
		seq: inv.CSeq, contact: inv.Contact, headers: inv.Headers, body: inv.Body,
	}
	req := e.buildRequest(c, parts)
	r, err := e.do(ctx, c, req, session, inv.Provisional)
	if err != nil || r.Status/100 != 2 {
		return Answer{Reply: r}, err
	}
	d, err := e.newClientDialog(c, parts, r, session, inv)
	if err != nil {
		return Answer{Reply: r}, err
	}
	return Answer{Reply: r, Dialog: d}, nil
}

// newClientDialog opens the dialog of a 2xx and acknowledges it.
func (e *Endpoint) newClientDialog(c *conn, p requestParts, r Reply, session trace.Session, inv *Invite) (*Dialog, error) {
	to := r.Message.GetHeader("To").Value()
	var h head
	h.raw = []byte(to)
	remoteTag := h.tag(span{0, int32(len(to))})
	d := &Dialog{
		ep: e, handler: inv.Handler, call: session, conn: c,
		key:    e.dialogKey([]byte(p.callID), []byte(inv.FromTag), remoteTag.of(h.raw)),
		callID: p.callID, local: p.from, remote: to, target: r.Contact, localSeq: p.seq,
	}
	rr := r.Message.GetHeaders("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		d.routes = append(d.routes, splitList(rr[i].Value())...)
	}
	var answer []byte
	if inv.Answer != nil {
		answer = inv.Answer(r.Body)
	}
	ack, err := d.request(c, "ACK", p.seq, nil, answer)
	if err != nil {
		return nil, err
	}
	d.ack = []byte(ack.String())
	e.register(d)
	c.send(session, d.ack)
	return d, nil
}

// Options sends an OPTIONS outside a dialog and returns the answer.
func (e *Endpoint) Options(ctx context.Context, to netip.AddrPort, uri, from string) (Reply, error) {
	var u URI
	if err := sipgo.ParseUri(uri, &u); err != nil {
		return Reply{}, fmt.Errorf("sip: %q is no URI: %w", uri, err)
	}
	c, err := e.dial(ctx, to)
	if err != nil {
		return Reply{}, err
	}
	req := e.buildRequest(c, requestParts{
		method: "OPTIONS", uri: u, from: from + ";tag=" + e.token(), to: "<" + uri + ">", callID: e.token() + e.token(), seq: 1,
		headers: []string{"Accept: application/sdp"},
	})
	return e.do(ctx, c, req, trace.Session{}, nil)
}

// Timeout is 64*T1, the longest that a request waits for its answer.
func (e *Endpoint) Timeout() time.Duration { return e.conf.give() }
