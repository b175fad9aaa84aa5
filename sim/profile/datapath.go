package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DataPath is one entry of the catalogue of documented data paths: a row of a
// port page, a path or a rule in its text, or a path that follows from them.
// An absent field is one that the page does not state.
type DataPath struct {
	ID       string   `yaml:"id,required"`
	Kind     PathKind `yaml:"kind,required" enum:"row,note,rule,derived"`
	Versions []string `yaml:"versions,required"`
	Name     string   `yaml:"name,required"`
	Table    string   `yaml:"table"`
	Row      int      `yaml:"row"` // counted from 1
	// From and To are roles in the page's words. RolesInferred says that at
	// least one of them was read from the context.
	From          string          `yaml:"from"`
	To            string          `yaml:"to"`
	RolesInferred bool            `yaml:"roles-inferred"`
	Printed       string          `yaml:"printed"` // all of the port cell
	Ports         []PathPort      `yaml:"ports"`
	Auth          Authentication  `yaml:"authentication"`
	Encryption    Encryption      `yaml:"encryption"`
	Configurable  *Configurable   `yaml:"configurable"`
	Connectors    []PathConnector `yaml:"connectors"`
	Services      []string        `yaml:"services"`
	OffByDefault  bool            `yaml:"off-by-default"`
	FirewallRules []string        `yaml:"firewall-rules"` // on the server itself
	Rule          *PathRule       `yaml:"rule"`
	Notes         []string        `yaml:"notes"`
	// Of a derived entry: why it is there, what it follows from, and the
	// feature that needs it.
	Reason  string   `yaml:"reason"`
	RestsOn []string `yaml:"rests-on"`
	Feature string   `yaml:"feature"`

	Source        Source         `yaml:"source"`
	Disagreements []Disagreement // that name this entry
}

// PathKind says where an entry comes from.
type PathKind string

// The kinds of entries.
const (
	KindRow     PathKind = "row"     // a row of a table
	KindNote    PathKind = "note"    // a path in the page's text
	KindRule    PathKind = "rule"    // what the page says about topologies and firewalls
	KindDerived PathKind = "derived" // follows from the others; no page prints it
)

// Standings of a port beside those of facts.
const (
	Derived       Standing = "derived"
	Contradictory Standing = "contradictory" // one page says both
)

// PathPort is a port, or a range of ports, of a data path.
type PathPort struct {
	Ports     PortRange `yaml:"ports,required"`
	Transport string    `yaml:"transport" enum:"tcp,udp,any"`
	Protocol  string    `yaml:"protocol"`
	TLS       string    `yaml:"tls" enum:"none,starttls,implicit,mutual,optional"`
	Mode      string    `yaml:"mode" enum:"unsecured,secured,dual"` // of a UM worker process
	Parity    string    `yaml:"parity" enum:"even,odd"`
	Printed   string    `yaml:"printed"`  // beside the port
	InNotes   bool      `yaml:"in-notes"` // not in the row itself
	Erratum   *Erratum  `yaml:"erratum"`  // what the page should print
	Standing  Standing  `yaml:"standing"`
	Note      string    `yaml:"note"`
}

// Erratum is what a page should print in place of a port's transport and
// protocol.
type Erratum struct {
	Transport string `yaml:"transport,required"`
	Protocol  string `yaml:"protocol,required"`
}

// Corrected is the port as the page should print it.
func (p PathPort) Corrected() PathPort {
	if p.Erratum != nil {
		p.Transport, p.Protocol = p.Erratum.Transport, p.Erratum.Protocol
	}
	return p
}

// PortRange is a port (Low equals High), a range, or a word for ports that the
// page does not number.
type PortRange struct {
	Low, High uint16
	Word      string // see the Ports constants; "" for numbers
}

// Words for ports without numbers.
const (
	PortsDynamic   = "dynamic" // chosen by RPC
	PortsRandom    = "random"  // chosen by the service
	PortsAny       = "any"
	PortsByUser    = "user-defined"
	PortsByGateway = "gateway-range" // what the gateway's session description names
	PortsNotStated = "not-stated"
)

var portWords = []string{PortsDynamic, PortsRandom, PortsAny, PortsByUser, PortsByGateway, PortsNotStated}

// UnmarshalText reads a number, LOW-HIGH or a word.
func (r *PortRange) UnmarshalText(b []byte) error {
	text := string(b)
	if slices.Contains(portWords, text) {
		*r = PortRange{Word: text}
		return nil
	}
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	l, err1 := strconv.ParseUint(low, 10, 16)
	h, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || l == 0 || l > h {
		return fmt.Errorf("%q is no port, no range LOW-HIGH and none of %s", text, strings.Join(portWords, ", "))
	}
	*r = PortRange{Low: uint16(l), High: uint16(h)}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String gives 25, 1024-65535 or the word.
func (r PortRange) String() string {
	switch {
	case r.Word != "":
		return r.Word
	case r.Low == r.High:
		return strconv.Itoa(int(r.Low))
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// Contains says whether a port is in a numbered range; any holds every port.
func (r PortRange) Contains(port uint16) bool {
	return r.Word == PortsAny || r.Word == "" && r.Low <= port && port <= r.High
}

// Numbered says whether the page numbers the ports.
func (r PortRange) Numbered() bool { return r.Word == "" }

// Authentication is what the page says of it.
type Authentication struct {
	Default   string   `yaml:"default"`
	Supported []string `yaml:"supported"`
}

// Encryption is what the page says of it: yes, no, partial or nothing.
type Encryption struct {
	Supported string   `yaml:"supported" enum:"yes,no,partial"`
	ByDefault string   `yaml:"by-default" enum:"yes,no,partial"`
	Methods   []string `yaml:"methods"`
}

// Configurable says whether and how a path's ports or methods can be changed.
type Configurable struct {
	Possible bool   `yaml:"possible"`
	How      string `yaml:"how,required"`
}

// PathConnector is a connector that a mail path names.
type PathConnector struct {
	Kind    string `yaml:"kind,required" enum:"receive,send,send-implicit"`
	Name    string `yaml:"name,required"`
	Server  string `yaml:"server"`
	Service string `yaml:"service"`
	Port    uint16 `yaml:"port"`
	Use     string `yaml:"use"`
}

// PathRule is what a page demands or allows.
type PathRule struct {
	Action    string `yaml:"action,required" enum:"unsupported,required,expected,permitted,stated-always,created-by-setup,none"`
	Statement string `yaml:"statement,required"`
	// Check is what a plan is held against: any-any, no-filter,
	// not-in-perimeter, may-restrict; "" is nothing that it could show.
	Check string `yaml:"check" enum:"any-any,no-filter,not-in-perimeter,may-restrict"`
}

// Disagreement is a point where pages contradict one another or themselves.
type Disagreement struct {
	Says   string   `yaml:"says,required"`
	Chosen string   `yaml:"chosen,required"` // what the catalogue holds
	Paths  []string `yaml:"paths,required"`
}

// Of returns how firmly a port of this entry stands.
func (d *DataPath) Of(p PathPort) Standing {
	switch {
	case p.Standing != "":
		return p.Standing
	case d.Kind == KindDerived:
		return Derived
	}
	return Documented
}

// Where tells the place on the page: table and row, or the text.
func (d *DataPath) Where() string {
	switch {
	case d.Kind == KindDerived:
		return "derived"
	case d.Table == "":
		return "text"
	}
	return fmt.Sprintf("table %s, row %d", d.Table, d.Row)
}
