package sdp

import "strings"

// Fax says what an offer wants for a fax, "" if it is none: T.38 (RFC 3362), or
// G.711 as voice-band data (ITU-T V.152).
func (s *Session) Fax() string {
	for i := range s.Media {
		m := &s.Media[i]
		if m.Port == 0 {
			continue
		}
		if m.Kind == "image" {
			return T38
		}
		for _, a := range m.Attrs {
			if a.Key == "gpmd" && strings.Contains(a.Value, "vbd=yes") {
				return "G.711"
			}
		}
	}
	return ""
}

// T38 is a fax as data (RFC 3362).
const T38 = "T.38"

// AnswerHeld takes the first section of an offer in clear that is open, and lets
// nothing pass in it: the peer is on hold. The others are refused.
func AnswerHeld(offer *Session, l Local) *Session {
	s := l.session()
	taken := false
	for i := range offer.Media {
		m := Media{Kind: offer.Media[i].Kind, Proto: offer.Media[i].Proto, Formats: offer.Media[i].Formats, Conn: s.Conn}
		if offer.Media[i].Port != 0 && !taken && m.Proto != secure {
			taken, m.Port = true, l.Port
			m.Attrs = []Attr{{string(Inactive), ""}}
		}
		s.Media = append(s.Media, m)
	}
	return s
}
