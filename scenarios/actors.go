package scenarios

import (
	"maps"
	"slices"

	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/lab"
	"github.com/exsim/exsim/sim/trace"
)

// Faults of an actor's place and papers, beside those of a gateway's doing.
const (
	otherTransport   = "other-transport"
	otherCertificate = "other-certificate"
	otherMedia       = "other-media"
)

// faultKind is something that an actor can do wrong.
type faultKind struct {
	name    string
	setting string // that it needs, "" for none
	usage   string
}

var faultKinds = []faultKind{
	{string(gateway.DropDiversion), "", "leaves Diversion out behind a redirect"},
	{string(gateway.NoDiversion), "", "sends no Diversion at all"},
	{string(gateway.UnbalancedDiversion), "", "opens a quote in Diversion and does not close it"},
	{string(gateway.KeepsPrefix), "", "leaves a trunk prefix, 9, in front of the number that it dials"},
	{string(gateway.NoRedirect), "", "gives up at the first redirect"},
	{string(gateway.OneRedirect), "", "gives up at the second redirect"},
	{string(gateway.AssumesPort), "port", "sends the INVITE behind the second redirect to `port`, whatever the Contact says"},
	{string(gateway.RemembersWorker), "", "sends the INVITE of a later call straight to the worker that took the last one"},
	{string(gateway.OneRouter), "", "gives up where the first call router refuses or is dead"},
	{string(gateway.CallsElsewhere), "", "calls port 9 in place of the trunk's port"},
	{string(gateway.ClosedPort), "", "listens nowhere, so that nobody can ask it for OPTIONS"},
	{string(gateway.NoOptions), "", "answers OPTIONS with 405"},
	{string(gateway.IgnoresMinSE), "", "gives up where its session interval is refused by 422"},
	{string(gateway.NoAnswerInACK), "", "leaves the answer to a late offer out of the ACK"},
	{string(gateway.NoMedia), "", "sends no RTP"},
	{string(gateway.MediaElsewhere), "", "sends RTP to port 9, whatever the SDP says"},
	{string(gateway.OtherAddress), "address", "calls from `address` instead of its own"},
	{otherTransport, "transport", "calls over `transport` instead of its own"},
	{otherCertificate, "certificate", "shows a certificate that is wrong in the way `certificate`, or `good`"},
	{otherMedia, "media", "offers `media` instead of its own"},
}

func faultNames() []string {
	names := make([]string, len(faultKinds))
	for i, f := range faultKinds {
		names[i] = f.name
	}
	return names
}

// settings are those that a fault has.
func (f *PlantedFault) settings() map[string]bool {
	return map[string]bool{"address": f.Address.IsValid(), "port": f.Port != 0, "transport": f.Transport != "", "certificate": f.Certificate != "", "media": f.Media != ""}
}

// good is a certificate with nothing wrong.
const good = "good"

// parties are the simulated actors, each with its faults.
func (r *run) parties() []lab.Gateway {
	var list []lab.Gateway
	for _, name := range slices.Sorted(maps.Keys(r.s.Actors)) {
		a := r.s.Actors[name]
		if a.Device == External {
			r.src.Record(trace.Session{}, trace.Session{}, externalEvent{name}, nil)
			continue
		}
		g := lab.Gateway{Name: name, Address: a.Address}
		for _, f := range r.faultsOf(name) {
			switch f.Do {
			case otherTransport:
				a.Transport = f.Transport
			case otherCertificate:
				a.Certificate = f.Certificate
			case otherMedia:
				a.Media = f.Media
			default:
				g.Faults = append(g.Faults, gateway.Fault(f.Do))
			}
			if f.Address.IsValid() {
				g.Other = f.Address
			}
			g.Port = max(g.Port, f.Port)
			r.src.Record(trace.Session{}, trace.Session{}, faultEvent{f}, nil)
		}
		g.Secure, g.SRTP = a.Transport == TLS, a.Media == SRTP
		if a.Certificate != good {
			g.Bad = a.Certificate
		}
		list = append(list, g)
	}
	return list
}

func (r *run) faultsOf(actor string) []PlantedFault {
	list := slices.Clone(r.s.Faults)
	if r.o.Plant != nil {
		list = append(list, *r.o.Plant)
	}
	return slices.DeleteFunc(list, func(f PlantedFault) bool { return f.Actor != actor })
}
