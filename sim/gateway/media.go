package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip/sdp"
)

//go:embed speech.wav
var speechWAV []byte

// Speech is a spoken sentence in mu-law at 8 kHz, as long as asked for: it is
// repeated or cut.
func Speech(length time.Duration) ([]byte, error) {
	one, err := rtp.ReadWAV(speechWAV, rtp.PCMU)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	n := int(length/time.Millisecond) * 8
	return bytes.Repeat(one, n/len(one)+1)[:n], nil
}

// eventsPT is the payload type of telephone events that the gateway offers.
const eventsPT = 101

func (c *Call) description() sdp.Local {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sdp.Local{
		Addr: c.g.addr, Port: c.stream.Addr().Port(), Crypto: c.keys, Codecs: []sdp.Codec{sdp.PCMU, sdp.PCMA},
		Events: "0-16,36", EventsPT: eventsPT, ID: 1, Version: c.version, Name: "-", Ptime: 20,
	}
}

// newKeys are keys for an offer of SRTP.
func newKeys() []sdp.Crypto {
	return sdp.NewKeys("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
}

func (c *Call) offer() []byte { return sdp.Offer(c.description()).AppendTo(nil) }

// answer is the body of an ACK that answers a late offer.
func (c *Call) answer(offer []byte) []byte {
	desc, err := sdp.Parse(offer)
	if err != nil || c.g.has(NoAnswerInACK) {
		return nil
	}
	answer, agreed, err := sdp.Answer(desc, c.description())
	if err != nil {
		return nil
	}
	c.late = agreed
	return answer.AppendTo(nil)
}

// agree takes the answer to our offer.
func (c *Call) agree(answer []byte) error {
	desc, err := sdp.Parse(answer)
	if err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	agreed, err := sdp.Accepted(desc, c.description())
	if err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	return c.startMedia(agreed)
}

// startMedia sends silence from here on, as a telephone does.
func (c *Call) startMedia(agreed sdp.Agreed) error {
	if c.g.has(NoAnswerInACK) {
		return nil // nothing is agreed
	}
	c.agreedOn(agreed.Send)
	if c.g.has(MediaElsewhere) {
		agreed.Remote = netip.AddrPortFrom(agreed.Remote.Addr(), discard)
	}
	p := rtp.Params{
		Remote: agreed.Remote, Codec: rtp.Codec(agreed.Codec.PT), PT: agreed.PT, EventsPT: agreed.EventsPT, ReceiveEventsPT: agreed.ReceiveEventsPT,
		Send: agreed.Send && !c.g.has(NoMedia), Receive: agreed.Receive, Continuous: true,
	}
	if c.g.has(OtherPayloadType) && p.EventsPT != 0 {
		p.EventsPT ^= 1
	}
	if k := agreed.Keys; k != nil {
		p.Crypto = &rtp.Crypto{Suite: k.Suite, Send: k.Local, Receive: k.Remote, ReceiveMKI: k.RemoteMKI}
	}
	return c.stream.Start(p)
}

// agreedOn notes whether we may send.
func (c *Call) agreedOn(sends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sends = sends
}

// errOnHold means that nothing is sent by agreement.
var errOnHold = errors.New("the call is on hold: nothing is sent")

// errEnded means that the call was over before what was to be done.
var errEnded = errors.New("the call is over")

// Talk plays speech and returns when it is out.
func (c *Call) Talk(ctx context.Context, length time.Duration) error {
	speech, err := Speech(length)
	if err != nil {
		return err
	}
	c.mu.Lock()
	silent := !c.sends
	if !silent {
		c.talked = append(c.talked, speech)
	}
	c.mu.Unlock()
	if silent {
		return errOnHold
	}
	done := make(chan struct{})
	played := speech
	if c.g.has(Muted) {
		played = rtp.Quiet(rtp.PCMU, length)
	}
	c.stream.Play(rtp.PCMU, played, func() { close(done) })
	sum := sha256.Sum256(speech)
	c.g.src.Record(c.session, trace.Session{}, talked{len(speech), hex.EncodeToString(sum[:])}, nil)
	return c.await(ctx, done)
}

// Fax lets a fax machine call: by its calling tone in the audio, or signalled
// by the gateway as a telephone event.
func (c *Call) Fax(ctx context.Context, signalled bool) error {
	done := make(chan struct{})
	if signalled && !c.g.has(DigitsInBand) {
		c.stream.SendDigits("f", func() { close(done) })
	} else {
		cng := append(rtp.Tone(rtp.PCMU, rtp.CNGHz, 500*time.Millisecond), rtp.Quiet(rtp.PCMU, 500*time.Millisecond)...)
		c.stream.Play(rtp.PCMU, cng, func() { close(done) })
	}
	return c.await(ctx, done)
}

// OfferFax offers T.38 in place of the audio, as a gateway does that has heard a
// fax machine itself.
func (c *Call) OfferFax(ctx context.Context) error {
	c.changed()
	local := c.description()
	offer := &sdp.Session{Origin: fmt.Sprintf("- 1 %d IN IP4 %s", local.Version, local.Addr), Name: "-", Conn: local.Addr.String(), Media: []sdp.Media{{
		Kind: "image", Port: local.Port, Proto: "udptl", Formats: []string{"t38"},
		Attrs: []sdp.Attr{{Key: "T38FaxVersion", Value: "0"}, {Key: "T38MaxBitRate", Value: "14400"}, {Key: "T38FaxRateManagement", Value: "transferredTCF"}, {Key: "T38FaxUdpEC", Value: "t38UDPRedundancy"}},
	}}}
	r, err := c.dialog.Reinvite(ctx, c.contact, nil, offer.AppendTo(nil))
	if err == nil && r.Status/100 != 2 {
		err = fmt.Errorf("the re-INVITE for T.38 was answered %d %s", r.Status, r.Reason)
	}
	return err
}

// Secret sends digits that stand nowhere in the trace.
func (c *Call) Secret(ctx context.Context, digits string) error {
	c.stream.HideDigits(true)
	defer c.stream.HideDigits(false)
	return c.Digits(ctx, digits)
}

// Digits sends telephone events and returns when they are out.
func (c *Call) Digits(ctx context.Context, digits string) error {
	done := make(chan struct{})
	switch {
	case c.g.has(DigitsByINFO):
		return c.info(ctx, digits)
	case c.g.has(DigitsInBand):
		c.stream.Play(rtp.PCMU, rtp.Keys(rtp.PCMU, digits), func() { close(done) })
	default:
		c.stream.SendDigits(digits, func() { close(done) })
	}
	return c.await(ctx, done)
}

// info sends digits by INFO, as gateways did before RFC 2833.
func (c *Call) info(ctx context.Context, digits string) error {
	for _, d := range digits {
		body := fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", d)
		if _, err := c.dialog.Request(ctx, "INFO", []string{"Content-Type: application/dtmf-relay"}, []byte(body)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) await(ctx context.Context, done chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-c.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Listen keeps what the other side says from now on; what it returns ends that.
func (c *Call) Listen() (heard func() []byte) {
	result := make(chan []byte, 1)
	c.stream.Record(rtp.Limits{Max: maxHeard, Idle: maxHeard}, func(r rtp.Recording, _ rtp.Stopped) { result <- r.Codec.ToPCMU(r.Octets) })
	return func() []byte {
		c.stream.StopRecording()
		return <-result
	}
}

// maxHeard bounds what is kept.
const maxHeard = 10 * time.Minute

// Within reports whether a recording holds, octet for octet and in this order,
// all that the gateway said, each stretch in a row, and how many octets that is.
func (c *Call) Within(wav []byte) (octets int, ok bool, err error) {
	heard, err := rtp.ReadWAV(wav, rtp.PCMU)
	if err != nil {
		return 0, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ok = len(c.talked) > 0
	for _, said := range c.talked {
		octets += len(said)
		at := bytes.Index(heard, said)
		if ok = ok && at >= 0; ok {
			heard = heard[at+len(said):]
		}
	}
	return octets, ok, nil
}
