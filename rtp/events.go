package rtp

import (
	"net/netip"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

var noCause = trace.Session{}

type opened struct{ at netip.AddrPort }

func (opened) EventName() string { return "rtp.opened" }
func (e opened) AppendTo(f *trace.Fields) {
	f.Text("local", e.at.String())
	f.Int("port", int64(e.at.Port()))
}

type released struct{ at netip.AddrPort }

func (released) EventName() string { return "rtp.released" }
func (e released) AppendTo(f *trace.Fields) {
	f.Text("local", e.at.String())
	f.Int("port", int64(e.at.Port()))
}

type firstPacket struct {
	from netip.AddrPort
	pt   uint8
	ssrc uint32
}

func (firstPacket) EventName() string { return "rtp.started" }
func (e firstPacket) AppendTo(f *trace.Fields) {
	f.Text("peer", e.from.String())
	f.Int("payload_type", int64(e.pt))
	f.Int("ssrc", int64(e.ssrc))
}

type ignored struct {
	from netip.AddrPort
	why  string
}

func (ignored) EventName() string { return "rtp.ignored" }
func (e ignored) AppendTo(f *trace.Fields) {
	f.Text("peer", e.from.String())
	f.Text("why", e.why)
}

type toneHeard struct {
	tone Heard
	how  string
}

func (toneHeard) EventName() string { return "rtp.tone" }
func (e toneHeard) AppendTo(f *trace.Fields) {
	f.Text("tone", string(e.tone))
	f.Text("by", e.how)
}

type digit struct {
	direction string
	d         byte
}

func (digit) EventName() string { return "rtp.digit" }
func (e digit) AppendTo(f *trace.Fields) {
	f.Text("direction", e.direction)
	f.Text("digit", string(e.d))
}

type reported struct {
	lost   int64
	jitter time.Duration
}

func (reported) EventName() string { return "rtp.reported" }
func (e reported) AppendTo(f *trace.Fields) {
	f.Int("lost", e.lost)
	f.Duration("jitter", e.jitter)
}

// oneWay says that nothing was heard any more, or ever, while we went on sending.
type oneWay struct {
	peer          netip.AddrPort
	after, length time.Duration
}

func (oneWay) EventName() string { return "rtp.one_way" }
func (e oneWay) AppendTo(f *trace.Fields) {
	f.Text("direction", "received")
	f.Text("peer", e.peer.String())
	f.Duration("after", e.after)
	f.Duration("length", e.length)
}

type ended struct {
	direction string
	p         Params
	s         Stats
}

func (ended) EventName() string { return "rtp.ended" }
func (e ended) AppendTo(f *trace.Fields) {
	f.Text("direction", e.direction)
	f.Text("codec", e.p.Codec.String())
	f.Text("peer", e.p.Remote.String())
	f.Int("packets", int64(e.s.Packets))
	f.Int("octets", int64(e.s.Octets))
	f.Int("lost", int64(e.s.Lost))
	f.Int("reordered", int64(e.s.Reordered))
	f.Int("duplicates", int64(e.s.Duplicates))
	f.Duration("jitter", e.s.Jitter)
	f.Duration("max_jitter", e.s.MaxJitter)
	f.Duration("first", e.s.First)
	f.Duration("last", e.s.Last)
	f.Int("gaps", int64(e.s.Gaps))
	f.Duration("longest_gap", e.s.LongestGap)
	f.Int("dscp", int64(e.s.DSCP))
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	port := []trace.FieldType{{Key: "local", Means: "our address and port"}, {Key: "port", Means: "our RTP port"}}
	peer := trace.FieldType{Key: "peer", Means: "address and port of the other side"}
	direction := trace.FieldType{Key: "direction", Means: "sent or received, as this host sees it"}
	return []trace.EventType{
		{Name: "rtp.opened", Means: "a port pair was bound for a call", Fields: port},
		{Name: "rtp.released", Means: "a port pair was freed without media", Fields: port},
		{Name: "rtp.started", Means: "the first packet came in", Fields: []trace.FieldType{
			peer, {Key: "payload_type", Means: "its payload type"}, {Key: "ssrc", Means: "its synchronisation source"}}},
		{Name: "rtp.ignored", Means: "a datagram could not be used; told once for each reason", Fields: []trace.FieldType{
			peer, {Key: "why", Means: "what was wrong with it"}}},
		{Name: "rtp.tone", Means: "a fax machine's calling tone", Fields: []trace.FieldType{
			{Key: "tone", Means: "CNG"}, {Key: "by", Means: "audio, or event: a telephone event 36"}}},
		{Name: "rtp.digit", Means: "a telephone event", Fields: []trace.FieldType{
			direction, {Key: "digit", Means: "0-9, *, # or A-D; ? for one that is a secret"}}},
		{Name: "rtp.reported", Means: "the peer's RTCP report about what we sent", Fields: []trace.FieldType{
			{Key: "lost", Means: "packets that the peer misses"}, {Key: "jitter", Means: "interarrival jitter that the peer sees"}}},
		{Name: "rtp.ended", Means: "a stream is over; one event for each direction", Fields: []trace.FieldType{
			direction, {Key: "codec", Means: "encoding agreed on"}, peer,
			{Key: "packets", Means: "packets"}, {Key: "octets", Means: "octets of payload"},
			{Key: "lost", Means: "missing sequence numbers"}, {Key: "reordered", Means: "packets behind a later one"},
			{Key: "duplicates", Means: "packets that came twice"},
			{Key: "jitter", Means: "interarrival jitter at the end"}, {Key: "max_jitter", Means: "its highest value"},
			{Key: "first", Means: "time of the first packet since the log began"}, {Key: "last", Means: "time of the last one"},
			{Key: "gaps", Means: "pauses of more than 200 ms"}, {Key: "longest_gap", Means: "the longest of them"},
			{Key: "dscp", Means: "mark of the last packet (RFC 2474), 0 where the system does not tell"}}},
		{Name: "rtp.course", Means: "how one direction of a stream went over time; lists have a number for each stretch, separated by blanks", Fields: []trace.FieldType{
			direction, {Key: "begin", Means: "time of the first packet since the log began"}, {Key: "width", Means: "length of a stretch"},
			{Key: "packets", Means: "packets in each"}, {Key: "level", Means: "mean amplitude of the audio in dB below full scale, -90 for silence"},
			{Key: "lost", Means: "packets found missing in each; of what is received"},
			{Key: "jitter", Means: "highest interarrival jitter in each, in microseconds; of what is received"}}},
		{Name: "rtp.one_way", Means: "one-way audio: for the last seconds of the stream nothing came, while packets went the other way", Fields: []trace.FieldType{
			direction, peer, {Key: "after", Means: "since the media began, until the last packet"}, {Key: "length", Means: "from then to the end"}}},
	}
}
