package org

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/yamlfile"
)

func (c checker) dialPlans() {
	names := map[string]bool{}
	for i := range c.o.DialPlans {
		d := &c.o.DialPlans[i]
		c.unique(names, "dial plan", d.Name, d.Pos)
		if d.Digits < 1 || d.Digits > 20 {
			c.f.Report(d.Pos, "", "dial plan %q: digits is 1 to 20, not %d", d.Name, d.Digits)
		}
		if d.URIType == "" {
			d.URIType = TelExtn
		}
		switch d.VoIPSecurity {
		case "":
			d.VoIPSecurity = Unsecured
		case Unsecured, SIPSecured, Secured:
		default:
			c.f.Report(d.Pos, "Unsecured, SIPSecured or Secured", "dial plan %q: unknown voip-security %q", d.Name, d.VoIPSecurity)
		}
		if !slices.Contains([]URIType{TelExtn, E164, SipName}, d.URIType) {
			c.f.Report(d.Pos, "TelExtn, E164 or SipName", "dial plan %q: unknown uri-type %q", d.Name, d.URIType)
		}
		c.number(d.Pos, "dial plan "+d.Name+": operator", d.Operator)
		for key, n := range map[string]int{"input-failures-before-disconnect": d.InputFailures, "logon-failures-before-disconnect": d.LogonFailures} {
			c.between(d.Pos, "dial plan "+d.Name+": "+key, n, 1, 20)
		}
	}
}

// plan reports a reference to a dial plan that does not exist.
func (c checker) plan(what, name string, at yamlfile.Pos) *DialPlan {
	d := c.o.DialPlanNamed(name)
	if d == nil {
		var names []string
		for _, d := range c.o.DialPlans {
			names = append(names, d.Name)
		}
		c.f.Report(at, yamlfile.Suggest(name, names), "%s: no dial plan %q", what, name)
	}
	return d
}

func (c checker) gateways() {
	names, fqdns, addrs := map[string]bool{}, map[string]bool{}, map[netip.Addr]string{}
	for i := range c.o.Gateways {
		g := &c.o.Gateways[i]
		c.unique(names, "gateway", g.Name, g.Pos)
		if other, ok := addrs[g.Address]; ok && g.Address.IsValid() {
			c.f.Report(g.Pos, "", "gateway %q has the address of %q", g.Name, other)
		}
		addrs[g.Address] = g.Name
		if !g.Address.IsValid() && g.FQDN == "" {
			c.f.Report(g.Pos, "address: for TCP, fqdn: for TLS", "gateway %q has neither an address nor an fqdn", g.Name)
		}
		if g.FQDN != "" {
			c.unique(fqdns, "the fqdn of gateway", g.FQDN, g.Pos)
			if !hostName.MatchString(g.FQDN) {
				c.f.Report(g.Pos, "letters, digits, hyphens and dots; no wildcard", "gateway %q: fqdn %q is no host name", g.Name, g.FQDN)
			}
		}
		if g.Status == "" {
			g.Status = Enabled
		}
		if !slices.Contains(Statuses, g.Status) {
			c.f.Report(g.Pos, "Enabled, Disabled or NoNewCalls", "gateway %q: unknown status %q", g.Name, g.Status)
		}
		if g.IPAddressFamily == "" {
			g.IPAddressFamily = IPv4Only
		}
		if !slices.Contains([]IPAddressFamily{IPv4Only, IPv6Only, AnyFamily}, g.IPAddressFamily) {
			c.f.Report(g.Pos, "IPv4Only, IPv6Only or Any", "gateway %q: unknown ip-address-family %q", g.Name, g.IPAddressFamily)
		}
		if g.DialPlan != "" {
			c.plan("gateway "+g.Name, g.DialPlan, g.Pos)
			c.defaultHuntGroup(g)
		}
	}
}

// defaultHuntGroup makes the hunt group that a gateway with a dial plan has by
// itself: every call of the gateway is the dial plan's.
func (c checker) defaultHuntGroup(g *UMIPGateway) {
	if !slices.ContainsFunc(c.o.HuntGroups, func(h HuntGroup) bool { return h.Gateway == g.Name }) {
		c.o.HuntGroups = append(c.o.HuntGroups, HuntGroup{Pos: g.Pos, Name: "default hunt group of " + g.Name, Gateway: g.Name, DialPlan: g.DialPlan})
	}
}

