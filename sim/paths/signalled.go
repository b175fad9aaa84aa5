package paths

import "strings"

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
		if by := b.signalling(f); by != nil {
			f.By = by
			continue
		}
		f.Unproven = "the filter is to open media by the signalling that it reads, and " + f.From.Name + " places no call in clear to " + f.To.Name
	}
}

// signalling is the path over which calls are answered with a session
// description: to a worker process, else the first.
func (b *builder) signalling(media *Flow) *Flow {
	var first *Flow
	for _, f := range b.flows {
		if f.From != media.From || f.To != media.To || f.Target != media.Target || f.Transport != "tcp" || f.Protocol != "SIP" || f.TLS == "mutual" || f.Expect != Open || f.Ports.Len() != 1 {
			continue
		}
		for _, r := range f.Rests {
			if strings.Contains(r.Path.ID, "worker") {
				return f
			}
		}
		if first == nil {
			first = f
		}
	}
	return first
}
