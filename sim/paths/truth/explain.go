package truth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/paths"
)

// explain says why, on which side, and what to do.
func (r *Result) explain(x *facts) {
	f := r.Flow
	r.Side = "network"
	switch r.Verdict {
	case IsOpen:
		r.open()
	case IsDropped:
		r.dropped(x)
	case IsRefused:
		r.refused(x)
	case IsReset:
		r.Cause, r.Next = "the connection was made and then reset", "look for inspection of this protocol on the filter"
	case OneWay:
		r.oneWay()
	case IsSilent:
		r.silent(x)
	case Altered:
		r.Cause, r.Next = "what arrived is not what was sent", "switch the inspection of this protocol off on the way between these hosts"
	case Intercepted:
		r.Cause, r.Next = "something in between answers in the place of "+f.To.Name, "take these hosts out of the proxy or the TLS inspection"
	case Wrong:
		r.Side = "far end"
		r.Cause, r.Next = "something answers that is not what the pages put there", "see what listens on "+f.To.Name
	case Real:
		r.Cause = "held by a service of " + f.To.Name + ", which answers as it should; judged from one end"
	case Partly:
		r.Cause = "not all ports pass" + r.parts()
		r.allow()
	case Limited:
		r.Cause = fmt.Sprintf("ports that were lost at the common rate pass when asked slowly (%s): a limit on new flows, or packets lost on the way", ports(x.sent.Slowly))
		r.Next = "probe again with a lower --rate: if that helps, raise the filter's limit; if not, look for loss on the line"
	case Unknown:
		r.unknown(x)
	}
	r.evidence(x)
}

func (r *Result) open() {
	f := r.Flow
	if f.Expect == paths.Open {
		r.Cause = "each token reached " + f.To.Name + ", and each answer came back"
		if len(f.Calls) > 0 {
			r.Cause += ", inside calls over tcp/" + f.CallPorts().String()
		}
		return
	}
	r.Cause = f.To.Name + " was reached on " + ports(r.reached()) + "; must be closed: " + f.Why
	if f.Source.IsLoopback() && f.Target.IsLoopback() {
		r.Side, r.Cause = "bench", "both ends are on this machine, and nothing filters between them: what must be closed cannot be proven here"
		r.Next = "run exsim listen on a machine of the other zone; closed: {sample: 0} in the plan tries fewer such ports"
		return
	}
	r.Next = "close it, or say in the plan what uses it"
	r.Rule = fmt.Sprintf("remove what lets %s reach %s on %s/%s", f.Source, f.Target, f.Transport, r.reached())
}

func (r *Result) dropped(x *facts) {
	f := r.Flow
	r.Cause = "nothing came back" + seenThere(x, f)
	if f.Transport == "tcp" && x.got != nil {
		r.Cause = "no connection was completed at " + f.To.Name + ", which listened: the SYN was lost (no connection half made was left there)"
	}
	if len(r.Parts) > 1 {
		r.Cause = "no port passes" + r.parts()
	}
	r.allow()
	if r.Rule != "" && f.Transport == "tcp" {
		r.Rule += "; and let answers pass: state established"
	}
}

func (r *Result) refused(x *facts) {
	r.Cause = "refused in the name of " + r.Flow.To.Name
	if x.bound != nil {
		r.Cause += ", which listened: a filter rejects it"
	}
	if x.sent.Barred.Len() > 0 {
		r.Cause += " (ICMP: no way, or prohibited, on " + x.sent.Barred.String() + ")"
	}
	r.allow()
}

func (r *Result) oneWay() {
	f := r.Flow
	r.Cause = "the probe reached " + f.To.Name + ", the answer was lost on the way back"
	if len(r.Parts) > 1 {
		r.Cause = "no port passes both ways" + r.parts()
	}
	r.Next = "let answers of known flows pass (state), and look for another way back"
	r.Rule = fmt.Sprintf("add: accept %s from %s to %s, state established", f.Transport, f.Target, f.Source)
}

func (r *Result) silent(x *facts) {
	r.Cause = "the connection stands, and nothing comes through it"
	if x.sent.Stream != nil && x.sent.Stream.Stage != "" {
		r.Cause += " from " + x.sent.Stream.Stage + " on"
	}
	r.Next = "look for inspection of this protocol on the filter, and for the size of packets (MTU)"
}

