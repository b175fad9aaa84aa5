package org

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// ServerNamed finds a server, nil if there is none.
func (o *Organisation) ServerNamed(name string) *Server {
	for i := range o.Servers {
		if o.Servers[i].Name == name {
			return &o.Servers[i]
		}
	}
	return nil
}

// ServersWith are the servers that hold a role.
func (o *Organisation) ServersWith(r Role) []*Server {
	var list []*Server
	for i := range o.Servers {
		if s := &o.Servers[i]; s.Has(r) {
			list = append(list, s)
		}
	}
	return list
}

// GatewayAt finds the gateway object with an address, nil if there is none.
func (o *Organisation) GatewayAt(addr netip.Addr) *UMIPGateway {
	for i := range o.Gateways {
		if o.Gateways[i].Address == addr.Unmap() {
			return &o.Gateways[i]
		}
	}
	return nil
}

// Secured reports whether a dial plan of the gateway asks for TLS.
func (o *Organisation) Secured(g *UMIPGateway) bool {
	return slices.ContainsFunc(o.HuntGroups, func(h HuntGroup) bool {
		d := o.DialPlanNamed(h.DialPlan)
		return h.Gateway == g.Name && d != nil && d.VoIPSecurity != Unsecured
	})
}

// HuntGroupOf finds the hunt group for a pilot that a gateway dialled: the
// exact one, else the gateway's group without a pilot, else nil.
func (o *Organisation) HuntGroupOf(gateway, pilot string) *HuntGroup {
	var rest *HuntGroup
	for i := range o.HuntGroups {
		h := &o.HuntGroups[i]
		if h.Gateway != gateway {
			continue
		}
		if h.Pilot == pilot {
			return h
		}
		if h.Pilot == "" {
			rest = h
		}
	}
	return rest
}

// DialPlanNamed finds a dial plan, nil if there is none.
func (o *Organisation) DialPlanNamed(name string) *DialPlan {
	for i := range o.DialPlans {
		if o.DialPlans[i].Name == name {
			return &o.DialPlans[i]
		}
	}
	return nil
}

// MailboxOf finds the UM-enabled mailbox of an extension in a dial plan, nil
// if there is none.
func (o *Organisation) MailboxOf(dialPlan, extension string) *Mailbox {
	for i := range o.Mailboxes {
		m := &o.Mailboxes[i]
		if m.DialPlan == dialPlan && extension != "" && (m.Extension == extension || slices.Contains(m.Extensions, extension)) {
			return m
		}
	}
	return nil
}

// MailboxAtSIP finds the UM-enabled mailbox of a SIP address (user@domain) in a
// dial plan, nil if there is none.
func (o *Organisation) MailboxAtSIP(dialPlan, address string) *Mailbox {
	for i := range o.Mailboxes {
		m := &o.Mailboxes[i]
		if m.DialPlan == dialPlan && m.Extension != "" && strings.EqualFold(cmp.Or(m.SIPAddress, m.Address), address) {
			return m
		}
	}
	return nil
}

// AttendantOf finds the auto attendant of a pilot in a dial plan, nil if there
// is none.
func (o *Organisation) AttendantOf(dialPlan, pilot string) *Attendant {
	for i := range o.Attendants {
		if a := &o.Attendants[i]; a.DialPlan == dialPlan && a.Pilot == pilot {
			return a
		}
	}
	return nil
}

// Recordings are the WAV files that single mailboxes and auto attendants play.
func (o *Organisation) Recordings() []string {
	var files []string
	for _, m := range o.Mailboxes {
		files = append(files, m.Greeting)
	}
	for _, a := range o.Attendants {
		files = append(files, a.Greeting, a.Menu)
		for _, k := range a.Keys {
			files = append(files, k.Audio)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// PartnerURIs are what names hosts beside the organisation: partners for faxes, and
// servers of another version.
func (o *Organisation) PartnerURIs() []*string {
	var list []*string
	for i := range o.Policies {
		list = append(list, &o.Policies[i].FaxServer)
	}
	for i := range o.Mailboxes {
		list = append(list, &o.Mailboxes[i].OtherVersion)
	}
	return list
}

// AttendantNamed finds an auto attendant, nil if there is none.
func (o *Organisation) AttendantNamed(name string) *Attendant {
	for i := range o.Attendants {
		if o.Attendants[i].Name == name {
			return &o.Attendants[i]
		}
	}
	return nil
}

// PolicyOf is the policy of a mailbox; one with the profile's values if it names
// none.
func (o *Organisation) PolicyOf(m *Mailbox) *Policy {
	for i := range o.Policies {
		if o.Policies[i].Name == m.Policy {
			return &o.Policies[i]
		}
	}
	return &Policy{}
}

// MailboxAt finds the mailbox of an SMTP address, without regard to case, nil
// if there is none.
func (o *Organisation) MailboxAt(address string) *Mailbox {
	for i := range o.Mailboxes {
		if strings.EqualFold(o.Mailboxes[i].Address, address) {
			return &o.Mailboxes[i]
		}
	}
	return nil
}

// ServerAt finds the server with an address, nil if there is none.
func (o *Organisation) ServerAt(addr netip.Addr) *Server {
	for i := range o.Servers {
		if o.Servers[i].Address == addr {
			return &o.Servers[i]
		}
	}
	return nil
}

// Blocked reports whether an address is on the block list.
func (o *Organisation) Blocked(a netip.Addr) bool {
	return slices.ContainsFunc(o.IPBlockList, func(r IPRange) bool { return r.Contains(a) })
}

// SenderFiltered reports whether mail of a sender is refused.
func (o *Organisation) SenderFiltered(from string) bool {
	return slices.ContainsFunc(o.BlockedSenders, func(b string) bool {
		return strings.EqualFold(b, from) || strings.EqualFold(b, from[strings.LastIndexByte(from, '@')+1:]) && from != ""
	})
}

// NetBIOSDomain is the name of the domain in DOMAIN\name.
func (o *Organisation) NetBIOSDomain() string {
	label, _, _ := strings.Cut(o.Domain, ".")
	return strings.ToUpper(label[:min(15, len(label))])
}

// ServerPrincipal finds the server of a Kerberos principal, such as
// SMTPSVC/mbx1.contoso.lab or MBX1$, nil if there is none.
func (o *Organisation) ServerPrincipal(principal string) *Server {
	_, host, service := strings.Cut(principal, "/")
	for i := range o.Servers {
		s := &o.Servers[i]
		if service && strings.EqualFold(host, s.FQDN) || strings.EqualFold(principal, s.Name+"$") {
			return s
		}
	}
	return nil
}
