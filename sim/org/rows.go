package org

import (
	"slices"

	"github.com/exsim/exsim/sim/profile"
)

// Rows are the rows of the port table that a server listens on, at the ports
// that hold for it.
func (o *Organisation) Rows(p *profile.Profile, s *Server) []profile.Port {
	return o.moreRows(p, s, o.movedRows(p, s, o.setupRows(p, s)))
}

// setupRows are those that Setup makes, and settings of SIP.
func (o *Organisation) setupRows(p *profile.Profile, s *Server) []profile.Port {
	var list []profile.Port
	for _, r := range p.Ports {
		if r.Listens == "" || !s.Has(Role(r.Role)) {
			continue
		}
		if r.Beside != 0 && s.Has(ClientAccess) {
			r.Port = r.Beside
		}
		if r.Protocol == "sip" && !o.sipPort(s, &r) {
			continue
		}
		list = append(list, r)
	}
	return list
}

// movedRows puts Setup's connectors where the organisation has put them: at a port
// of their own, or beside another one, whose listener serves both then.
func (o *Organisation) movedRows(p *profile.Profile, s *Server, list []profile.Port) []profile.Port {
	at := map[string]uint16{}
	for _, c := range o.ConnectorsOf(p, s) {
		at[c.ID] = c.Port
	}
	var moved []profile.Port
	for _, r := range list {
		if port, ok := at[r.ID]; ok && port != r.Port {
			if slices.ContainsFunc(list, func(k profile.Port) bool { return k.ID != r.ID && k.Port == port && at[k.ID] == port }) {
				continue
			}
			r.Port = port
		}
		moved = append(moved, r)
	}
	return moved
}

// moreRows are those of connectors that listen on ports of their own.
func (o *Organisation) moreRows(p *profile.Profile, s *Server, list []profile.Port) []profile.Port {
	for _, c := range o.ConnectorsOf(p, s) {
		if !slices.ContainsFunc(list, func(r profile.Port) bool { return r.Port == c.Port }) {
			list = append(list, profile.Port{
				ID: c.ID, Role: string(s.Roles[0]), Service: p.MailFront(), Protocol: "smtp", Transport: "tcp", Port: c.Port, Listens: "receive", Settable: true,
			})
		}
	}
	return list
}

// sipPort settles the port of a row; false if the start-up mode does not open
// it.
func (o *Organisation) sipPort(s *Server, r *profile.Port) bool {
	mode := s.UMStartupMode
	if r.Service == "call-router" {
		mode = o.Router.UMStartupMode
		if p := map[string]uint16{"tcp": o.Router.SipTCPListeningPort, "tls": o.Router.SipTLSListeningPort}[r.Transport]; p != 0 {
			r.Port = p
		}
	}
	if mode == ModeTLS && r.TLSOnly != 0 && o.WorkerPorts != WorkerPortsMajority {
		r.Port = r.TLSOnly
	}
	return mode.Listens(r.Transport)
}
