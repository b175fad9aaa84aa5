package sip

import (
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/exsim/exsim/sim/trace"
)

// ServerTx is the server side of one transaction (RFC 3261 §17.2). Its
// methods may be called from any goroutine once Defer was called; before that
// only from the handler.
//
//	             Respond 1xx          Respond 3xx-6xx          ACK
//	INVITE: ───────────────▶ pending ─────────────────▶ acked ────▶ gone
//	                            │ Accept 2xx                ▲ 64*T1 without ACK: gone
//	                            ▼
//	                     a Dialog waits for the ACK; the key is remembered 64*T1
//
// On a reliable transport a request other than INVITE is gone once answered.
type ServerTx struct {
	ep      *Endpoint
	conn    *conn
	key     uint64
	merge   uint64 // mergeKey
	session trace.Session
	uri     URI
	h       *head // the reader's while the handler runs, our own once deferred
	tag     string
	timer   entry
	dialog  *Dialog // of a 2xx to INVITE

	mu       sync.Mutex
	deferred bool
	final    int // status of the final answer, 0 before it
	answered atomic.Bool
	last     []byte // last answer, for retransmissions
	onCancel func()
	reliable *reliable // provisional answer that waits for its PRACK
}

func (e *Endpoint) newTx(c *conn, h *head, key uint64, session trace.Session) *ServerTx {
	return &ServerTx{ep: e, conn: c, key: key, merge: h.merge, session: session, h: h}
}

// Recipient is the Request-URI.
func (tx *ServerTx) Recipient() *URI { return &tx.uri }

// Header lists the values of a header in the order of the message, under its
// long name. It knows every header but those that belong to the transaction or
// that have methods here: Via, From, To, Call-ID, CSeq, Contact, Record-Route,
// Max-Forwards and Content-Length. It is good for as long as Body.
func (tx *ServerTx) Header(name string) []string { return tx.h.values(name) }

// Method is the request's method.
func (tx *ServerTx) Method() string { return string(tx.h.method.of(tx.h.raw)) }

// Body is the request's body. It is valid until the handler returns, or for
// good after Defer.
func (tx *ServerTx) Body() []byte { return tx.h.raw[tx.h.bodyOff:] }

// From is the value of the request's From.
func (tx *ServerTx) From() string { return string(tx.h.from.of(tx.h.raw)) }

// To is the value of the request's To.
func (tx *ServerTx) To() string { return string(tx.h.to.of(tx.h.raw)) }

// CallID is the request's Call-ID.
func (tx *ServerTx) CallID() string { return string(tx.h.callID.of(tx.h.raw)) }

// RequestURI is the Request-URI as the caller wrote it.
func (tx *ServerTx) RequestURI() string { return string(tx.h.uri.of(tx.h.raw)) }

// Session names the call.
func (tx *ServerTx) Session() trace.Session { return tx.session }

// Peer is the other side of the connection.
func (tx *ServerTx) Peer() netip.AddrPort { return tx.conn.peer }

// Secure reports whether the request came over TLS.
func (tx *ServerTx) Secure() bool { return tx.ep.conf.Transport == "TLS" }

// Identity is whose certificate the peer has shown, as the listener behind the
// endpoint says by a method Identity of its connections; "" without one.
func (tx *ServerTx) Identity() string {
	if c, ok := tx.conn.nc.(interface{ Identity() string }); ok {
		return c.Identity()
	}
	return ""
}

// Answered reports whether the request has its final answer.
func (tx *ServerTx) Answered() bool { return tx.answered.Load() }

// Defer keeps the transaction open behind the handler's return, to be
// answered later.
func (tx *ServerTx) Defer() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.deferred {
		return
	}
	tx.deferred = true
	own := *tx.h
	own.raw = slices.Clone(own.raw)
	own.vias = slices.Clone(own.vias)
	own.routes = slices.Clone(own.routes)
	own.others = slices.Clone(own.others)
	tx.h = &own
	tx.remember()
}

// OnCancel sets what to do when the caller cancels an INVITE that has no
// final answer, or the endpoint is closed; the answer is sent before.
func (tx *ServerTx) OnCancel(f func()) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.onCancel = f
}

// Respond sends a provisional answer or a final one other than 2xx to INVITE,
// which Accept sends. Behind a final answer it does nothing.
func (tx *ServerTx) Respond(r Response) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.respond(r)
}

