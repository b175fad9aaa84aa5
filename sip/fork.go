package sip

import (
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

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
