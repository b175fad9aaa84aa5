package um

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// WorkerConfig is what a worker has beside the Config.
type WorkerConfig struct {
	Config
	Server *org.Server
	// Row of the port table: UMWorker, or that of the second process.
	Row string
	// Running counts the calls of all processes of the server; Taken, if set,
	// is told how many calls this one has taken.
	Running *atomic.Int64
	Taken   func(calls int)
	Media   *rtp.Engine
	// Shared, if set, is one stream whose port every answer names: calls then
	// have no media of their own and are not limited in number. It is for
	// signalling load.
	Shared  *rtp.Stream
	Prompts Prompts
	// Mailboxes are what callers listen to, Logons what is remembered of their
	// PINs.
	Mailboxes Mailboxes
	Logons    *Logons
	Caller    Caller
	// NoPorts, if set, reports whether a call finds no port for its media: the
	// caller is under test.
	NoPorts func() bool
	// BadGreeting, if set, reports whether a greeting cannot be played.
	BadGreeting func() bool
	// Submit hands a message to transport; it may block on the disk.
	Submit func(m Message) error
}

// Worker is a worker process: it answers calls.
type Worker struct {
	conf   WorkerConfig
	src    *trace.Source
	codecs []sdp.Codec
	lines  string         // of every answer
	wg     sync.WaitGroup // messages on their way to transport

	mu    sync.Mutex
	calls map[*call]struct{}
	taken int
	idle  chan struct{} // closed behind the last call; nil unless draining
}

// NewWorker makes a worker without calls.
func NewWorker(conf WorkerConfig) *Worker {
	w := &Worker{conf: conf, src: conf.Trace.Source(conf.Server.Name, conf.Row), calls: map[*call]struct{}{}}
	w.lines = strings.Join(slices.Concat(conf.Profile.SIP.AnswerLines, conf.Profile.SIP.SupportedLines, conf.Profile.SIP.AllowLines), "\r\n")
	for _, name := range conf.Profile.SDP.Codecs {
		for _, known := range []sdp.Codec{sdp.PCMU, sdp.PCMA} {
			if known.Name == name {
				w.codecs = append(w.codecs, known)
			}
		}
	}
	return w
}

// ServeSIP answers calls and OPTIONS.
func (w *Worker) ServeSIP(tx *sip.ServerTx) {
	if tx.Method() != "INVITE" {
		w.conf.other(tx)
		return
	}
	a, no := w.conf.judge(tx)
	switch {
	case no != nil:
		w.conf.refuse(tx, w.src, a, no)
	case sip.HasTag(tx.Header("Require"), "100rel"):
		w.ring(tx, a)
	default:
		c := w.newCall(a, tx)
		if no = w.add(c); no == nil {
			no = w.answer(tx, c)
		}
		if no != nil {
			w.conf.refuse(tx, w.src, a, no)
		}
	}
}

// ring rings, reliably, for a caller that requires that, and answers behind its
// PRACK; without one the call is given up (RFC 3262 §3).
func (w *Worker) ring(tx *sip.ServerTx, a *admitted) {
	c := w.newCall(a, tx)
	if no := w.add(c); no != nil {
		w.conf.refuse(tx, w.src, a, no)
		return
	}
	tx.Defer()
	tx.OnCancel(func() { w.remove(c) })
	contact := w.response(tx, nil, nil, nil).Contact
	tx.RespondReliably(sip.Response{Status: 180, Reason: "Ringing", Contact: contact}, func(acknowledged bool) {
		if !acknowledged {
			w.remove(c)
			tx.Respond(sip.Response{Status: 504, Reason: "Server Time-out"})
			return
		}
		// Much may have changed since it began to ring.
		a, no := w.conf.judge(tx)
		if no != nil {
			w.remove(c)
		} else {
			w.admit(c, a)
			no = w.answer(tx, c)
		}
		if no != nil {
			w.conf.refuse(tx, w.src, a, no)
		}
	})
}

// answer takes a call that was counted in, or says why not and counts it out.
func (w *Worker) answer(tx *sip.ServerTx, c *call) *refusal {
	keep, timer, no := w.sessionTimer(tx)
	var body []byte
	if no == nil {
		body, no = w.negotiate(tx, c)
	}
	if no != nil {
		c.release()
		return no
	}
	w.src.Record(c.session, trace.Session{}, answeredEvent{a: c.a, agreed: c.agreed, callID: c.callID}, nil)
	c.updates = sip.HasTag(tx.Header("Allow"), "UPDATE")
	response := w.response(tx, c.a, body, timer)
	c.contact = response.Contact
	c.mu.Lock()
	c.dialog = tx.Accept(response, c)
	c.keepSession(keep)
	doomed := c.doomed
	c.mu.Unlock()
	if c.dialog == nil { // the caller was faster, or the endpoint is closed
		w.src.Record(c.session, trace.Session{}, endedEvent{sip.EndClosed}, nil)
		c.release()
	} else if doomed != "" {
		c.hangUp(doomed)
	}
	return nil
}

// sessionTimer is the session timer of a call, and the headers that say so.
func (w *Worker) sessionTimer(tx *sip.ServerTx) (sip.SessionTimer, []string, *refusal) {
	keep, headers, no := tx.SessionTimer(w.sessionInterval())
	if no == nil {
		return keep, headers, nil
	}
	fact, _ := w.conf.Profile.Fact("sip.session-expires")
	r := newRefusal("session-timer", profile.Refusal{Status: profile.Status{Code: no.Status, Reason: no.Reason}, Standing: fact.Standing},
		fmt.Sprintf("Session-Expires is no number, or less than %s", w.sessionInterval()),
		"send the INVITE again with the Min-SE of the answer (RFC 4028)")
	r.headers = no.Headers
	return keep, nil, r
}