// parts tells what is found of which ports, where that differs.
func (r *Result) parts() string {
	text := ""
	for _, p := range r.Parts {
		if p.Verdict != IsOpen {
			text += fmt.Sprintf("; %s: %s", p.Verdict, r.spread(p.Ports))
		}
	}
	return text
}

// spread tells ports of a sample as the ranges that they stand for: from the
// first to the last of those that have no other one between them.
func (r *Result) spread(set paths.PortSet) string {
	tried := r.Flow.Sample()
	if word := parity(set, r.tried()); word != "" {
		return fmt.Sprintf("the %s ports of %s", word, r.Flow.Ports)
	}
	if !r.Flow.IsSampled() || set.Minus(tried).Len() > 0 {
		return set.String()
	}
	var around paths.PortSet
	first, last := uint16(0), uint16(0)
	end := func() {
		if last != 0 {
			around.AddSet(paths.PortsBetween(first, last))
		}
		first, last = 0, 0
	}
	for p := range tried.All() {
		if !set.Has(p) {
			end()
			continue
		}
		if last == 0 {
			first = p
		}
		last = p
	}
	end()
	return around.String() + " (by sample: the edges lie within 64 ports)"
}

// parity says whether a set is all the even, or all the odd, ports that were
// tried: RTP without RTCP, or the other way round.
func parity(set, tried paths.PortSet) string {
	var even, odd paths.PortSet
	for p := range tried.All() {
		if p%2 == 0 {
			even.Add(p)
		} else {
			odd.Add(p)
		}
	}
	switch few := even.Len() < 4 || odd.Len() < 4; {
	case few:
	case set.String() == even.String():
		return "even"
	case set.String() == odd.String():
		return "odd"
	}
	return ""
}

// tried are the ports that something is known of.
func (r *Result) tried() paths.PortSet {
	var set paths.PortSet
	for _, p := range r.Parts {
		set.AddSet(p.Ports)
	}
	return set
}

// allow says which rule opens an expected flow.
func (r *Result) allow() {
	f := r.Flow
	if f.Expect == paths.Closed {
		r.Next = ""
		return
	}
	if len(f.Calls) > 0 {
		r.Next = fmt.Sprintf("let the filter read SIP on tcp/%s, not on 5060 alone, and open the ports that a session description names; or open the range by a rule, and say media: static", r.deaf())
		return
	}
	closed := r.reachedNot()
	r.Next = "open it on the filter between zone " + f.From.Zone + " and zone " + f.To.Zone
	numbers := r.spread(closed)
	if f.IsSampled() {
		numbers = f.Ports.String() // what the plan needs
	}
	r.Rule = fmt.Sprintf("add: accept %s from %s to %s port %s", f.Transport, f.Source, f.Target, numbers)
}

// deaf are the ports of the calls in which no media passed, where it passed in
// others; else all of them.
func (r *Result) deaf() paths.PortSet {
	deaf := r.Flow.CallPorts()
	for p := range r.ports(IsOpen).All() {
		deaf = deaf.Minus(r.Flow.Call(p).Ports)
	}
	if deaf.Len() == 0 {
		return r.Flow.CallPorts()
	}
	return deaf
}

// reachedNot are the ports that did not pass; of a sample that found none open,
// the whole flow.
func (r *Result) reachedNot() paths.PortSet {
	var set paths.PortSet
	for _, p := range r.Parts {
		if p.Verdict != IsOpen && p.Verdict != Unknown {
			set.AddSet(p.Ports)
		}
	}
	if set.Len() == r.Tried {
		return r.Flow.Ports
	}
	return set
}

