package capture

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/exsim/exsim/sim/trace"
)

// The interfaces of a file.
const (
	faceWire  = iota // IP packets
	facePlain        // what was SRTP, as payload of RTP without IP around it
)

// linkUpperPDU is LINKTYPE_WIRESHARK_UPPER_PDU: a payload with the name of its
// dissector, and its addresses, before it.
const linkUpperPDU layers.LinkType = 252

// Options say what a file shows.
type Options struct {
	Program string // version of exsim
	// Log is the timeline of the run: what verdicts rest on is noted at its
	// packets, and keys of sessions in which somebody logged on are left out.
	Log *trace.Log
	// Secrets are starred in what went in clear; with any, no TLS key is
	// written.
	Secrets []string
}

// Write makes the file of what was collected until now.
func (c *Capture) Write(w io.Writer, o Options) error {
	notes, loggedOn := read(o.Log)
	k := &keys{loggedOn: loggedOn, withheld: len(o.Secrets) > 0, open: map[*stream]bool{}, decode: map[string]bool{}}
	// First every packet is looked at: which one a note belongs to, and whose
	// keys may be shown, is known behind the last one.
	find := finder{notes: notes}
	if err := c.compose(o.Secrets, k, func(p *packet) error { find.look(p); return nil }); err != nil {
		return err
	}
	at := find.found()
	out := bufio.NewWriterSize(w, 256<<10)
	log := k.log()
	comment := k.comment()
	if o.Log != nil {
		comment += " " + RunMark(o.Log.Start())
	}
	ng, err := head(out, o.Program, comment, log)
	if err != nil {
		return err
	}
	err = c.compose(o.Secrets, nil, func(p *packet) error {
		ci := gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.octets), Length: len(p.octets), InterfaceIndex: p.face}
		return ng.WritePacketWithOptions(ci, p.octets, pcapgo.NgPacketOptions{Comments: append(p.notes, at[p.number]...)})
	})
	return errors.Join(err, ng.Flush(), out.Flush())
}

// RunMark stands in the comment of a file: when the log of its run began, as the
// log's first event has it.
func RunMark(begun time.Time) string {
	return "Run of " + begun.UTC().Format(time.RFC3339Nano) + "."
}

