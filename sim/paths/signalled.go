package paths

import (
	"slices"
	"strings"
)

// Media says how a filter opens the ports of media.
type Media string

// The ways: by rules for their range, or by reading SIP and opening those of
// each call.
const (
	Static    Media = "static"
	Signalled Media = "signalled"
)

// signalled finds for each path of media the signalling in clear by which the
// filter opens it: a call of the same sender.
func (b *builder) signalled() {
	if b.p.Media != Signalled {
		return
	}
	for _, f := range b.flows {
		if f.Transport != "udp" || f.Protocol != "RTP" && f.Protocol != "RTCP" || f.Expect != Open || f.Unproven != "" {
			continue
		}
		if f.Calls = b.calls(f); len(f.Calls) == 0 {
			f.Unproven = "the filter is to open media by the signalling that it reads, and " + f.From.Name + " places no call in clear to " + f.To.Name
		}
	}
}

// calls are the paths over which calls are answered with a session description:
// to worker processes, which are two in turn, else the first.
func (b *builder) calls(media *Flow) []*Flow {
	var workers, others []*Flow
	for _, f := range b.flows {
		if f.From != media.From || f.To != media.To || f.Target != media.Target || f.Transport != "tcp" || f.Protocol != "SIP" || f.TLS == "mutual" || f.Expect != Open || f.Ports.Len() != 1 {
			continue
		}
		if slices.ContainsFunc(f.Rests, func(r Rest) bool { return strings.Contains(r.Path.ID, "worker") }) {
			workers = append(workers, f)
		} else {
			others = append(others, f)
		}
	}
	if len(workers) == 0 {
		return others[:min(len(others), 1)]
	}
	return workers
}

// Call is the path of the call in which a port of media is tried, nil where rules
// open it: RTP and RTCP share one.
func (f *Flow) Call(port uint16) *Flow {
	if len(f.Calls) == 0 {
		return nil
	}
	return f.Calls[int(port/2)%len(f.Calls)]
}

// CallPorts are the ports on which a filter must read SIP for this media.
func (f *Flow) CallPorts() PortSet {
	var set PortSet
	for _, c := range f.Calls {
		set.AddSet(c.Ports)
	}
	return set
}