// association checks how gateways and dial plans belong together.
func (c checker) association() {
	gateways := map[string]int{}
	for i := range c.o.Gateways {
		g := &c.o.Gateways[i]
		secured := c.o.Secured(g)
		if secured && g.FQDN == "" {
			c.f.Report(g.Pos, "fqdn: the name in its certificate", "gateway %q: its dial plan wants TLS, and over TLS a gateway is known by its fqdn", g.Name)
		}
		if g.Port == 0 {
			g.Port = map[bool]uint16{false: 5060, true: 5061}[secured]
		}
		plans := map[string]bool{}
		for _, h := range c.o.HuntGroups {
			if h.Gateway == g.Name && !plans[h.DialPlan] {
				plans[h.DialPlan] = true
				gateways[h.DialPlan]++
			}
		}
		if len(plans) == 0 {
			c.f.Report(g.Pos, "dial-plan: PLAN, or a hunt group for it", "gateway %q belongs to no dial plan", g.Name)
		}
	}
	for plan, n := range gateways {
		if d := c.o.DialPlanNamed(plan); d != nil && n > c.p.UM.MaxGateways {
			c.f.Report(d.Pos, "Microsoft, UM IP gateways: the UM service does not start", "dial plan %q has %d gateways, more than %d", plan, n, c.p.UM.MaxGateways)
		}
	}
}

func (c checker) huntGroups() {
	names, pilots := map[string]bool{}, map[string]bool{}
	for i := range c.o.HuntGroups {
		h := &c.o.HuntGroups[i]
		c.unique(names, "hunt group", h.Name, h.Pos)
		c.unique(pilots, "the pilot of gateway "+h.Gateway+",", h.Gateway+" "+h.Pilot, h.Pos)
		c.plan("hunt group "+h.Name, h.DialPlan, h.Pos)
		if !slices.ContainsFunc(c.o.Gateways, func(g UMIPGateway) bool { return g.Name == h.Gateway }) {
			c.f.Report(h.Pos, "", "hunt group %q: no gateway %q", h.Name, h.Gateway)
		}
	}
}

func (c checker) mailboxes() {
	addrs, exts := map[string]bool{}, map[string]bool{}
	for i := range c.o.Mailboxes {
		m := &c.o.Mailboxes[i]
		c.unique(addrs, "mailbox", m.Address, m.Pos)
		if _, domain, _ := strings.Cut(m.Address, "@"); !address.MatchString(m.Address) || !strings.EqualFold(domain, c.o.Domain) {
			c.f.Report(m.Pos, "", "mailbox address %q is not NAME@%s", m.Address, c.o.Domain)
		}
		// Without a Mailbox server, who knows of the recipients stands for it.
		if s := c.o.ServerNamed(m.Server); s == nil || !s.Has(MailboxRole) && len(c.o.ServersWith(MailboxRole)) > 0 {
			c.f.Report(m.Pos, "", "mailbox %q: no Mailbox server %q", m.Name, m.Server)
		}
		if m.OtherVersion != "" && !strings.HasPrefix(strings.ToLower(m.OtherVersion), "sip:") {
			c.f.Report(m.Pos, "sip:HOST:PORT;transport=tcp", "mailbox %q: other-version %q", m.Name, m.OtherVersion)
		}
		if m.Extension == "" {
			continue
		}
		d := c.plan("mailbox "+m.Name, m.DialPlan, m.Pos)
		for _, extension := range append([]string{m.Extension}, m.Extensions...) {
			c.unique(exts, "extension", m.DialPlan+" "+extension, m.Pos)
			if d != nil && !d.isExtension(extension) {
				c.f.Report(m.Pos, "", "extension %q does not have the %d digits of dial plan %q", extension, d.Digits, d.Name)
			}
		}
		c.telephone(m)
	}
}

