package rules

import (
	"fmt"
	"io"
	"strings"
)

// Nftables writes a table for nft -f: what is not in the rules is dropped, and
// the chain takes the place of whatever table exsim wrote before. Of inspected
// calls the kernel reads the SIP, and opens what it names.
func Nftables(w io.Writer, title string, notes []string, list, inspected []Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# Load with: nft -f FILE. Flows that are open already stay open.\n", title)
	b.WriteString("# CAUTION: policy drop stops everything else that is routed here; to try it, say policy accept and add: log\n")
	comments(&b, "#", notes)
	all := parties(list)
	v4, v6 := names("v4_", partyNames(all)), names("v6_", partyNames(all))
	word := func(p Party, ipv6 bool) string {
		if ipv6 {
			return v6[p.Name]
		}
		return v4[p.Name]
	}
	for _, p := range all {
		for _, ipv6 := range []bool{false, true} {
			addrs := p.family(ipv6)
			if len(p.Addrs) == 0 && !ipv6 {
				addrs = []string{"192.0.2.1"}
			}
			if len(addrs) > 0 {
				fmt.Fprintf(&b, "define %s = { %s }", word(p, ipv6), strings.Join(addrs, ", "))
				if len(p.Addrs) == 0 {
					b.WriteString(" # put the addresses here")
				}
				b.WriteByte('\n')
			}
		}
	}
	b.WriteString(`
table inet exsim
delete table inet exsim
table inet exsim {
`)
	line := func(r Rule, ipv6 bool, does string) {
		family := "ip"
		if ipv6 {
			family = "ip6"
		}
		fmt.Fprintf(&b, "\t\t%s saddr $%s %s daddr $%s %s dport { %s } %s comment %q\n",
			family, word(r.From, ipv6), family, word(r.To, ipv6), r.Transport, strings.ReplaceAll(r.Ports.String(), ",", ", "), does, r.comment())
	}
	if len(inspected) > 0 {
		b.WriteString("\tct helper sip-tcp {\n\t\ttype \"sip\" protocol tcp;\n\t}\n\tchain inspect {\n\t\ttype filter hook prerouting priority filter; policy accept;\n")
		both(inspected, func(r Rule, ipv6 bool) { line(r, ipv6, `ct helper set "sip-tcp"`) })
		b.WriteString("\t}\n")
	}
	b.WriteString(`	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
`)
	both(list, func(r Rule, ipv6 bool) { line(r, ipv6, "ct state new accept") })
	b.WriteString("\t}\n}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// both calls line for each rule and family that both sides have.
func both(list []Rule, line func(r Rule, ipv6 bool)) {
	for _, r := range list {
		for _, ipv6 := range []bool{false, true} {
			if r.has(ipv6) {
				line(r, ipv6)
			}
		}
	}
}

// comment is what a rule is for, as long as nft takes it.
func (r Rule) comment() string {
	const most = 127
	text := r.says()
	if len(text) > most {
		text = text[:most]
	}
	return text
}

// has says whether both sides of a rule have an address of a family; parties
// without addresses have IPv4.
func (r Rule) has(ipv6 bool) bool {
	side := func(p Party) bool { return len(p.Addrs) == 0 && !ipv6 || len(p.family(ipv6)) > 0 }
	return side(r.From) && side(r.To)
}
