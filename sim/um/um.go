// Package um is Unified Messaging as a gateway meets it: the call router that
// redirects to a server, the UM service that redirects to a worker, and the
// worker that answers, plays, records and hands the message on. SIP and RTP
// meet here.
package um

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// Config is what all parts of Unified Messaging share.
type Config struct {
	Org     *org.Organisation
	Profile *profile.Profile
	// Address is where a listener of the port table is reached, by server
	// name and row id.
	Address func(server, row string) netip.AddrPort
	// Gateways are the devices that may call.
	Gateways *Gateways
	Trace    *trace.Log
	Rand     func() uint64
}

// Services of the port table. Each has one row for TCP, of the same name, and
// one for TLS.
const (
	CallRouter = "call-router"
	UMService  = "um-service"
	UMWorker   = "um-worker"
)

// row is the id of a service's or process's row in the port table.
func row(service string, secure bool) string {
	if secure {
		return service + "-tls"
	}
	return service
}

// Dialect is the spelling of the responses; redirects say less about the
// server than answers.
func Dialect(p *profile.Profile, redirects bool) sip.Dialect {
	h := p.SIP.Headers
	server := p.SIP.ServerAnswer
	if redirects {
		server = p.SIP.ServerRedirect
	}
	if server != "" {
		server = p.SIP.ServerHeader + ": " + server
	}
	return sip.Dialect{
		From: h.From, To: h.To, CSeq: h.CSeq, CallID: h.CallID, Via: h.Via, Contact: h.Contact,
		ContentLength: h.ContentLength, ContentType: h.ContentType, RecordRoute: h.RecordRoute,
		JoinVia: p.SIP.ViaJoined, EPID: p.SIP.EPID, Server: server,
	}
}

// options answers OPTIONS as a healthy server does.
func (c *Config) options(tx *sip.ServerTx) {
	headers := slices.Concat(c.Profile.SIP.SupportedLines, c.Profile.SIP.AllowLines)
	tx.Respond(sip.Response{Status: 200, Reason: "OK", Headers: headers})
}

// other answers what no part of Unified Messaging serves outside a dialog.
func (c *Config) other(tx *sip.ServerTx) {
	if tx.Method() == "OPTIONS" {
		c.options(tx)
		return
	}
	tx.Respond(sip.Response{Status: 481, Reason: "Call/Transaction Does Not Exist"})
}

// invitation is the call of a request at a service that redirects, nil if there
// is none to redirect: the request is answered then.
func (c *Config) invitation(tx *sip.ServerTx, src *trace.Source, state *State) *admitted {
	if c.inactive(tx, src, state) {
		return nil
	}
	if tx.Method() != "INVITE" {
		c.other(tx)
		return nil
	}
	a, no := c.judge(tx)
	if no != nil {
		c.refuse(tx, src, a, no)
		return nil
	}
	return a
}

// refuse answers a call that is not taken and says why. A refusal for now says
// when to come again (RFC 3261 §21.5.4). What is known of the call may be nil.
func (c *Config) refuse(tx *sip.ServerTx, src *trace.Source, a *admitted, r *refusal) {
	headers := r.headers
	if r.answer.Code == 503 {
		headers = append(headers, "Retry-After: "+strconv.Itoa(int(c.Profile.SIP.RetryAfter.Seconds())))
	}
	src.Record(tx.Session(), trace.Session{}, refusedEvent{r, tx.Peer().String(), a, tx.CallID()}, nil)
	tx.Respond(sip.Response{Status: r.answer.Code, Reason: r.answer.Reason, Headers: headers})
}

// redirect answers with a 302 to another service, over the transport that the
// call came by.
func (c *Config) redirect(tx *sip.ServerTx, src *trace.Source, a *admitted, host profile.Host, to *org.Server, service string) {
	r, listener := &c.Profile.Redirect, row(service, tx.Secure())
	at := c.Address(to.Name, listener)
	if !at.IsValid() {
		c.refuse(tx, src, a, newRefusal("listener", c.Profile.Refusals.NoServer,
			fmt.Sprintf("%s has no listener %s", to.Name, listener), "um-startup-mode: Dual at the server "+to.Name))
		return
	}
	contact := c.redirectContact(tx.Recipient(), host, to, at.Port(), tx.Secure())
	src.Record(tx.Session(), trace.Session{}, redirected{to: to.Name, row: listener, contact: contact, a: a}, nil)
	tx.Respond(sip.Response{Status: r.Status.Code, Reason: r.Status.Reason, Contact: contact})
}

// otherVersion redirects a call for a mailbox that a server of another version
// serves, and reports whether it is one.
func (c *Config) otherVersion(tx *sip.ServerTx, src *trace.Source, a *admitted) bool {
	if a.mailbox == nil || a.mailbox.OtherVersion == "" {
		return false
	}
	r := &c.Profile.Redirect
	contact := withUser(a.mailbox.OtherVersion, tx.Recipient().User)
	src.Record(tx.Session(), trace.Session{}, redirected{to: "another version", contact: contact, a: a}, nil)
	tx.Respond(sip.Response{Status: r.Status.Code, Reason: r.Status.Reason, Contact: contact})
	return true
}

// withUser is a URI with a user, as a name-addr.
func withUser(uri, user string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	if _, host, ok := strings.Cut(rest, "@"); ok {
		rest = host
	}
	return "<" + scheme + ":" + user + "@" + rest + ">"
}

// redirectContact builds the Contact of a 302: the user and the parameters that
// the caller wrote, the new host and port, the transport, and maddr only if
// the caller's URI had one.
func (c *Config) redirectContact(uri *sip.URI, host profile.Host, to *org.Server, port uint16, secure bool) string {
	name := string(host) // a fixed one
	switch host {
	case profile.HostEcho:
		name = uri.Host
	case profile.HostFQDN:
		name = to.FQDN
	case profile.HostAddress:
		name = sip.HostOf(to.Public())
	}
	b := append(make([]byte, 0, 128), "<sip:"...)
	if uri.User != "" {
		b = append(append(b, uri.User...), '@')
	}
	b = strconv.AppendUint(append(append(b, name...), ':'), uint64(port), 10)
	maddr := false
	for _, p := range uri.UriParams {
		switch {
		case strings.EqualFold(p.K, "transport"):
		case strings.EqualFold(p.K, "maddr"):
			maddr = true
		default:
			b = append(append(b, ';'), p.K...)
			if p.V != "" {
				b = append(append(b, '='), p.V...)
			}
		}
	}
	transport := c.Profile.Redirect.Transport
	if secure {
		transport = c.Profile.Redirect.Secure
	}
	b = append(append(b, ";transport="...), transport...)
	if maddr && c.Profile.Redirect.Maddr {
		b = append(append(b, ";maddr="...), name...)
	}
	return string(append(b, '>'))
}