func (r *Result) unknown(x *facts) {
	r.Side = "bench"
	switch rest := r.Flow.Sample().Minus(x.sent.Tried); {
	case x.got != nil && x.got.Trouble != "":
		r.Cause = fmt.Sprintf("%s could not accept connections: %s", r.Flow.To.Name, x.got.Trouble)
		r.Next = "raise its limit of open files, or probe fewer ports at once"
	case x.bound != nil && len(x.bound.Failed) > 0:
		why := reasons(x.bound.Failed)[0]
		r.Cause = fmt.Sprintf("%s could not listen on %s: %s", r.Flow.To.Name, x.bound.Failed[why], why)
		r.Next = "run exsim listen there with the rights that it needs"
	case x.bound != nil && x.bound.Held.Len() > 0 && r.Flow.Transport == "tcp":
		r.Cause = fmt.Sprintf("%s is held by another program on %s, which takes connections and says nothing by itself", ports(x.bound.Held), r.Flow.To.Name)
		r.Next = "stop it for the time of the probe"
	case x.bound != nil && x.bound.Held.Len() > 0:
		r.Cause = fmt.Sprintf("%s is held by another program on %s, and UDP is not judged from one end", ports(x.bound.Held), r.Flow.To.Name)
		r.Next = "stop it for the time of the probe"
	case len(x.sent.Failed) > 0:
		why := reasons(x.sent.Failed)[0]
		r.Cause = fmt.Sprintf("%s could not send: %s", r.Flow.From.Name, why)
		r.Next = "see that " + r.Flow.Source.String() + " is an address of the machine that probes"
		if len(r.Flow.Calls) > 0 {
			r.Next = "see what is told of the calls' own path, tcp/" + r.Flow.CallPorts().String()
		}
	case rest.Len() > 0:
		r.Cause = "the run was cut short: not tried were " + ports(rest)
		r.Next = "go on with --resume"
	case x.bound != nil:
		r.Cause = r.Flow.To.Name + " listened, and did not tell what arrived: its record was cut short"
		r.Next = "let exsim listen end by Ctrl-C, which writes what arrived"
	default:
		r.Cause = "there is no record of " + r.Flow.To.Name + ": nobody knows whether it listened"
		r.Next = "join the record of exsim listen: exsim probe --merge"
	}
}

func seenThere(x *facts, f *paths.Flow) string {
	if x.got == nil {
		return "; there is no record of " + f.To.Name
	}
	return ", and nothing arrived at " + f.To.Name + ", which listened"
}

func ports(s paths.PortSet) string {
	if s.Len() == 1 {
		return "port " + s.String()
	}
	return "ports " + s.String()
}

// evidence tells how it was tried, and what both ends saw.
func (r *Result) evidence(x *facts) {
	s := x.sent
	if len(r.Flow.Calls) > 0 {
		r.How = append(r.How, fmt.Sprintf("each port was tried inside a call over tcp/%s that named it; %d of %d ports", r.Flow.CallPorts(), s.Tried.Len(), r.Flow.Ports.Len()))
	} else if n := s.Tried.Len(); r.Flow.IsSampled() && n < r.Flow.Ports.Len() && r.Flow.Sample().Minus(s.Tried).Len() == 0 {
		r.How = append(r.How, fmt.Sprintf("a sample of %d of %d ports: it proves these, and that no rule that opens or closes more than 64 in a row stands otherwise", n, r.Flow.Ports.Len()))
	}
	if x.got != nil {
		r.translated(x)
		for _, o := range x.got.Strange {
			r.Evidence = append(r.Evidence, fmt.Sprintf("port %d of %s got from %s: %.60q", o.Port, r.Flow.To.Name, o.From, o.Head))
		}
	}
	if x.bound != nil {
		if x.bound.Sockets != "" {
			r.How = append(r.How, r.Flow.To.Name+" listened by "+x.bound.Sockets)
		}
		for _, why := range reasons(x.bound.Failed) {
			r.Evidence = append(r.Evidence, fmt.Sprintf("%s could not listen on %s: %s", r.Flow.To.Name, x.bound.Failed[why], why))
		}
	}
	for _, why := range reasons(s.Failed) {
		r.Evidence = append(r.Evidence, fmt.Sprintf("%s could not send to %s: %s", r.Flow.From.Name, s.Failed[why], why))
	}
	if s.Stream != nil && s.Stream.TLS != nil && s.Stream.TLS.Error == "" {
		r.Evidence = append(r.Evidence, fmt.Sprintf("%s, %s", s.Stream.TLS.Version, s.Stream.TLS.Suite))
	}
}

// translated tells of address translation, stable or not.
func (r *Result) translated(x *facts) {
	var others []string
	ports := 0
	for _, a := range x.got.From {
		if a.Addr() != r.Flow.Source && !slices.Contains(others, a.Addr().String()) {
			others = append(others, a.Addr().String())
		}
		if !slices.Contains(x.sent.From, netip.AddrPortFrom(r.Flow.Source, a.Port())) {
			ports++
		}
	}
	if len(others) == 0 {
		return
	}
	r.Translated = fmt.Sprintf("%s is seen as %s", r.Flow.Source, strings.Join(others, ", "))
	if len(others) > 1 {
		r.Translated += ", which is not stable"
	}
	if ports > 0 {
		r.Translated += ", with other ports"
	}
	r.Evidence = append(r.Evidence, "NAT: "+r.Translated)
}