// telephone checks what concerns a mailbox's owner at the telephone.
func (c checker) telephone(m *Mailbox) {
	if m.Policy != "" && !slices.ContainsFunc(c.o.Policies, func(p Policy) bool { return p.Name == m.Policy }) {
		c.f.Report(m.Pos, "", "mailbox %q: no mailbox policy %q", m.Name, m.Policy)
	}
	if m.SIPAddress != "" && !address.MatchString(m.SIPAddress) {
		c.f.Report(m.Pos, "user@domain, without sip:", "mailbox %q: sip-address %q", m.Name, m.SIPAddress)
	}
	least := cmp.Or(c.o.PolicyOf(m).MinPINLength, c.p.UM.MinPINLength)
	if m.PIN != "" && (!digits(m.PIN) || len(m.PIN) < least || len(m.PIN) > 24) {
		c.f.Report(m.Pos, "the range of Set-UMMailboxPolicy", "mailbox %q: its PIN does not have %d to 24 digits", m.Name, least)
	}
	if m.Quota < 0 {
		c.f.Report(m.Pos, "", "mailbox %q: a negative quota", m.Name)
	}
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// isExtension reports whether a mailbox of the dial plan can have an extension:
// one of E.164 has a +, and as many digits as that.
func (d *DialPlan) isExtension(s string) bool {
	if d.URIType == E164 {
		n, plus := strings.CutPrefix(s, "+")
		return plus && digits(n) && len(n) <= 15
	}
	return digits(s) && len(s) == d.Digits
}

// number checks a telephone number that may be left out.
func (c checker) number(at yamlfile.Pos, what, number string) {
	if number != "" && !digits(strings.TrimPrefix(number, "+")) {
		c.f.Report(at, "digits, with a + in front where it is one of E.164", "%s: %q is no number", what, number)
	}
}

// between checks a number that may be left out.
func (c checker) between(at yamlfile.Pos, what string, n, least, most int) {
	if n != 0 && (n < least || n > most) {
		c.f.Report(at, "the range of Exchange's own setting", "%s: %d is not within %d to %d", what, n, least, most)
	}
}

func (c checker) policies() {
	names := map[string]bool{}
	for i := range c.o.Policies {
		p := &c.o.Policies[i]
		what := "mailbox policy " + p.Name
		c.unique(names, "mailbox policy", p.Name, p.Pos)
		c.between(p.Pos, what+": min-pin-length", p.MinPINLength, 4, 24)
		c.between(p.Pos, what+": max-logon-attempts", p.LogonsBeforeLock, 1, 999)
		c.between(p.Pos, what+": logon-failures-before-pin-reset", p.LogonsBeforePIN, 1, 998)
		if lock, reset := cmp.Or(p.LogonsBeforeLock, c.p.UM.MaxLogons), cmp.Or(p.LogonsBeforePIN, c.p.UM.LogonsBeforeReset); reset >= lock {
			c.f.Report(p.Pos, "the PIN is reset before the mailbox is locked", "%s: logon-failures-before-pin-reset (%d) is not less than max-logon-attempts (%d)", what, reset, lock)
		}
		if p.FaxServer != "" && !strings.HasPrefix(strings.ToLower(p.FaxServer), "sip:") {
			c.f.Report(p.Pos, "sip:HOST:PORT;transport=tcp", "%s: fax-server-uri %q", what, p.FaxServer)
		}
	}
}

func (c checker) attendants() {
	names, pilots := map[string]bool{}, map[string]bool{}
	for i := range c.o.Attendants {
		a := &c.o.Attendants[i]
		what := "auto attendant " + a.Name
		c.unique(names, "auto attendant", a.Name, a.Pos)
		c.unique(pilots, "the pilot of an auto attendant", a.DialPlan+" "+a.Pilot, a.Pos)
		c.plan(what, a.DialPlan, a.Pos)
		c.number(a.Pos, what+": pilot", a.Pilot)
		c.number(a.Pos, what+": operator", a.Operator)
		for key, k := range a.Keys {
			c.key(what+": key "+key, a, key, k)
		}
	}
}

// key checks one entry of a menu.
func (c checker) key(what string, a *Attendant, key string, k Key) {
	if key != Timeout && (len(key) != 1 || key < "1" || key > "9") {
		c.f.Report(k.Pos, "1 to 9, and timeout; 0 is the operator's", "%s is no key of a menu", what)
	}
	does := 0
	for _, target := range []string{k.Extension, k.Attendant, k.VoiceMail, k.Audio} {
		if target != "" {
			does++
		}
	}
	if does != 1 {
		c.f.Report(k.Pos, "extension, auto-attendant, voice-mail or audio", "%s does %d things instead of one", what, does)
	}
	c.number(k.Pos, what+": extension", k.Extension)
	if k.Attendant != "" && c.o.AttendantNamed(k.Attendant) == nil {
		c.f.Report(k.Pos, "", "%s: no auto attendant %q", what, k.Attendant)
	}
	if k.VoiceMail != "" && c.o.MailboxOf(a.DialPlan, k.VoiceMail) == nil {
		c.f.Report(k.Pos, "", "%s: no mailbox of dial plan %s has the extension %q", what, a.DialPlan, k.VoiceMail)
	}
}
