package sip

import (
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

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
	via.Params.Add("branch", magicCookie+e.token()+e.token())
	req.AppendHeader(via)
	for _, r := range p.routes {
		req.AppendHeader(sipgo.NewHeader("Route", r))
	}
	d := &e.conf.Dialect
	for _, hd := range [...][2]string{
		{d.From, p.from}, {d.To, p.to}, {d.CallID, p.callID},
		{d.CSeq, strconv.FormatUint(uint64(p.seq), 10) + " " + p.method}, {"Max-Forwards", "70"}, {d.Contact, p.contact},
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
		if req.GetHeader("Content-Type") == nil {
			req.AppendHeader(sipgo.NewHeader("Content-Type", "application/sdp"))
		}
		req.SetBody(p.body) // sets Content-Length
	} else {
		req.AppendHeader(sipgo.NewHeader("Content-Length", "0"))
	}
	return req
}
