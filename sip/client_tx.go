package sip

import (
	"context"
	"fmt"
	"strings"
	"sync"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/exsim/exsim/sim/trace"
)

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
	early   bool // an INVITE has a provisional answer
	given   bool // nobody waits any more: what comes is declined
}

// do sends a request and waits for the final answer.
func (e *Endpoint) do(ctx context.Context, c *conn, req *sipgo.Request, session trace.Session) (Reply, error) {
	tx, err := e.start(c, req, session, nil)
	if err != nil {
		return Reply{}, err
	}
	return tx.wait(ctx, nil)
}

// wait waits for the final answer. provisional, if not nil, sees the answers
// before it.
func (tx *clientTx) wait(ctx context.Context, provisional func(Reply)) (Reply, error) {
	for {
		select {
		case r, open := <-tx.replies:
			if !open {
				return Reply{}, tx.err
			}
			if r.Status >= 200 {
				return r, nil
			}
			if provisional != nil {
				provisional(r)
			}
		case <-ctx.Done():
			if string(tx.req.Method) != "INVITE" {
				tx.fail(ctx.Err())
				return Reply{}, ctx.Err()
			}
			given, cancel := tx.giveUp()
			if given {
				return Reply{}, ctx.Err()
			}
			if cancel {
				tx.ep.cancel(tx)
			}
			ctx = context.WithoutCancel(ctx) // the final answer ends it, which may be there, or the timer
		}
	}
}

// start sends a request, or what raw makes of it, and registers its
// transaction.
func (e *Endpoint) start(c *conn, req *sipgo.Request, session trace.Session, raw func([]byte) []byte) (*clientTx, error) {
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
	message := []byte(req.String())
	if raw != nil {
		message = raw(message)
	}
	c.send(session, message)
	if !c.ok() {
		tx.fail(fmt.Errorf("sip: connection to %s is broken", c.name))
	}
	return tx, nil
}

// fail ends the transaction; behind it no reply is delivered.
func (tx *clientTx) fail(err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.finish(err)
}

// finish is fail with tx.mu held.
func (tx *clientTx) finish(err error) {
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

// giveUp leaves an INVITE without any answer to itself: it must not be cancelled
// before a provisional one (RFC 3261 §9.1), and what still comes is declined.
// One with a provisional answer is to be cancelled; one with its final answer
// has come to its end.
func (tx *clientTx) giveUp() (given, cancel bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.given = !tx.over && !tx.early
	return tx.given, !tx.over && tx.early
}

// deliver hands on a reply and reports whether nobody waits for it any more. A
// provisional one is dropped if nobody reads; behind the first to an INVITE the
// caller decides how long to wait.
func (tx *clientTx) deliver(r Reply) (given bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if !tx.over && (r.Status >= 200 || len(tx.replies) < cap(tx.replies)-1) {
		tx.replies <- r
	}
	switch {
	case r.Status >= 200:
		tx.finish(nil)
	case string(tx.req.Method) == "INVITE" && !tx.given && !tx.cancels && !tx.over:
		tx.early = true
		tx.ep.wheel.stop(&tx.timer)
	}
	return tx.given
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
	if invite && h.status/100 == 2 {
		e.forks.put(e.forkKey(h), fork{tx, string(h.toTag.of(h.raw))})
	}
	if given := tx.deliver(reply); given && invite {
		switch {
		case h.status < 200:
			e.cancel(tx)
		case h.status < 300:
			e.decline(tx, reply)
		}
	}
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