func (tx *ServerTx) respond(r Response) bool {
	if tx.final != 0 {
		return false
	}
	if r.Status > 100 && tx.tag == "" && tx.h.toTag.n == 0 {
		tx.tag = tx.ep.toTag()
	}
	invite := tx.h.is("INVITE") && tx.key != 0
	keep := r.Status < 200 && tx.deferred || invite && r.Status >= 200
	if tx.last != nil {
		tx.last = tx.last[:0] // where nothing can be written, no older answer stands for this one
	}
	tx.conn.write(func(out []byte) []byte {
		begin := len(out)
		out = tx.print(out, r)
		tx.ep.conf.Trace.Record(tx.session, trace.Session{}, answered{tx.h, tx.conn.name, r.Status}, masked(out[begin:], r.Body))
		if keep {
			if tx.last == nil {
				tx.last = tx.ep.answers.take()
			}
			tx.last = append(tx.last[:0], out[begin:]...)
		}
		return out
	})
	if r.Status < 200 {
		return true
	}
	tx.final = r.Status
	tx.answered.Store(true)
	tx.settle()
	if tx.dialog != nil && r.Status/100 == 2 && (tx.h.is("INVITE") || tx.h.is("UPDATE")) {
		tx.dialog.retarget(addrSpec(string(tx.h.contact.of(tx.h.raw))))
	}
	switch {
	case invite && r.Status >= 300:
		tx.awaitACK()
	case invite && tx.dialog != nil:
		tx.forget()
		tx.ep.accepted.put(tx.key, struct{}{})
		if tx.merge != 0 {
			tx.ep.accepted.put(tx.merge, struct{}{})
		}
		tx.dialog.awaitACK(tx.last, tx.h.seq)
		tx.last = nil
	case tx.deferred:
		tx.forget()
	}
	return true
}

// awaitACK keeps the answer for retransmissions until it is acknowledged
// (timer H; timer I is zero on a reliable transport).
func (tx *ServerTx) awaitACK() {
	e := tx.ep
	tx.remember()
	e.wheel.start(&tx.timer, e.conf.give(), func() {
		tx.forget()
		e.conf.Trace.Record(tx.session, trace.Session{}, timedOut(tx.conn.name, "ACK of the answer "+strconv.Itoa(tx.final)), nil)
	})
}

// acknowledged ends the transaction; an ACK before the final answer is none.
func (tx *ServerTx) acknowledged() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.final == 0 {
		return
	}
	tx.forget()
	tx.ep.wheel.stop(&tx.timer)
	tx.ep.answers.give(tx.last)
	tx.last = nil
}

// sharedTag is the To tag of every answer to this INVITE and to its CANCEL
// (RFC 3261 §9.2).
func (tx *ServerTx) sharedTag() string {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	// Behind the final answer h may be the head of another message.
	if tx.final == 0 && tx.tag == "" && tx.h.toTag.n == 0 {
		tx.tag = tx.ep.toTag()
	}
	return tx.tag
}

// answers is memory for the answers that wait for an ACK.
type answers struct {
	mu   sync.Mutex
	free [][]byte
}

func (a *answers) take() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.free); n > 0 {
		b := a.free[n-1]
		a.free = a.free[:n-1]
		return b
	}
	return nil
}

func (a *answers) give(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) < 64 && b != nil {
		a.free = append(a.free, b[:0])
	}
}

func timedOut(peer, what string) plain {
	return plain{"sip.timeout", [4]string{"peer", peer, "why", what}}
}

func (tx *ServerTx) remember() {
	tx.ep.mu.Lock()
	defer tx.ep.mu.Unlock()
	if old := tx.ep.pending.get(tx.key); old != tx {
		if old != nil { // a copy by another connection: its count goes with it
			tx.ep.release(old.conn.load)
		}
		tx.conn.load.pending++
	}
	tx.ep.pending.put(tx.key, tx)
	if tx.merge != 0 {
		tx.ep.merging.put(tx.merge, struct{}{})
	}
}

func (tx *ServerTx) forget() {
	tx.ep.mu.Lock()
	defer tx.ep.mu.Unlock()
	if tx.ep.pending.get(tx.key) == tx {
		tx.ep.pending.remove(tx.key)
		tx.ep.release(tx.conn.load)
		if tx.merge != 0 {
			tx.ep.merging.remove(tx.merge)
		}
	}
}

// repeat answers a retransmission.
func (tx *ServerTx) repeat(c *conn) {
	tx.mu.Lock()
	last := slices.Clone(tx.last)
	tx.mu.Unlock()
	if len(last) > 0 {
		c.send(tx.session, last)
	}
}

// cancel is the CANCEL of this INVITE.
func (tx *ServerTx) cancel() {
	tx.mu.Lock()
	done := tx.respond(Response{Status: 487, Reason: "Request Terminated"})
	f := tx.onCancel
	tx.mu.Unlock()
	if done && f != nil {
		f()
	}
}

// abandon refuses an INVITE that was deferred and waits for its answer, as its
// service ends; its owner is told as of a CANCEL.
func (tx *ServerTx) abandon() {
	tx.mu.Lock()
	done := tx.deferred && tx.final == 0 && tx.respond(Response{Status: 503, Reason: "Service Unavailable"})
	f := tx.onCancel
	tx.mu.Unlock()
	if done && f != nil {
		f()
	}
}

// finish looks after a handler that returned without an answer.
func (tx *ServerTx) finish() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.final == 0 && !tx.deferred {
		tx.respond(Response{Status: 500, Reason: "Server Internal Error"})
	}
}

// Accept answers an INVITE with a 2xx and opens its dialog. It returns nil if
// the INVITE has a final answer already, as after a CANCEL.
func (tx *ServerTx) Accept(r Response, handler DialogHandler) *Dialog {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.tag == "" {
		tx.tag = tx.ep.toTag()
	}
	d := tx.ep.newServerDialog(tx, handler)
	if !tx.respond(r) {
		tx.ep.dropDialog(d)
		return nil
	}
	return d
}
