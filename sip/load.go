package sip

import (
	"net/netip"
	"strconv"
)

// peerLoad is what one peer occupies of an endpoint: a flood from one address
// must not take the service from another. It is under the endpoint's lock, and
// kept for as long as there is any of it.
type peerLoad struct {
	addr    netip.Addr
	conns   int // accepted connections
	dialled int
	pending int // INVITEs that are not answered or not acknowledged
}

// enter counts a connection of a peer in; false if the peer has its share.
// Those that we open ourselves are not limited. e.mu is held.
func (e *Endpoint) enter(c *conn, accepted bool) bool {
	addr := c.peer.Addr()
	load := e.peers[addr]
	if load == nil {
		load = &peerLoad{addr: addr}
		e.peers[addr] = load
	}
	switch {
	case !accepted:
		load.dialled++
	case load.conns >= e.conf.MaxConns:
		return false
	default:
		load.conns++
	}
	c.load, c.accepted = load, accepted
	return true
}

// leave counts it out; e.mu is held.
func (e *Endpoint) leave(c *conn) {
	switch {
	case c.load == nil:
		return
	case c.accepted:
		c.load.conns--
	default:
		c.load.dialled--
	}
	e.forgetLoad(c.load)
}

// release ends the wait for an answer or an ACK; e.mu is held.
func (e *Endpoint) release(l *peerLoad) {
	l.pending--
	e.forgetLoad(l)
}

func (e *Endpoint) forgetLoad(l *peerLoad) {
	if l.conns+l.dialled+l.pending == 0 {
		delete(e.peers, l.addr)
	}
}

// overloaded is the answer to an INVITE of a peer that leaves too many others
// without an ACK (RFC 3261 §21.5.4). It is not kept.
func (e *Endpoint) overloaded(c *conn, h *head) (Response, bool) {
	if !h.is("INVITE") {
		return Response{}, false
	}
	e.mu.Lock()
	pending := c.load.pending
	e.mu.Unlock()
	if pending < e.conf.MaxPending {
		return Response{}, false
	}
	wait := strconv.Itoa(int(e.conf.give().Seconds()))
	return Response{Status: 503, Reason: "Service Unavailable", Headers: []string{"Retry-After: " + wait}}, true
}

// crowded is a connection that a peer has too many of.
func crowded(peer netip.AddrPort, limit int) plain {
	return plain{"sip.refused", [4]string{"peer", peer.String(), "why", "this address has " + strconv.Itoa(limit) + " connections already"}}
}
