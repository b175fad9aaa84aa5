package sip

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

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
	// Raw, if set, makes the octets that leave from those of the INVITE: for a
	// caller that tries what nobody should send.
	Raw func(message []byte) []byte
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
	tx, err := e.start(c, req, session, inv.Raw)
	if err != nil {
		return Answer{}, err
	}
	r, err := tx.wait(ctx, inv.Provisional)
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

// Request is a request outside a dialog, other than INVITE.
type Request struct {
	To      netip.AddrPort // where to send it
	Method  string
	URI     string // Request-URI
	From    string // name-addr without a tag
	ToURI   string // name-addr of To; "" for the Request-URI
	Contact string // "" for none
	Headers []string
	Body    []byte // a session description, unless Headers have a Content-Type
	// Names gives the request a session of its own, to find it by.
	Names bool
}

// Send sends a request outside a dialog and returns the answer, and the name of
// its session.
func (e *Endpoint) Send(ctx context.Context, r Request) (Reply, trace.Session, error) {
	var u URI
	var session trace.Session
	if err := sipgo.ParseUri(r.URI, &u); err != nil {
		return Reply{}, session, fmt.Errorf("sip: %q is no URI: %w", r.URI, err)
	}
	c, err := e.dial(ctx, r.To)
	if err != nil {
		return Reply{}, session, err
	}
	callID, tag := e.token()+e.token(), e.token()
	if r.Names {
		session = e.conf.Calls.begin(callID, tag)
	}
	req := e.buildRequest(c, requestParts{
		method: r.Method, uri: u, from: r.From + e.epid() + ";tag=" + tag, to: cmp.Or(r.ToURI, "<"+r.URI+">"), callID: callID, seq: 1,
		contact: r.Contact, headers: r.Headers, body: r.Body,
	})
	reply, err := e.do(ctx, c, req, session)
	return reply, session, err
}

// Options sends an OPTIONS outside a dialog and returns the answer.
func (e *Endpoint) Options(ctx context.Context, to netip.AddrPort, uri, from string) (Reply, error) {
	r, _, err := e.Send(ctx, Request{To: to, Method: "OPTIONS", URI: uri, From: from, Headers: []string{"Accept: application/sdp"}})
	return r, err
}
