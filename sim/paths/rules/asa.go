package rules

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// ASA writes object groups and access lists for Cisco ASA: one list a zone,
// bound inwards to the interface of its name.
func ASA(w io.Writer, title string, list []Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "! %s\n! The interfaces are named after the zones; change nameif or the last lines.\n", title)
	for _, p := range parties(list) {
		fmt.Fprintf(&b, "object-group network %s\n", asaName(p.Name))
		for _, a := range p.Addrs {
			fmt.Fprintf(&b, " network-object host %s\n", a)
		}
		if len(p.Addrs) == 0 {
			b.WriteString(" description put the addresses here: network-object host ADDRESS\n")
		}
	}
	var zones []string
	for _, r := range list {
		acl := asaName(r.From.Zone) + "-IN"
		if !slices.Contains(zones, r.From.Zone) {
			zones = append(zones, r.From.Zone)
		}
		fmt.Fprintf(&b, "access-list %s remark %s\n", acl, r.says())
		for part := range strings.SplitSeq(r.Ports.String(), ",") {
			ports := "eq " + part
			if low, high, ok := strings.Cut(part, "-"); ok {
				ports = "range " + low + " " + high
			}
			fmt.Fprintf(&b, "access-list %s extended permit %s object-group %s object-group %s %s\n", acl, r.Transport, asaName(r.From.Name), asaName(r.To.Name), ports)
		}
	}
	for _, z := range zones {
		fmt.Fprintf(&b, "access-list %s-IN extended deny ip any any log\naccess-group %s-IN in interface %s\n", asaName(z), asaName(z), word(z))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func asaName(name string) string { return "EXSIM-" + strings.ToUpper(word(name)) }
