package sip

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// reliable is a provisional answer that waits for its PRACK (RFC 3262 §3).
type reliable struct {
	key      uint64 // of the early dialog
	rseq     uint32
	interval time.Duration // between retransmissions
	waited   time.Duration
	done     func(acknowledged bool)
}

// RespondReliably sends a provisional answer other than 100 that the caller
// has to acknowledge, on a transaction that was deferred. It is repeated until
// then; done is told once whether the PRACK came within 64*T1. A final answer
// ends the wait without a word.
func (tx *ServerTx) RespondReliably(r Response, done func(acknowledged bool)) {
	e := tx.ep
	tx.mu.Lock()
	defer tx.mu.Unlock()
	rel := &reliable{rseq: uint32(e.conf.Rand()>>34) + 1, interval: e.conf.T1, done: done}
	r.Headers = append(slices.Clone(r.Headers), "Require: 100rel", "RSeq: "+strconv.FormatUint(uint64(rel.rseq), 10))
	if tx.final != 0 || !tx.respond(r) {
		return
	}
	h := tx.h
	rel.key = e.dialogKey(h.callID.of(h.raw), []byte(tagValue(tx.tag)), h.fromTag.of(h.raw))
	tx.reliable = rel
	e.mu.Lock()
	e.reliables.put(rel.key, tx)
	e.mu.Unlock()
	e.wheel.start(&tx.timer, rel.interval, func() { tx.repeatReliable(rel) })
}

func (tx *ServerTx) repeatReliable(rel *reliable) {
	tx.mu.Lock()
	if tx.reliable != rel {
		tx.mu.Unlock()
		return
	}
	if rel.waited += rel.interval; rel.waited >= tx.ep.conf.give() {
		tx.settle()
		tx.mu.Unlock()
		tx.ep.conf.Trace.Record(tx.session, trace.Session{}, timedOut(tx.conn.name, "PRACK"), nil)
		rel.done(false)
		return
	}
	rel.interval = min(2*rel.interval, tx.ep.conf.give()-rel.waited)
	tx.ep.wheel.start(&tx.timer, rel.interval, func() { tx.repeatReliable(rel) })
	last := slices.Clone(tx.last)
	tx.mu.Unlock()
	tx.conn.send(tx.session, last)
}

// settle ends the wait for a PRACK; tx.mu is held.
func (tx *ServerTx) settle() {
	if tx.reliable == nil {
		return
	}
	tx.ep.wheel.stop(&tx.timer)
	tx.ep.mu.Lock()
	tx.ep.reliables.remove(tx.reliable.key)
	tx.ep.mu.Unlock()
	tx.reliable = nil
}

// receivePRACK acknowledges a provisional answer; false if the PRACK names none.
func (e *Endpoint) receivePRACK(prack *ServerTx) bool {
	h := prack.h
	key := e.dialogKey(h.callID.of(h.raw), h.toTag.of(h.raw), h.fromTag.of(h.raw))
	e.mu.Lock()
	tx := e.reliables.get(key)
	e.mu.Unlock()
	if tx == nil {
		return false
	}
	tx.mu.Lock()
	rel := tx.reliable
	f := strings.Fields(h.value("RAck"))
	named := rel != nil && len(f) == 3 && f[0] == strconv.FormatUint(uint64(rel.rseq), 10) &&
		f[1] == strconv.FormatUint(uint64(tx.h.seq), 10) && f[2] == "INVITE"
	if named {
		tx.settle()
	}
	tx.mu.Unlock()
	if named {
		prack.Respond(Response{Status: 200, Reason: "OK"})
		rel.done(true)
	}
	return named
}

// tagValue is the tag in what a response adds to To.
func tagValue(params string) string { return params[strings.LastIndexByte(params, '=')+1:] }
