package sdp

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
)

// Crypto is one a=crypto line (RFC 4568): a suite and the master key, with its
// salt, of whoever says it.
type Crypto struct {
	Tag   int
	Suite string
	Key   []byte
	MKI   []byte // that the packets carry, nil for none
}

// NewKeys makes a master key for each suite. They are never repeatable.
func NewKeys(suites ...string) []Crypto {
	var keys []Crypto
	for _, s := range suites {
		key := make([]byte, masterLength)
		_, _ = rand.Read(key) // never fails
		keys = append(keys, Crypto{Suite: s, Key: key})
	}
	return keys
}

// masterLength is that of a key with its salt in the AES_CM_128 suites
// (RFC 4568 §6.2).
const masterLength = 30

// secure is the profile of SRTP (RFC 3711 §12).
const secure = "RTP/SAVP"

// crypto reads the value of an a=crypto line. A line with session parameters
// that change what is sent, or with several keys, is none that we can obey
// (RFC 4568 §6.3).
//
//	1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|2^31|1:1
func crypto(value string) (c Crypto, ok bool) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return c, false
	}
	for _, param := range f[3:] {
		if !strings.HasPrefix(param, "WSH=") { // the window is ours to choose
			return c, false
		}
	}
	tag, err := strconv.ParseUint(f[0], 10, 31)
	inline, found := strings.CutPrefix(f[2], "inline:")
	if err != nil || !found || strings.Contains(inline, ";") {
		return c, false
	}
	parts := strings.Split(inline, "|")
	c.Tag, c.Suite = int(tag), f[1]
	if c.Key, err = base64.StdEncoding.DecodeString(parts[0]); err != nil {
		return c, false
	}
	for _, part := range parts[1:] {
		mki, length, isMKI := strings.Cut(part, ":")
		if !isMKI {
			continue // the lifetime: a call is shorter
		}
		if c.MKI, ok = keyID(mki, length); !ok {
			return c, false
		}
	}
	return c, true
}

// keyID is a master key identifier as it stands in packets.
func keyID(value, length string) ([]byte, bool) {
	n, err := strconv.ParseUint(length, 10, 8)
	v, verr := strconv.ParseUint(value, 10, 63)
	if err != nil || verr != nil || n < 1 || n > 128 {
		return nil, false
	}
	id := make([]byte, n)
	for i := len(id) - 1; i >= 0 && v > 0; i-- {
		id[i], v = byte(v), v>>8
	}
	return id, v == 0
}

func (c Crypto) value() string {
	return strconv.Itoa(c.Tag) + " " + c.Suite + " inline:" + base64.StdEncoding.EncodeToString(c.Key)
}

// Keys are what offer and answer agree on for SRTP.
type Keys struct {
	Tag           int
	Suite         string
	Local, Remote []byte // master keys
	RemoteMKI     []byte
}

// keys picks the first line of a section whose suite, and in an answer whose
// tag, we have a key for.
func (l Local) keys(m *Media, answered bool) *Keys {
	for _, a := range m.Attrs {
		if a.Key != "crypto" {
			continue
		}
		theirs, ok := crypto(a.Value)
		for i, ours := range l.Crypto {
			if ok && ours.Suite == theirs.Suite && len(theirs.Key) == len(ours.Key) && (!answered || theirs.Tag == i+1) {
				return &Keys{theirs.Tag, ours.Suite, ours.Key, theirs.Key, theirs.MKI}
			}
		}
	}
	return nil
}

// HasKeys reports whether MaskKeys would change a text.
func HasKeys(text []byte) bool { return nextInline(text) >= 0 || nextKeyLine(text) >= 0 }

// MaskKeys puts asterisks in place of the keys of SDES and of k= lines, however
// the line around them is spelled, so that a message can be shown. A text
// without keys is returned as it is, any other copied.
func MaskKeys(text []byte) []byte {
	if !HasKeys(text) {
		return text
	}
	text = bytes.Clone(text)
	for _, next := range []func([]byte) int{nextInline, nextKeyLine} {
		rest := text
		for at := next(rest); at >= 0; at = next(rest) {
			rest = bytes.TrimLeft(rest[at:], " \t")
			for i := 0; i < len(rest) && rest[i] > ' ' && rest[i] != '|' && rest[i] != ';'; i++ {
				rest[i] = '*'
			}
		}
	}
	return text
}

// nextInline is where the next key of SDES begins, -1 if none does.
func nextInline(text []byte) int {
	const mark = "inline:" // in any case
	for from := 0; ; {
		colon := bytes.IndexByte(text[from:], ':')
		if colon < 0 {
			return -1
		}
		from += colon + 1
		if from >= len(mark) && strings.EqualFold(string(text[from-len(mark):from]), mark) {
			return from
		}
	}
}

// nextKeyLine is where the value of the next k= line begins (RFC 4566 §5.12).
func nextKeyLine(text []byte) int {
	const mark = "\nk="
	if at := bytes.Index(text, []byte(mark)); at >= 0 {
		return at + len(mark)
	}
	return -1
}
