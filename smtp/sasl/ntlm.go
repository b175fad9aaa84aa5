package sasl

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	gosasl "github.com/emersion/go-sasl"
	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM is made of it
)

// Target is what an acceptor of NTLM tells of itself ([MS-NLMP] §2.2.2.1).
type Target struct {
	NetBIOSDomain, NetBIOSComputer  string
	DNSDomain, DNSComputer, DNSTree string
	VersionMajor, VersionMinor      byte   // of Windows
	Build                           uint16 // of Windows
	Challenge                       [8]byte
	Now                             time.Time
}

// NTLM takes NTLMv2. account gives the password of a user, in the domain that
// the client named; NTLMv1 and anonymous log-ons are refused.
func NTLM(t Target, account func(domain, user string) (password string, ok bool)) gosasl.Server {
	return &ntlm{target: t, account: account}
}

type ntlm struct {
	target             Target
	account            func(domain, user string) (string, bool)
	negotiate, invited []byte // the first two messages
	finished           bool
}

// Flags of NEGOTIATE ([MS-NLMP] §2.2.2.5).
const (
	flagUnicode      = 0x00000001
	flagTarget       = 0x00000004
	flagSign         = 0x00000010
	flagNTLM         = 0x00000200
	flagAlwaysSign   = 0x00008000
	flagTargetDomain = 0x00010000
	flagExtended     = 0x00080000
	flagTargetInfo   = 0x00800000
	flagVersion      = 0x02000000
	flag128          = 0x20000000
	flagKeyExchange  = 0x40000000
	flag56           = 0x80000000
)

var signature = []byte("NTLMSSP\x00")

// Next takes NEGOTIATE and then AUTHENTICATE.
func (n *ntlm) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte{}, false, nil
	case n.finished:
		return nil, false, errFinished
	case n.negotiate == nil:
		if kind(response) != 1 || len(response) < 16 {
			return nil, false, errors.New("NTLM: no NEGOTIATE message")
		}
		n.negotiate = bytes.Clone(response)
		n.invited = n.challenge(binary.LittleEndian.Uint32(response[12:]))
		return n.invited, false, nil
	}
	n.finished = true
	return nil, true, n.verify(response)
}

// kind is the type of a message, 0 if it is none.
func kind(b []byte) uint32 {
	if len(b) < 12 || !bytes.HasPrefix(b, signature) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[8:])
}

// challenge makes the CHALLENGE message ([MS-NLMP] §2.2.1.2). What the client
// asks for and costs nothing is granted; sessions are neither signed nor sealed.
func (n *ntlm) challenge(asked uint32) []byte {
	const header = 56
	flags := uint32(flagUnicode|flagTarget|flagNTLM|flagAlwaysSign|flagTargetDomain|flagExtended|flagTargetInfo|flagVersion) | asked&(flagSign|flag128|flag56)
	t := &n.target
	name, info := utf16le(t.NetBIOSDomain), t.info()
	b := make([]byte, header, header+len(name)+len(info))
	copy(b, signature)
	binary.LittleEndian.PutUint32(b[8:], 2)
	field(b[12:], len(name), header)
	binary.LittleEndian.PutUint32(b[20:], flags)
	copy(b[24:], t.Challenge[:])
	field(b[40:], len(info), header+len(name))
	b[48], b[49] = t.VersionMajor, t.VersionMinor
	binary.LittleEndian.PutUint16(b[50:], t.Build)
	b[55] = 15 // NTLMSSP_REVISION_W2K3
	return append(append(b, name...), info...)
}

// Ids of AV_PAIR ([MS-NLMP] §2.2.2.1).
const (
	avEOL = iota
	avNbComputer
	avNbDomain
	avDNSComputer
	avDNSDomain
	avDNSTree
	avFlags
	avTimestamp
)

// hasMIC is the flag of AV_PAIR avFlags that says that the message is signed.
const hasMIC = 2

