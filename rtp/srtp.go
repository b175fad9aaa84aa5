package rtp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/srtp/v3"
)

// Crypto keys a stream for SRTP (RFC 3711) as SDES agrees on it (RFC 4568):
// one suite, a key for each direction.
type Crypto struct {
	Suite         string // AES_CM_128_HMAC_SHA1_80 or AES_CM_128_HMAC_SHA1_32
	Send, Receive []byte // 16 octets of master key, then 14 of salt
	ReceiveMKI    []byte // that the peer's packets carry, nil for none
}

// MasterLength is the length of a master key with its salt.
const MasterLength = 30

func (c *Crypto) equal(o *Crypto) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.Suite == o.Suite && string(c.Send) == string(o.Send) && string(c.Receive) == string(o.Receive) && string(c.ReceiveMKI) == string(o.ReceiveMKI)
}

// protection is SRTP and SRTCP of both directions; the stream's lock guards it.
type protection struct {
	keys    Crypto
	out, in *srtp.Context
	sealed  []byte // buffers of one packet
	opened  []byte
}

// replayWindow is how far behind the newest a packet may come (RFC 3711
// §3.3.2: at least 64).
const replayWindow = 64

func newProtection(c *Crypto) (*protection, error) {
	suite := srtp.ProtectionProfile(0)
	switch c.Suite {
	case "AES_CM_128_HMAC_SHA1_80":
		suite = srtp.ProtectionProfileAes128CmHmacSha1_80
	case "AES_CM_128_HMAC_SHA1_32":
		suite = srtp.ProtectionProfileAes128CmHmacSha1_32
	default:
		return nil, fmt.Errorf("rtp: SRTP suite %q is not known", c.Suite)
	}
	if len(c.Send) != MasterLength || len(c.Receive) != MasterLength {
		return nil, fmt.Errorf("rtp: an SRTP key of %s has %d octets", c.Suite, MasterLength)
	}
	out, err := srtp.CreateContext(c.Send[:16], c.Send[16:], suite)
	if err != nil {
		return nil, fmt.Errorf("rtp: %w", err)
	}
	options := []srtp.ContextOption{srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow)}
	if len(c.ReceiveMKI) > 0 {
		options = append(options, srtp.MasterKeyIndicator(c.ReceiveMKI))
	}
	in, err := srtp.CreateContext(c.Receive[:16], c.Receive[16:], suite, options...)
	if err != nil {
		return nil, fmt.Errorf("rtp: %w", err)
	}
	return &protection{keys: *c, out: out, in: in}, nil
}

// carryOn goes on where the old keys were. A direction whose key stays keeps
// its context: an index of SRTP or SRTCP must never come again under one key
// (RFC 3711 §9.1). Under a new key the rollover counters go on (§3.3.1).
func (p *protection) carryOn(old *protection, sending uint32, receiving map[uint32]*source) {
	if old == nil {
		return
	}
	same := old.keys.Suite == p.keys.Suite
	if same && bytes.Equal(old.keys.Send, p.keys.Send) {
		p.out = old.out
	} else if roc, ok := old.out.ROC(sending); ok {
		p.out.SetROC(sending, roc)
	}
	if same && bytes.Equal(old.keys.Receive, p.keys.Receive) && bytes.Equal(old.keys.ReceiveMKI, p.keys.ReceiveMKI) {
		p.in = old.in
		return
	}
	for ssrc := range receiving {
		if roc, ok := old.in.ROC(ssrc); ok {
			p.in.SetROC(ssrc, roc)
		}
	}
}

// key sets or changes the keys; s.mu is held. The same keys go on, with their
// counters.
func (s *Stream) key(c *Crypto) error {
	if c.equal(s.params.Crypto) {
		return nil
	}
	if c == nil {
		s.srtp = nil
		return nil
	}
	p, err := newProtection(c)
	if err != nil {
		return err
	}
	p.carryOn(s.srtp, s.ssrc, s.in.sources)
	s.srtp = p
	return nil
}

// seal protects a packet that leaves; s.mu is held.
func (s *Stream) seal(b []byte, control bool) ([]byte, error) {
	p := s.srtp
	if p == nil {
		return b, nil
	}
	var err error
	if control {
		p.sealed, err = p.out.EncryptRTCP(p.sealed[:0], b, nil)
	} else {
		p.sealed, err = p.out.EncryptRTP(p.sealed[:0], b, nil)
	}
	return p.sealed, err
}

// open unprotects a packet that came in, on the receiving loop. Its result is
// valid until the next call; nil is to be dropped, with a reason or in silence.
func (s *Stream) open(b []byte, from netip.AddrPort, a arrival, control bool) (plain []byte, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine.conf.Tap != nil {
		defer func() {
			inside := plain
			if inside == nil {
				inside = b
			}
			s.tap(time.Now().Add(-a.ago), from, false, control, b, inside)
		}()
	}
	p := s.srtp
	switch {
	case s.closed || !s.started:
		return nil, ""
	case p == nil:
		return b, ""
	}
	var err error
	if control {
		plain, err = p.in.DecryptRTCP(p.opened[:0], b, nil)
	} else {
		plain, err = p.in.DecryptRTP(p.opened[:0], b, nil)
	}
	what := "SRTP: "
	if control {
		what = "SRTCP: "
	}
	switch {
	case err == nil:
		p.opened = plain
		return plain, ""
	case errors.Is(err, srtp.ErrFailedToVerifyAuthTag):
		return nil, what + "not authentic: another key, in clear, or altered on the way"
	case errors.Is(err, srtp.ErrMKINotFound):
		return nil, what + "a master key identifier that was not agreed on"
	case strings.Contains(err.Error(), "duplicated"): // pion exports no error for it
		return nil, what + "a packet that was here before"
	}
	return nil, what + "too short or malformed"
}
