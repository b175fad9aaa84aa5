package rtp

// Codec is an encoding of 8 kHz audio with one octet a sample.
type Codec uint8

// The two laws of G.711; their values are the static payload types of
// RFC 3551 §6.
const (
	PCMU Codec = 0
	PCMA Codec = 8
)

// String is the rtpmap name.
func (c Codec) String() string {
	if c == PCMA {
		return "PCMA/8000"
	}
	return "PCMU/8000"
}

// Silence is the octet of zero amplitude.
func (c Codec) Silence() byte {
	if c == PCMA {
		return 0xd5
	}
	return 0xff
}

// Encode turns a linear sample into an octet.
func (c Codec) Encode(sample int16) byte {
	if c == PCMA {
		return encodeA(sample)
	}
	return encodeMu(sample)
}

// Decode turns an octet into a linear sample.
func (c Codec) Decode(octet byte) int16 {
	if c == PCMA {
		return decodeATable[octet]
	}
	return decodeMuTable[octet]
}

// ToPCMU is audio in mu-law.
func (c Codec) ToPCMU(b []byte) []byte { return PCMU.Convert(b, c) }

// Convert re-encodes octets of another law in place and returns them.
func (c Codec) Convert(b []byte, from Codec) []byte {
	if c != from {
		for i := range b {
			b[i] = c.Encode(from.Decode(b[i]))
		}
	}
	return b
}

var decodeMuTable, decodeATable = func() (mu, a [256]int16) {
	for i := range 256 {
		mu[i], a[i] = decodeMu(byte(i)), decodeA(byte(i))
	}
	return mu, a
}()

const muBias = 0x84

// decodeMu follows ITU-T G.711 table 2: sign, three bits of exponent, four of
// mantissa, all inverted.
func decodeMu(octet byte) int16 {
	octet = ^octet
	exp, mantissa := octet>>4&7, int(octet&15)
	v := (mantissa<<3+muBias)<<exp - muBias
	if octet&0x80 != 0 {
		return int16(-v)
	}
	return int16(v)
}

func encodeMu(sample int16) byte {
	v, sign := int(sample), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 32635) + muBias
	exp := byte(7)
	for mask := 0x4000; v&mask == 0 && exp > 0; mask >>= 1 {
		exp--
	}
	return ^(sign | exp<<4 | byte(v>>(exp+3))&15)
}

// decodeA follows ITU-T G.711 table 1; even bits are inverted.
func decodeA(octet byte) int16 {
	octet ^= 0x55
	exp, mantissa := octet>>4&7, int(octet&15)
	v := mantissa<<4 + 8
	if exp > 0 {
		v = (v + 0x100) << (exp - 1)
	}
	if octet&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

func encodeA(sample int16) byte {
	v, sign := int(sample), byte(0x80)
	if v < 0 {
		v, sign = -v-1, 0
	}
	v >>= 3 // 13 bits
	exp := byte(7)
	for mask := 0x800; v&mask == 0 && exp > 1; mask >>= 1 {
		exp--
	}
	var mantissa byte
	if v < 0x20 {
		exp, mantissa = 0, byte(v>>1)
	} else {
		mantissa = byte(v>>exp) & 15
	}
	return (sign | exp<<4 | mantissa) ^ 0x55
}