// info is the target's list of AV_PAIR.
func (t *Target) info() []byte {
	var b []byte
	pair := func(id uint16, v []byte) {
		b = binary.LittleEndian.AppendUint16(b, id)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	pair(avNbDomain, utf16le(t.NetBIOSDomain))
	pair(avNbComputer, utf16le(t.NetBIOSComputer))
	pair(avDNSDomain, utf16le(t.DNSDomain))
	pair(avDNSComputer, utf16le(t.DNSComputer))
	pair(avDNSTree, utf16le(t.DNSTree))
	// FILETIME counts 100 ns from 1601 on, which lies 11644473600 s before 1970.
	pair(avTimestamp, binary.LittleEndian.AppendUint64(nil, uint64(t.Now.Unix()+11644473600)*1e7))
	pair(avEOL, nil)
	return b
}

func field(b []byte, size, offset int) {
	binary.LittleEndian.PutUint16(b, uint16(size))
	binary.LittleEndian.PutUint16(b[2:], uint16(size))
	binary.LittleEndian.PutUint32(b[4:], uint32(offset))
}

// part is what a field of a message points to.
func part(b []byte, at int) ([]byte, error) {
	if len(b) < at+8 {
		return nil, errors.New("NTLM: the message is too short")
	}
	size, offset := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint32(b[at+4:]))
	if offset < 0 || offset > len(b) || size > len(b)-offset {
		return nil, errors.New("NTLM: a field points outside the message")
	}
	return b[offset : offset+size], nil
}

// verify checks AUTHENTICATE ([MS-NLMP] §3.3.2, §3.2.5.1.2).
func (n *ntlm) verify(b []byte) error {
	if kind(b) != 3 || len(b) < 64 {
		return errors.New("NTLM: no AUTHENTICATE message")
	}
	var parts [6][]byte // LM and NT response, domain, user, workstation, session key
	for i := range parts {
		var err error
		if parts[i], err = part(b, 12+8*i); err != nil {
			return err
		}
	}
	nt, domain, user := parts[1], text(parts[2]), text(parts[3])
	switch {
	case user == "" || len(nt) == 0:
		return errors.New("NTLM: an anonymous log-on")
	case len(nt) == 24:
		return errors.New("NTLM: NTLMv1 is not taken")
	case len(nt) < 16+28:
		return errors.New("NTLM: the response is too short")
	}
	password, known := n.account(domain, user)
	key := ntowfv2(password, user, domain)
	proof := sum(key, n.target.Challenge[:], nt[16:])
	if subtle.ConstantTimeCompare(proof, nt[:16]) != 1 || !known {
		return fmt.Errorf("NTLM: %w", ErrRefused)
	}
	return n.signed(b, nt[16:], sum(key, proof), parts[5])
}

// signed checks the message integrity code, where the response says that there
// is one.
func (n *ntlm) signed(b, blob, session, encrypted []byte) error {
	if avFlagsOf(blob)&hasMIC == 0 {
		return nil
	}
	if binary.LittleEndian.Uint32(b[60:])&flagKeyExchange != 0 && len(encrypted) == 16 {
		c, err := rc4.NewCipher(session)
		if err != nil {
			return err
		}
		plain := make([]byte, 16)
		c.XORKeyStream(plain, encrypted)
		session = plain
	}
	const at = 72 // behind the version
	if len(b) < at+16 {
		return errors.New("NTLM: the message is too short for its integrity code")
	}
	without := bytes.Clone(b)
	clear(without[at : at+16])
	if subtle.ConstantTimeCompare(sum(session, n.negotiate, n.invited, without), b[at:at+16]) != 1 {
		return errors.New("NTLM: the messages were changed on their way")
	}
	return nil
}

// avFlagsOf finds avFlags in the client's blob, whose pairs begin at 28.
func avFlagsOf(blob []byte) uint32 {
	for b := blob[28:]; len(b) >= 4; {
		id, size := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if id == avEOL || size > len(b)-4 {
			return 0
		}
		if id == avFlags && size == 4 {
			return binary.LittleEndian.Uint32(b[4:])
		}
		b = b[4+size:]
	}
	return 0
}

// ntowfv2 is the key of NTLMv2 ([MS-NLMP] §3.3.2).
func ntowfv2(password, user, domain string) []byte {
	h := md4.New()
	_, _ = h.Write(utf16le(password)) // never fails
	return sum(h.Sum(nil), utf16le(strings.ToUpper(user)+domain))
}

func sum(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		_, _ = h.Write(p) // never fails
	}
	return h.Sum(nil)
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// text undoes utf16le.
func text(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
