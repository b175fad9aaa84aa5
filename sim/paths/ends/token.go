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

// token makes a token of a nonce. The codes of both words are parts of one sum:
// whoever sees the probe does not know the reply.
func (m *mint) token(word string, f *paths.Flow, port uint16, nonce string) string {
	h := m.macs.Get().(hash.Hash)
	h.Reset()
	var in [128]byte
	h.Write(append(strconv.AppendUint(append(append(in[:0], f.ID...), '|'), uint64(port), 10), nonce...))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	m.macs.Put(h)
	code := sum[:codeDigits/2]
	if word == wordReply {
		code = sum[codeDigits/2 : codeDigits]
	}
	var text [nonceDigits + 1 + codeDigits]byte
	copy(text[:], nonce)
	text[nonceDigits] = '-'
	hex.Encode(text[nonceDigits+1:], code)
	return string(text[:])
}

// good says whether a token was made by the other end for this place.
func (m *mint) good(word string, f *paths.Flow, port uint16, text string) bool {
	nonce, _, ok := strings.Cut(text, "-")
	return ok && len(nonce) == nonceDigits && hmac.Equal([]byte(text), []byte(m.token(word, f, port, nonce)))
}

// line is what is sent to a port, or the answer to it; the answer has no
// contact.
func (m *mint) line(word string, f *paths.Flow, port uint16, nonce, contact string) []byte {
	b := make([]byte, 0, 96+len(contact))
	b = append(append(append(append(b, magic...), ' '), word...), ' ')
	b = append(append(b, m.token(word, f, port, nonce)...), ' ')
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