// head writes all that stands before the packets.
func head(out *bufio.Writer, program, comment string, log []byte) (*pcapgo.NgWriter, error) {
	wire := pcapgo.NgInterface{Name: "exsim", Description: "exsim's own ends; segments of TCP are made up", LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
	section := pcapgo.NgSectionInfo{Application: strings.TrimSpace("exsim " + program), Comment: comment}
	ng, err := pcapgo.NewNgWriterInterface(out, wire, pcapgo.NgWriterOptions{SectionInfo: section})
	if err != nil {
		return nil, err
	}
	plain := pcapgo.NgInterface{Name: "exsim-plain", Description: "SRTP and SRTCP, deciphered", LinkType: linkUpperPDU, TimestampResolution: 9}
	if _, err := ng.AddInterface(plain); err != nil {
		return nil, err
	}
	if err := ng.Flush(); err != nil {
		return nil, err
	}
	return ng, secretsBlock(out, log)
}

// secretsBlock writes a Decryption Secrets Block with a TLS key log
// (draft-ietf-opsawg-pcapng §4.7), which the library cannot.
func secretsBlock(w io.Writer, log []byte) error {
	if len(log) == 0 {
		return nil
	}
	const blockType, keyLog = 0x0000000a, 0x544c534b
	padded := append(bytes.Clone(log), make([]byte, (4-len(log)%4)%4)...)
	total := uint32(20 + len(padded)) //nolint:gosec // key logs are no gigabytes
	var b []byte
	for _, v := range []uint32{blockType, total, keyLog, uint32(len(log))} { //nolint:gosec // likewise
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint32(append(b, padded...), total)
	_, err := w.Write(b)
	return err
}

// keys are the TLS key log, and whose lines are left out.
type keys struct {
	loggedOn map[tuple]bool
	withheld bool // all of it
	lines    []string
	hidden   map[string]bool  // client randoms of sessions that hide a log-on
	open     map[*stream]bool // log-ons in TLS whose client random was not found
	decode   map[string]bool  // what a reader has to be told of ports
}

// log is what may be shown.
func (k *keys) log() []byte {
	for _, unknown := range k.open {
		k.withheld = k.withheld || unknown
	}
	if k.withheld {
		return nil
	}
	var b []byte
	for _, line := range k.lines {
		if words := strings.Fields(line); len(words) == 3 && !k.hidden[strings.ToLower(words[1])] {
			b = append(b, line...)
		}
	}
	return b
}

// see notes of a connection what the head of the file says.
func (k *keys) see(s *stream) {
	if k == nil {
		return
	}
	server := s.local
	if s.dialled {
		server = s.remote
	}
	switch port := server.Port(); {
	case s.proto.is == "tls" && port != 5061:
		k.decode[fmt.Sprintf("-d tls.port==%d,sip", port)] = true
	case s.proto.is == "sip" && port != 5060:
		k.decode[fmt.Sprintf("-d tcp.port==%d,sip", port)] = true
	case s.proto.is == "smtp" && port != 25 && port != 587:
		k.decode[fmt.Sprintf("-d tcp.port==%d,smtp", port)] = true
	}
	if !s.proto.secured || !k.loggedOn[tupleOf(s.local, s.remote)] {
		return
	}
	k.open[s] = s.proto.random == nil // until its ClientHello is whole, nobody knows whose keys these are
	if s.proto.random != nil {
		if k.hidden == nil {
			k.hidden = map[string]bool{}
		}
		k.hidden[hex.EncodeToString(s.proto.random)] = true
	}
}

// comment is that of the file.
func (k *keys) comment() string {
	text := "Made from exsim's own ends: payload, addresses and times are real, TCP's segments are made up."
	if len(k.decode) > 0 {
		list := make([]string, 0, len(k.decode))
		for d := range k.decode {
			list = append(list, d)
		}
		slices.Sort(list)
		text += " Protocols on other ports than usual: tshark " + strings.Join(list, " ") + " (Wireshark: Analyze, Decode As)."
	}
	if k.withheld {
		text += " The keys of TLS are left out, because the run has secrets, or because it is not known whose are those of a log-on."
	} else if len(k.hidden) > 0 {
		text += fmt.Sprintf(" The keys of %d TLS sessions are left out, because somebody logs on in them.", len(k.hidden))
	}
	return text
}

// compose makes all packets in the order of their times. k, if set, takes the
// keys.
func (c *Capture) compose(secrets []string, k *keys, take func(p *packet) error) error {
	in, err := c.rewind()
	if err != nil {
		return err
	}
	streams := map[uint32]*stream{}
	order := ordered{take: take}
	for {
		var r record
		if err := r.read(in, c.start); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if r.kind == keyLine {
			if k != nil {
				k.lines = append(k.lines, string(r.data))
			}
			continue
		}
		for _, p := range packetsOf(&r, streams, secrets) {
			if err := order.add(p); err != nil {
				return err
			}
		}
		if s := streams[r.conn]; s != nil && r.kind == data {
			k.see(s)
		}
	}
	return order.rest()
}

// packetsOf makes the packets of a record.
func packetsOf(r *record, streams map[uint32]*stream, secrets []string) []*packet {
	for _, secret := range secrets {
		r.data = bytes.ReplaceAll(r.data, []byte(secret), bytes.Repeat([]byte("*"), len(secret)))
	}
	if r.kind == datagram {
		return datagramPackets(r)
	}
	s := streams[r.conn]
	if s == nil {
		s = &stream{}
		streams[r.conn] = s
	}
	switch r.kind {
	case opened:
		return s.open(r)
	case data:
		return s.data(r)
	}
	return s.end(r)
}

// rtpHeader is the length of an RTP header without extensions, which stays when
// a payload is starred.
const rtpHeader = 12

// datagramPackets is a datagram as it was, and what was in it.
func datagramPackets(r *record) []*packet {
	var notes []string
	if r.flags&flagStarred != 0 {
		notes = []string{"exsim: a digit of a secret; the payload is left out"}
		for _, b := range [][]byte{r.data, r.plain} {
			if len(b) > rtpHeader {
				clear(b[rtpHeader:])
			}
		}
	}
	from, to := r.local, r.remote
	if !r.out() {
		from, to = to, from
	}
	p := packet{at: r.at, face: faceWire, notes: notes, out: r.out(), peer: r.remote, local: r.local, payload: true}
	wire := p
	wire.octets = ip(from, to, layers.IPProtocolUDP, &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}, r.data)
	if r.plain == nil {
		return []*packet{&wire}
	}
	plain := p
	plain.face, plain.octets = facePlain, upperPDU(from, to, r.flags&flagControl != 0, r.plain)
	if !from.Addr().Is4() {
		return []*packet{&plain} // see upperPDU
	}
	return []*packet{&wire, &plain}
}

// upperPDU is a payload for Wireshark's dissectors without IP around it. The
// addresses are the same ones, those of IPv4 as IPv6 has them: under equal
// addresses both, the sealed and the plain, would be counted as one stream.
func upperPDU(from, to netip.AddrPort, control bool, payload []byte) []byte {
	const dissector, sourceV6, targetV6, portType, sourcePort, targetPort, udp = 12, 22, 23, 24, 25, 26, 3
	var b []byte
	tag := func(t uint16, value []byte) {
		b = binary.BigEndian.AppendUint16(b, t)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value))) //nolint:gosec // values of a few octets
		b = append(b, value...)
	}
	number := func(t uint16, v uint32) { tag(t, binary.BigEndian.AppendUint32(nil, v)) }
	name := "rtp\x00"
	if control {
		name = "rtcp"
	}
	tag(dissector, []byte(name))
	a, z := from.Addr().As16(), to.Addr().As16()
	tag(sourceV6, a[:])
	tag(targetV6, z[:])
	number(portType, udp)
	number(sourcePort, uint32(from.Port()))
	number(targetPort, uint32(to.Port()))
	tag(0, nil)
	return append(b, payload...)
}

