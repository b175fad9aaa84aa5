package sdp

// Fax says what an offer wants for a fax, "" if it is none: T.38 (RFC 3362), or
// G.711 as voice-band data (ITU-T V.152).
func (s *Session) Fax() string {
	for i := range s.Media {
		m := &s.Media[i]
		if m.Kind == "image" && m.Port != 0 {
			return "T.38"
		}
		for _, a := range m.Attrs {
			if a.Key == "silenceSupp" && len(a.Value) >= 3 && a.Value[:3] == "off" || a.Key == "gpmd" {
				return "G.711"
			}
		}
	}
	return ""
}

// AnswerHeld takes every section of an offer, and lets nothing pass in it: the
// peer is on hold.
func AnswerHeld(offer *Session, l Local) *Session {
	s := l.session()
	for i := range offer.Media {
		m := Media{Kind: offer.Media[i].Kind, Proto: offer.Media[i].Proto, Formats: offer.Media[i].Formats, Conn: s.Conn}
		if offer.Media[i].Port != 0 {
			m.Port = l.Port
			m.Attrs = []Attr{{string(Inactive), ""}}
		}
		s.Media = append(s.Media, m)
	}
	return s
}
