package sdp

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Codec is an audio encoding that an end speaks.
type Codec struct {
	Name string // "PCMU/8000"
	PT   uint8  // its static payload type (RFC 3551), or the one we offer
}

// PCMU and PCMA are the two laws of G.711.
var (
	PCMU = Codec{"PCMU/8000", 0}
	PCMA = Codec{"PCMA/8000", 8}
)

// G723 is G.723.1, which is named in offers where that is wanted, and not spoken.
var G723 = Codec{"G723/8000", 4}

// Local describes our end of an audio stream.
type Local struct {
	Addr   netip.Addr
	Port   uint16
	Codecs []Codec // in the order of our preference, for an offer
	// Named are offered before Codecs and not spoken: an answer that takes them
	// alone cannot be used.
	Named []Codec
	// Events is the fmtp of telephone-event, such as "0-16"; "" means none.
	Events    string
	EventsPT  uint8    // that we offer
	ID        uint64   // of the origin
	Version   uint64   // of the description: it grows with each that differs (RFC 3264 §8)
	Name      string   // of the session
	Bandwidth []string // such as "CT:10000000"
	Attrs     []Attr   // of the audio section, before the formats
	Ptime     int      // milliseconds; 0 means not said
	// Direction that we offer; "" means SendRecv.
	Direction Direction
	// Crypto are our keys, in the order of our preference; with any of them
	// the media are SRTP, and RTP in clear is not taken.
	Crypto []Crypto
}

func (l Local) proto() string {
	if len(l.Crypto) > 0 {
		return secure
	}
	return "RTP/AVP"
}

// Agreed is what offer and answer come to.
type Agreed struct {
	Codec    Codec
	PT       uint8 // payload type to send the codec with
	EventsPT uint8 // payload type of telephone-event to send, 0 for none
	// ReceiveEventsPT is that of the events that come: our own number, which the
	// peer may not share (RFC 3264 §6.1).
	ReceiveEventsPT uint8

	Remote  netip.AddrPort
	Send    bool  // we may send
	Receive bool  // the peer may send
	Section int   // that carries the audio, from 0
	Keys    *Keys // of SRTP, nil for RTP in clear
}

// Errors of an answer.
var (
	// ErrNoAudio means that no section is audio over RTP/AVP.
	ErrNoAudio = errors.New("sdp: no audio over RTP/AVP is offered")
	// ErrNoSecureAudio means that no section is audio over RTP/SAVP.
	ErrNoSecureAudio = errors.New("sdp: no audio over RTP/SAVP is offered")
	// ErrNoKeys means that no a=crypto line has a suite that we know.
	ErrNoKeys = errors.New("sdp: no a=crypto line with a known suite and one key")
	// ErrNamedOnly means that an answer takes a codec of Local.Named.
	ErrNamedOnly = errors.New("sdp: the answer takes a codec that is offered by name alone, and is not spoken here")
	// ErrNoCodec means that no encoding is common to both ends.
	ErrNoCodec = errors.New("sdp: no common codec")
)

// Offer is our description as the caller.
func Offer(l Local) *Session {
	s := l.session()
	d := l.Direction
	if d == "" {
		d = SendRecv
	}
	m := l.media(s.Conn, d)
	for _, c := range slices.Concat(l.Named, l.Codecs) {
		m.add(c.PT, c.Name, "")
	}
	if l.Events != "" {
		m.add(l.EventsPT, "telephone-event/8000", l.Events)
	}
	m.end(l)
	for i, c := range l.Crypto {
		c.Tag = i + 1
		m.Attrs = append(m.Attrs, Attr{"crypto", c.value()})
	}
	s.Media = []Media{m}
	return s
}

// Answer answers an offer: the first usable audio section is taken, with the
// first codec of the offer that we speak; every other section is refused with
// port 0 (RFC 3264 §6).
func Answer(offer *Session, l Local) (*Session, Agreed, error) {
	s := l.session()
	var agreed Agreed
	failure := l.noAudio()
	for i := range offer.Media {
		o := &offer.Media[i]
		if agreed.PT == 0 && agreed.Codec.Name == "" && o.Kind == "audio" && o.Proto == l.proto() && o.Port != 0 {
			a, err := agree(offer, o, l, false)
			if err == nil {
				agreed = a
				agreed.Section = i
				s.Media = append(s.Media, l.answerMedia(s.Conn, offer.Direction(o).Reverse(), a))
				continue
			}
			failure = err
		}
		s.Media = append(s.Media, Media{Kind: o.Kind, Proto: o.Proto, Formats: o.Formats})
	}
	if agreed.Codec.Name == "" {
		return nil, Agreed{}, failure
	}
	return s, agreed, nil
}

