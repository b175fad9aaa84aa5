package ends

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/exsim/exsim/sim/paths"
)

// A probe and its answer are one line of text, for whoever finds it in a
// capture: who asks, on which port, and the contact. The answer is never longer
// than the probe.
//
//	EXSIM1 PROBE <token> <port> <contact>
//	EXSIM1 REPLY <token> <port>
//
// A token is a random number and a code that only the two ends of a plan can
// make, of the number, the flow, the port and the word.
const (
	wordProbe = "PROBE"
	wordReply = "REPLY"
	magic     = "EXSIM1"
)

const (
	nonceDigits = 32
	codeDigits  = 16
)

var tokens = regexp.MustCompile(`[0-9a-f]{32}-[0-9a-f]{16}`)

func newNonce() string {
	var b [nonceDigits / 2]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}

// mint makes the codes of tokens, from the key of the two ends.
type mint struct{ macs sync.Pool }

func newMint(key []byte) *mint {
	m := &mint{}
	m.macs.New = func() any { return hmac.New(sha256.New, key) }
	return m
}

// codes are those of both words for a nonce and a place. They are parts of one
// sum: whoever sees the probe does not know the reply.
type codes [codeDigits]byte

func (m *mint) codes(f *paths.Flow, port uint16, nonce string) (c codes) {
	h := m.macs.Get().(hash.Hash)
	h.Reset()
	var in [128]byte
	h.Write(append(strconv.AppendUint(append(append(in[:0], f.ID...), '|'), uint64(port), 10), nonce...))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	m.macs.Put(h)
	copy(c[:], sum[:])
	return c
}

// of is the code of a word, as it is written.
func (c *codes) of(word string) (text [codeDigits]byte) {
	part := c[:codeDigits/2]
	if word == wordReply {
		part = c[codeDigits/2:]
	}
	hex.Encode(text[:], part)
	return text
}

// is says whether a text is the code of a word.
func (c *codes) is(word string, text []byte) bool {
	want := c.of(word)
	return hmac.Equal(text, want[:])
}

// token makes a token of a nonce.
func (m *mint) token(word string, f *paths.Flow, port uint16, nonce string) string {
	c := m.codes(f, port, nonce)
	return string(c.appendToken(nil, word, nonce))
}

func (c *codes) appendToken(b []byte, word, nonce string) []byte {
	code := c.of(word)
	return append(append(append(b, nonce...), '-'), code[:]...)
}

// good says whether a token was made by the other end for this place.
func (m *mint) good(word string, f *paths.Flow, port uint16, text string) bool {
	nonce, code, ok := strings.Cut(text, "-")
	if !ok || len(nonce) != nonceDigits {
		return false
	}
	c := m.codes(f, port, nonce)
	return c.is(word, []byte(code))
}

// line is what is sent to a port, or the answer to it; the answer has no
// contact.
func (m *mint) line(word string, f *paths.Flow, port uint16, nonce, contact string) []byte {
	c := m.codes(f, port, nonce)
	return c.appendLine(make([]byte, 0, 96+len(contact)), word, port, nonce, contact)
}

func (c *codes) appendLine(b []byte, word string, port uint16, nonce, contact string) []byte {
	b = append(append(append(append(b, magic...), ' '), word...), ' ')
	b = append(c.appendToken(b, word, nonce), ' ')
	b = strconv.AppendUint(b, uint64(port), 10)
	if word == wordProbe {
		b = append(append(b, ' '), contact...)
	}
	return append(b, '\n')
}

// find looks for a good token in what arrived.
func (m *mint) find(word string, f *paths.Flow, port uint16, b []byte) (nonce string, ok bool) {
	for _, t := range tokens.FindAll(b, 16) {
		if m.good(word, f, port, string(t)) {
			return string(t[:nonceDigits]), true
		}
	}
	return "", false
}

// isLine says whether a line is whole, and of which word.
func isLine(b []byte, word string) bool {
	return strings.HasPrefix(string(b), magic+" "+word+" ") && strings.HasSuffix(string(b), "\n")
}
