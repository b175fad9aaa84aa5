package ends

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"

	"github.com/exsim/exsim/sim/paths"
)

// A probe of a media port is RTP on an even port and RTCP on an odd one
// (RFC 3550): its header is made of the nonce, and its payload is the line.
const (
	rtpHeader = 12  // of RTP, and of an RTCP packet APP with its name
	appPacket = 204 // RFC 3550 §6.7
	appName   = "EXSM"
)

// ef is Expedited Forwarding (RFC 3246), what media is marked with.
const ef = 46

// isMedia says whether a flow is of RTP.
func isMedia(f *paths.Flow) bool { return f.Transport == "udp" && f.Protocol == "RTP" }

// header is that of a media packet with a line of n octets.
func header(port uint16, nonce string, n int) (h [rtpHeader]byte) {
	chance, _ := hex.DecodeString(nonce[:2*(rtpHeader-2)])
	h[0] = 0x80 // version 2
	if port%2 == 0 {
		copy(h[2:], chance) // payload type 0, then sequence number, time and source
		return h
	}
	h[1] = appPacket
	binary.BigEndian.PutUint16(h[2:], uint16((len(h)+n)/4-1))
	copy(h[4:8], chance)
	copy(h[8:], appName)
	return h
}

// packet is what is sent to a UDP port.
func (m *mint) packet(word string, f *paths.Flow, port uint16, nonce, contact string) []byte {
	c := m.codes(f, port, nonce)
	return c.appendPacket(make([]byte, 0, 112+len(contact)), word, f, port, nonce, contact)
}

// appendPacket appends it. RTCP is filled up to words of four octets.
func (c *codes) appendPacket(b []byte, word string, f *paths.Flow, port uint16, nonce, contact string) []byte {
	if !isMedia(f) {
		return c.appendLine(b, word, port, nonce, contact)
	}
	at := len(b)
	var h [rtpHeader]byte
	b = c.appendLine(append(b, h[:]...), word, port, nonce, contact)
	for port%2 == 1 && (len(b)-at)%4 != 0 {
		b = append(b[:len(b)-1], ' ', '\n')
	}
	h = header(port, nonce, len(b)-at-rtpHeader)
	copy(b[at:], h[:])
	return b
}

// parsed is a datagram that bears a line of a word.
type parsed struct {
	nonce string
	code  []byte
}

// parse finds the nonce and the token of a datagram; false if it is no such
// line.
func parse(f *paths.Flow, port uint16, word string, b []byte) (parsed, bool) {
	line := b
	if isMedia(f) {
		if len(b) < rtpHeader {
			return parsed{}, false
		}
		line = b[rtpHeader:]
	}
	const start = len(magic) + 1 + len(wordProbe) + 1
	const digits = nonceDigits + 1 + codeDigits
	if len(line) < start+digits+2 || string(line[:start]) != magic+" "+word+" " || line[len(line)-1] != '\n' {
		return parsed{}, false
	}
	p := parsed{nonce: string(line[start : start+nonceDigits]), code: line[start+nonceDigits+1 : start+digits]}
	rest, _, _ := bytes.Cut(bytes.TrimRight(line[start+digits+1:], "\n"), []byte(" "))
	if string(rest) != strconv.Itoa(int(port)) || !isHex(p.nonce) || line[start+nonceDigits] != '-' {
		return parsed{}, false
	}
	if isMedia(f) && header(port, p.nonce, len(line)) != [rtpHeader]byte(b) {
		return parsed{}, false // a header was changed
	}
	return p, true
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// owner says whose probe a datagram is, and knows the codes of its nonce.
func (in *inbox) owner(port uint16, b []byte) (owner *inbox, nonce string, c codes, ok bool) {
	for _, o := range *in.shared.Load() {
		if p, ok := parse(o.flow, port, wordProbe, b); ok {
			if c = in.e.mint.codes(o.flow, port, p.nonce); c.is(wordProbe, p.code) {
				return o, p.nonce, c, true
			}
		}
	}
	return in, "", c, false
}

// datagram takes what arrived on a UDP port, with its mark (DSCP, -1 where that
// is not known), and appends its answer: nothing for what is no probe of the
// other end.
func (in *inbox) datagram(to, b []byte, port uint16, from netip.AddrPort, dscp int) []byte {
	in, nonce, c, ok := in.owner(port, b)
	in.mu.Lock()
	defer in.mu.Unlock()
	if !ok {
		in.strange(port, from, b)
		return to
	}
	in.arrived(port, from)
	if isMedia(in.flow) && dscp >= 0 && len(in.got.DSCP) < maxSources && !slices.Contains(in.got.DSCP, dscp) {
		in.got.DSCP = append(in.got.DSCP, dscp)
	}
	return c.appendPacket(to, wordReply, in.flow, port, nonce, "")
}
