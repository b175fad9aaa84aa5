package ends

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

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

// token makes a token of a nonce.
func token(key []byte, word string, f *paths.Flow, port uint16, nonce string) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s|%s|%d|%s", word, f.ID, port, nonce)
	return nonce + "-" + hex.EncodeToString(h.Sum(nil)[:codeDigits/2])
}

// good says whether a token was made by the other end for this place.
func good(key []byte, word string, f *paths.Flow, port uint16, text string) bool {
	nonce, _, ok := strings.Cut(text, "-")
	return ok && hmac.Equal([]byte(text), []byte(token(key, word, f, port, nonce)))
}

// probeLine is what is sent to a port.
func probeLine(key []byte, f *paths.Flow, port uint16, nonce, contact string) []byte {
	return fmt.Appendf(nil, "%s %s %s %d %s\n", magic, wordProbe, token(key, wordProbe, f, port, nonce), port, contact)
}

// replyLine is the answer to it.
func replyLine(key []byte, f *paths.Flow, port uint16, nonce string) []byte {
	return fmt.Appendf(nil, "%s %s %s %d\n", magic, wordReply, token(key, wordReply, f, port, nonce), port)
}

// findToken looks for a good token in what arrived.
func findToken(key []byte, word string, f *paths.Flow, port uint16, b []byte) (nonce string, ok bool) {
	for _, t := range tokens.FindAll(b, 16) {
		if good(key, word, f, port, string(t)) {
			return string(t[:nonceDigits]), true
		}
	}
	return "", false
}

// isLine says whether a line is whole, and of which word.
func isLine(b []byte, word string) bool {
	return strings.HasPrefix(string(b), magic+" "+word+" ") && strings.HasSuffix(string(b), "\n")
}
