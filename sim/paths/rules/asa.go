package rules

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// ASA writes object groups and access lists for Cisco ASA: one list a zone,
// bound inwards to the interface of its name.
func ASA(w io.Writer, title string, notes []string, list []Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "! %s\n! The interfaces are named after the zones; change nameif or the last lines.\n", title)
	comments(&b, "!", notes)
	all := parties(list)
	groups := names("EXSIM-", partyNames(all))
	var from []string
	for _, r := range list {
		from = append(from, r.From.Zone)
	}
	interfaces := names("", from)
	for _, p := range all {
		fmt.Fprintf(&b, "object-group network %s\n", groups[p.Name])
		for _, a := range p.Addrs {
			fmt.Fprintf(&b, " network-object host %s\n", a)
		}
		if len(p.Addrs) == 0 {
			b.WriteString(" description put the addresses here: network-object host ADDRESS\n")
		}
	}
	var zones []string
	for _, r := range list {
		acl := "EXSIM-" + interfaces[r.From.Zone] + "-IN"
		if !slices.Contains(zones, r.From.Zone) {
			zones = append(zones, r.From.Zone)
		}
		fmt.Fprintf(&b, "access-list %s remark %s\n", acl, r.says())
		for part := range strings.SplitSeq(r.Ports.String(), ",") {
			ports := "eq " + part
			if low, high, ok := strings.Cut(part, "-"); ok {
				ports = "range " + low + " " + high
			}
			fmt.Fprintf(&b, "access-list %s extended permit %s object-group %s object-group %s %s\n", acl, r.Transport, groups[r.From.Name], groups[r.To.Name], ports)
		}
	}
	for _, z := range zones {
		fmt.Fprintf(&b, "access-list EXSIM-%[1]s-IN extended deny ip any any log\naccess-group EXSIM-%[1]s-IN in interface %[1]s\n", interfaces[z])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
