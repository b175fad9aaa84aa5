package sip

import (
	"net/netip"
	"strconv"
	"sync/atomic"
)

// peerLoad is what one peer occupies of an endpoint: a flood from one address
// must not take the service from another.
type peerLoad struct {
	conns   int          // under the endpoint's lock
	pending atomic.Int32 // INVITEs that are not answered or not acknowledged
}

// enter counts a connection of a peer in; false if the peer has its share.
// e.mu is held.
func (e *Endpoint) enter(c *conn) bool {
	addr := c.peer.Addr()
	load := e.peers[addr]
	if load == nil {
		load = &peerLoad{}
		e.peers[addr] = load
	}
	if load.conns >= e.conf.MaxConns {
		return false
	}
	load.conns++
	c.load = load
	return true
}

// leave counts it out; e.mu is held.
func (e *Endpoint) leave(c *conn) {
	if c.load == nil {
		return
	}
	if c.load.conns--; c.load.conns == 0 {
		delete(e.peers, c.peer.Addr())
	}
}

// overloaded is the answer to an INVITE of a peer that leaves too many others
// without an ACK (RFC 3261 §21.5.4). It is not kept.
func (e *Endpoint) overloaded(c *conn, h *head) (Response, bool) {
	if !h.is("INVITE") || int(c.load.pending.Load()) < e.conf.MaxPending {
		return Response{}, false
	}
	wait := strconv.Itoa(int(e.conf.give().Seconds()))
	return Response{Status: 503, Reason: "Service Unavailable", Headers: []string{"Retry-After: " + wait}}, true
}

// crowded is a connection that a peer has too many of.
func crowded(peer netip.AddrPort, limit int) plain {
	return plain{"sip.refused", [4]string{"peer", peer.String(), "why", "this address has " + strconv.Itoa(limit) + " connections already"}}
}
