package sip

// hdr tells apart the headers that the head scan understands.
type hdr uint8

const (
	hdrOther hdr = iota
	hdrVia
	hdrFrom
	hdrTo
	hdrCallID
	hdrCSeq
	hdrContact
	hdrRecordRoute
	hdrContentLength
	hdrMaxForwards
)

// headerID knows the long and the compact names (RFC 3261 §7.3.3).
func headerID(name []byte) hdr {
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v':
			return hdrVia
		case 'f':
			return hdrFrom
		case 't':
			return hdrTo
		case 'i':
			return hdrCallID
		case 'm':
			return hdrContact
		case 'l':
			return hdrContentLength
		}
	case 2:
		return match(name, "to", hdrTo)
	case 3:
		return match(name, "via", hdrVia)
	case 4:
		if name[0]|0x20 == 'f' {
			return match(name, "from", hdrFrom)
		}
		return match(name, "cseq", hdrCSeq)
	case 7:
		if name[1]|0x20 == 'a' {
			return match(name, "call-id", hdrCallID)
		}
		return match(name, "contact", hdrContact)
	case 12:
		if name[0]|0x20 == 'm' {
			return match(name, "max-forwards", hdrMaxForwards)
		}
		return match(name, "record-route", hdrRecordRoute)
	case 14:
		return match(name, "content-length", hdrContentLength)
	}
	return hdrOther
}

func match(name []byte, want string, id hdr) hdr {
	if equalFold(name, want) {
		return id
	}
	return hdrOther
}