// Accepted reads what an answer to our offer agrees to.
func Accepted(answer *Session, l Local) (Agreed, error) {
	for i := range answer.Media {
		if m := &answer.Media[i]; m.Kind == "audio" && m.Proto == l.proto() && m.Port != 0 {
			return agree(answer, m, l, true)
		}
	}
	return Agreed{}, l.noAudio()
}

func (l Local) noAudio() error {
	if len(l.Crypto) > 0 {
		return ErrNoSecureAudio
	}
	return ErrNoAudio
}

// agree picks the codec of a section and where to send.
func agree(s *Session, m *Media, l Local, answered bool) (Agreed, error) {
	remote, err := s.Remote(m)
	if err != nil {
		return Agreed{}, err
	}
	d := s.Direction(m)
	a := Agreed{Remote: remote, Send: d == SendRecv || d == RecvOnly, Receive: d == SendRecv || d == SendOnly}
	if remote.Addr().IsUnspecified() {
		a.Send = false // hold in the style of RFC 2543
	}
	for _, f := range m.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		name := m.codec(uint8(pt))
		if strings.EqualFold(name, "telephone-event/8000") && l.Events != "" && a.EventsPT == 0 {
			a.EventsPT, a.ReceiveEventsPT = uint8(pt), uint8(pt)
			if answered {
				a.ReceiveEventsPT = l.EventsPT
			}
		}
		for _, c := range l.Codecs {
			if a.Codec.Name == "" && strings.EqualFold(name, c.Name) {
				a.Codec, a.PT = c, uint8(pt)
			}
		}
	}
	if a.Codec.Name == "" {
		if slices.ContainsFunc(l.Named, func(c Codec) bool { return slices.Contains(m.Formats, strconv.Itoa(int(c.PT))) }) {
			return Agreed{}, ErrNamedOnly
		}
		return Agreed{}, ErrNoCodec
	}
	if len(l.Crypto) > 0 {
		if a.Keys = l.keys(m, answered); a.Keys == nil {
			return Agreed{}, ErrNoKeys
		}
	}
	return a, nil
}

// codec names a payload type by its rtpmap, or by RFC 3551 for the static
// types that we know.
func (m *Media) codec(pt uint8) string {
	want := strconv.Itoa(int(pt)) + " "
	for _, a := range m.Attrs {
		if rest, ok := strings.CutPrefix(a.Value, want); ok && a.Key == "rtpmap" {
			return strings.TrimSuffix(strings.TrimSpace(rest), "/1")
		}
	}
	switch pt {
	case PCMU.PT:
		return PCMU.Name
	case PCMA.PT:
		return PCMA.Name
	}
	return ""
}

func (l Local) session() *Session {
	conn, family := l.Addr.String(), " IN IP4 "
	if l.Addr.Is6() {
		family = " IN IP6 "
	}
	origin := "- " + strconv.FormatUint(l.ID, 10) + " " + strconv.FormatUint(l.Version, 10) + family + conn
	return &Session{Origin: origin, Name: l.Name, Conn: conn, Bandwidth: l.Bandwidth}
}

func (l Local) media(conn string, d Direction) Media {
	m := Media{Kind: "audio", Port: l.Port, Proto: l.proto(), Conn: conn}
	m.Attrs = append(m.Attrs, l.Attrs...)
	m.Attrs = append(m.Attrs, Attr{Key: string(d)})
	return m
}

func (m *Media) add(pt uint8, name, fmtp string) {
	n := strconv.Itoa(int(pt))
	m.Formats = append(m.Formats, n)
	m.Attrs = append(m.Attrs, Attr{"rtpmap", n + " " + name})
	if fmtp != "" {
		m.Attrs = append(m.Attrs, Attr{"fmtp", n + " " + fmtp})
	}
}

func (m *Media) end(l Local) {
	if l.Ptime > 0 {
		m.Attrs = append(m.Attrs, Attr{"ptime", strconv.Itoa(l.Ptime)})
	}
}

func (l Local) answerMedia(conn string, d Direction, a Agreed) Media {
	m := l.media(conn, d)
	m.add(a.PT, a.Codec.Name, "")
	if a.EventsPT != 0 {
		m.add(a.EventsPT, "telephone-event/8000", l.Events)
	}
	m.end(l)
	if a.Keys != nil {
		m.Attrs = append(m.Attrs, Attr{"crypto", Crypto{Tag: a.Keys.Tag, Suite: a.Keys.Suite, Key: a.Keys.Local}.value()})
	}
	return m
}