// ordered puts packets in the order of their times: what a socket tells of its
// datagrams' arrival lies a little behind.
type ordered struct {
	take  func(p *packet) error
	heap  packets
	last  time.Time // that came in
	taken int
	until time.Time // that went out
}

// patience is more than any datagram waits to be read.
const patience = 2 * time.Second

func (o *ordered) add(p *packet) error {
	o.taken++
	p.number = o.taken
	if p.at.After(o.last) {
		o.last = p.at
	}
	heap.Push(&o.heap, p)
	for len(o.heap) > 0 && o.last.Sub(o.heap[0].at) > patience {
		if err := o.out(); err != nil {
			return err
		}
	}
	return nil
}

func (o *ordered) rest() error {
	for len(o.heap) > 0 {
		if err := o.out(); err != nil {
			return err
		}
	}
	return nil
}

func (o *ordered) out() error {
	p, _ := heap.Pop(&o.heap).(*packet)
	if p.at.Before(o.until) { // it waited longer than that
		p.at = o.until
	}
	o.until = p.at
	return o.take(p)
}

// packets is a heap by time, and by order of arrival.
type packets []*packet

func (h packets) Len() int { return len(h) }
func (h packets) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].number < h[j].number
	}
	return h[i].at.Before(h[j].at)
}
func (h packets) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packets) Push(x any) {
	if p, ok := x.(*packet); ok {
		*h = append(*h, p)
	}
}
func (h *packets) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}
