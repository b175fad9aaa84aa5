package um

import (
	"slices"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// negotiate opens the stream and answers the offer, or makes one where the
// INVITE has none.
func (c *call) negotiate(offer *sdp.Session) ([]byte, error) {
	conf, p := &c.w.conf, &c.w.conf.Profile.SDP
	c.local = sdp.Local{
		Addr: conf.Server.Public(), Codecs: c.w.codecs, Events: p.Events, ID: conf.Rand() % 1000, Name: p.SessionName, Bandwidth: p.Bandwidth,
		Attrs: []sdp.Attr{{Key: "label", Value: p.Label}}, Ptime: p.Ptime,
	}
	if p.OffersG723 {
		c.local.Named = []sdp.Codec{sdp.G723}
	}
	if c.a.plan.VoIPSecurity == org.Secured {
		c.local.Crypto = sdp.NewKeys(slices.Concat(p.Suites, p.MoreSuites)...)
	}
	// The offer is judged before a port is taken.
	var answer *sdp.Session
	var agreed sdp.Agreed
	var err error
	if offer != nil {
		if answer, agreed, err = sdp.Answer(offer, c.local); err != nil {
			return nil, &offerFault{err}
		}
	}
	if conf.NoPorts != nil && conf.NoPorts() {
		return nil, rtp.ErrNoPorts
	}
	stream := conf.Shared
	if stream == nil {
		if stream, err = conf.Media.Open(conf.Server.Address, c.session, c.w.src); err != nil {
			return nil, err
		}
		c.stream = stream
	}
	c.local.Port = stream.Addr().Port()
	if offer == nil {
		return c.makeOffer(), nil
	}
	c.agreed = agreed
	answer.Media[agreed.Section].Port = c.local.Port
	return answer.AppendTo(nil), nil
}

// eventsPT is the payload type of telephone events that we offer.
const eventsPT = 101

// makeOffer is our description for a peer that sent none; its answer is awaited.
func (c *call) makeOffer() []byte {
	c.offers = true
	c.local.EventsPT = eventsPT
	return sdp.Offer(c.local).AppendTo(nil)
}

// offerFault is an error of the offer, not of the bench.
type offerFault struct{ error }

func (f *offerFault) Unwrap() error { return f.error }

// agree answers an offer on the stream that there is.
func (c *call) agree(offer *sdp.Session) ([]byte, error) {
	c.local.Version++
	answer, agreed, err := sdp.Answer(offer, c.local)
	if err != nil {
		return nil, err
	}
	c.agreed = agreed
	return answer.AppendTo(nil), nil
}

func (c *call) params() rtp.Params {
	p := rtp.Params{
		Remote: c.agreed.Remote, Codec: rtp.Codec(c.agreed.Codec.PT), PT: c.agreed.PT, EventsPT: c.agreed.EventsPT, ReceiveEventsPT: c.agreed.ReceiveEventsPT, Early: c.ringing,
		Send: c.agreed.Send, Receive: c.agreed.Receive, Continuous: c.w.conf.Profile.UM.RTPSilence, OnDigit: c.digit,
	}
	if c.partner() != "" {
		p.OnTone = c.toneHeard
	}
	p.InBand = c.w.conf.Profile.UM.InBandDigits
	if k := c.agreed.Keys; k != nil {
		p.Crypto = &rtp.Crypto{Suite: k.Suite, Send: k.Local, Receive: k.Remote, ReceiveMKI: k.RemoteMKI}
	}
	return p
}

// start begins or changes what the stream sends.
func (c *call) start() error {
	err := c.stream.Start(c.params())
	if err != nil {
		c.note("bench.fault", "what", err.Error())
	}
	return err
}

// answered takes the answer to our offer, if one is out; c.mu is held.
func (c *call) answered(body []byte) error {
	if !c.offers {
		return nil
	}
	c.offers = false
	answer, err := sdp.Parse(body)
	if err != nil {
		return err
	}
	if c.agreed, err = sdp.Accepted(answer, c.local); err != nil {
		return err
	}
	if c.begun && c.stream != nil {
		return c.start()
	}
	return nil
}

// reoffer is what a re-INVITE or UPDATE is answered with; c.mu is held.
func (c *call) reoffer(tx *sip.ServerTx) ([]byte, error) {
	if len(tx.Body()) == 0 {
		if tx.Method() == "UPDATE" {
			return nil, nil
		}
		c.local.Version++
		return c.makeOffer(), nil
	}
	offer, err := sdp.Parse(tx.Body())
	if err != nil {
		return nil, err
	}
	if kind := offer.Fax(); kind == sdp.T38 || kind != "" && c.partner() != "" {
		return c.refax(offer, kind)
	}
	body, err := c.agree(offer)
	if err == nil && c.stream != nil {
		err = c.start()
	}
	return body, err
}
