package sip

import (
	"context"
	"strconv"
)

// Reinvite sends an INVITE in the dialog, with our Contact and an offer, and
// acknowledges its 2xx. Where the peer's own INVITE crosses it the answer is
// 491 (RFC 3261 §14.1).
func (d *Dialog) Reinvite(ctx context.Context, contact string, headers []string, offer []byte) (Reply, error) {
	c, err := d.connection(ctx)
	if err != nil {
		return Reply{}, err
	}
	d.mu.Lock()
	d.localSeq++
	seq := d.localSeq
	d.inviting = true
	req, err := d.request(c, "INVITE", seq, append(headers[:len(headers):len(headers)], "Contact: "+contact), offer)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.inviting = false
		d.mu.Unlock()
	}()
	if err != nil {
		return Reply{}, err
	}
	r, err := d.ep.do(ctx, c, req, d.call)
	if err != nil || r.Status/100 != 2 {
		return r, err
	}
	d.retarget(r.Contact)
	d.mu.Lock()
	ack, err := d.request(c, "ACK", seq, nil, nil)
	var raw []byte
	if err == nil {
		raw = []byte(ack.String())
		d.ack = raw
	}
	d.mu.Unlock()
	if err == nil {
		c.send(d.call, raw)
	}
	return r, err
}

// glare is the answer to an offer that crosses ours, or comes before the
// peer's last one is answered (RFC 3261 §14.2, RFC 3311 §5.2); its status is 0
// if there is nothing of this. d.mu is held.
func (d *Dialog) glare(tx *ServerTx) Response {
	offers := tx.h.is("INVITE") || tx.h.is("UPDATE") && len(tx.Body()) > 0
	if !offers {
		return Response{}
	}
	if d.inviting {
		return Response{Status: 491, Reason: "Request Pending"}
	}
	if last := d.offered; last != nil && !last.answered.Load() {
		wait := strconv.FormatUint(d.ep.conf.Rand()%11, 10) // 0 to 10 s, by chance
		return Response{Status: 500, Reason: "Server Internal Error", Headers: []string{"Retry-After: " + wait}}
	}
	d.offered = tx
	return Response{}
}