// negotiate answers the offer of an INVITE, or makes one.
func (w *Worker) negotiate(tx *sip.ServerTx, c *call) ([]byte, *refusal) {
	r := &w.conf.Profile.Refusals
	var offer *sdp.Session
	var err error
	if len(tx.Body()) > 0 {
		if offer, err = sdp.Parse(tx.Body()); err != nil {
			return nil, newRefusal("offer", r.NoCodec, "the INVITE has no usable offer: "+err.Error(), "send an SDP offer with audio over RTP/AVP")
		}
		if key := offer.HasAny(w.conf.Profile.SDP.Refused); key != "" {
			return nil, newRefusal("offer", r.RefusedAttribute, "the offer has the attribute "+key, "take a="+key+" out of the offer at the gateway")
		}
	}
	body, err := c.negotiate(offer)
	var fault *offerFault
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, sdp.ErrNoSecureAudio) || errors.Is(err, sdp.ErrNoKeys):
		return nil, newRefusal("srtp", r.NoSRTP, err.Error(),
			"offer RTP/SAVP with a=crypto: AES_CM_128_HMAC_SHA1_80, or set voip-security: SIPSecured of dial plan "+c.a.plan.Name)
	case errors.As(err, &fault):
		return nil, newRefusal("codec", r.NoCodec, err.Error(), "offer PCMU or PCMA over RTP/AVP")
	}
	return nil, newRefusal("ports", r.NoPorts, err.Error(), "widen rtp: {low: N, high: M}")
}

// admit notes what a call is for, as it was judged last.
func (w *Worker) admit(c *call, a *admitted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.a = a
}

// sessionInterval is the interval of the session timer.
func (w *Worker) sessionInterval() time.Duration {
	return time.Duration(w.conf.Profile.SIP.SessionExpires) * time.Second
}

// response is the 200 in the form of the one public trace.
func (w *Worker) response(tx *sip.ServerTx, a *admitted, body []byte, more []string) sip.Response {
	p := w.conf.Profile
	at := w.conf.Address(w.conf.Server.Name, row(w.conf.Row, tx.Secure()))
	headers := append(make([]string, 0, 4), w.lines)
	if a != nil {
		headers = append(headers, "P-ASSERTED-IDENTITY: <sip:"+a.pilot+"@"+sip.HostOf(at.Addr())+">")
	}
	if body != nil && p.SIP.ContentID {
		headers = append(headers, "Content-ID: <"+w.guid()+">")
	}
	headers = append(headers, more...)
	return sip.Response{
		Status: 200, Reason: "OK", Headers: headers, Body: body,
		Contact: "<sip:" + at.String() + ";transport=" + strings.ToLower(transport(tx)) + ">" + p.SIP.ContactParams,
	}
}

// guid is a name by chance, in the form that Windows gives it.
func (w *Worker) guid() string {
	a, b := w.conf.Rand(), w.conf.Rand()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", uint32(a), uint16(a>>32), uint16(a>>48), uint16(b), b>>16&(1<<48-1))
}

func (w *Worker) maxCalls() int {
	if n := w.conf.Org.Limits.MaxCallsAllowed; n > 0 {
		return n
	}
	return w.conf.Profile.UM.MaxCalls
}

// add counts a call in, or says why not.
func (w *Worker) add(c *call) *refusal {
	r := &w.conf.Profile.Refusals
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil {
		return newRefusal("worker", r.Draining, "this worker process is being recycled: it takes no new call",
			"send each call to the call router first, and follow its redirects")
	}
	if running := w.conf.Running.Add(1); running > int64(w.maxCalls()) && w.conf.Shared == nil {
		w.conf.Running.Add(-1)
		return newRefusal("max-calls", r.MaxCalls,
			fmt.Sprintf("%d calls are running", running-1), "limits: {max-calls-allowed: N}")
	}
	w.calls[c] = struct{}{}
	w.taken++
	if w.conf.Taken != nil {
		w.conf.Taken(w.taken)
	}
	return nil
}

func (w *Worker) remove(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.calls[c]; !known {
		return
	}
	delete(w.calls, c)
	w.conf.Running.Add(-1)
	if len(w.calls) > 0 {
		return
	}
	w.calls = map[*call]struct{}{} // a map keeps the room of its busiest time
	if w.idle != nil {
		close(w.idle)
	}
}

// Drain refuses new calls from now on. The channel is closed once the last
// running one is over.
func (w *Worker) Drain() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle == nil {
		w.idle = make(chan struct{})
		if len(w.calls) == 0 {
			close(w.idle)
		}
	}
	return w.idle
}

// HangUp ends the running calls of a gateway.
func (w *Worker) HangUp(gateway, why string) {
	w.mu.Lock()
	var list []*call
	for c := range w.calls {
		if c.a.gateway.Name == gateway {
			list = append(list, c)
		}
	}
	w.mu.Unlock()
	for _, c := range list {
		c.hangUp(why)
	}
}

// Calls counts the running calls.
func (w *Worker) Calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// handOver gives a message to transport. A disk that is full now may have room
// again: it is tried for half a minute.
func (w *Worker) handOver(m Message) error {
	wait := time.Second
	for {
		err := w.conf.Submit(m)
		if err == nil || wait > 16*time.Second {
			return err
		}
		time.Sleep(wait)
		wait *= 2
	}
}

// Wait waits until every message of ended calls is handed over.
func (w *Worker) Wait() { w.wg.Wait() }

// limit is the organisation's value, else the profile's.
func limit(own, profile time.Duration) time.Duration {
	if own > 0 {
		return own
	}
	return profile
}
