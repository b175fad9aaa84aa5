package um

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// Caller places the calls of a worker process.
type Caller interface {
	// Name names a call before its first message.
	Name(callID, fromTag string) trace.Session
	// Invite places one from a listener of the process, and waits for the
	// final answer.
	Invite(ctx context.Context, row string, inv *sip.Invite) (sip.Answer, error)
}

// PlayOnPhone calls a telephone and plays a message of a mailbox there, the
// latest voice message if id is "". It returns once the telephone has answered,
// or with the reason why it has not; over is told once when the call is over, or
// was none.
func (w *Worker) PlayOnPhone(ctx context.Context, m *org.Mailbox, id, number string, over func()) (trace.Session, error) {
	c, to, err := w.playing(m, id, number)
	if err != nil {
		over()
		return trace.Session{}, err
	}
	c.freed = over
	return c.session, w.place(ctx, c, to, number)
}

// playing is the call that plays a message, and where it goes.
func (w *Worker) playing(m *org.Mailbox, id, number string) (*call, target, error) {
	v, err := w.message(m, id)
	if err != nil {
		return nil, target{}, err
	}
	plan := w.conf.Org.DialPlanNamed(m.DialPlan)
	switch {
	case plan == nil:
		return nil, target{}, fmt.Errorf("um: mailbox %s is not UM-enabled", m.Address)
	case w.conf.Org.PolicyOf(m).NoPlayOnPhone:
		return nil, target{}, fmt.Errorf("um: the mailbox policy of %s allows no Play on Phone", m.Address)
	case !telephone(number):
		return nil, target{}, fmt.Errorf("um: %q is no telephone number", number)
	}
	targets := w.conf.Gateways.callable(w.conf.Org, m.DialPlan)
	if len(targets) == 0 {
		return nil, target{}, fmt.Errorf("um: no gateway of dial plan %s takes calls (Status, no-outcalls)", m.DialPlan)
	}
	c := w.outCall(&admitted{kind: playOnPhone, gateway: targets[0].object, plan: plan, mailbox: m, pilot: number})
	c.plays = v
	return c, targets[0], nil
}

// message is a voice message of a mailbox: the named one, or the latest.
func (w *Worker) message(m *org.Mailbox, id string) (VoiceMail, error) {
	list, err := w.conf.Mailboxes.Voice(m.Address)
	if err != nil {
		return VoiceMail{}, err
	}
	for _, v := range slices.Backward(list) {
		if id == "" || v.ID == id {
			return v, nil
		}
	}
	return VoiceMail{}, fmt.Errorf("um: mailbox %s has no voice message %s", m.Address, id)
}

// outCall is a call that we place.
func (w *Worker) outCall(a *admitted) *call {
	callID, tag := fmt.Sprintf("%016x@%s", w.conf.Rand(), w.conf.Server.FQDN), fmt.Sprintf("%010x", w.conf.Rand()&(1<<40-1))
	return &call{
		w: w, a: a, session: w.conf.Caller.Name(callID, tag), callID: callID, fromTag: tag,
		keys: make(chan byte, maxKeys), over: make(chan struct{}), fax: make(chan struct{}),
	}
}

// place calls a number through a gateway: our offer is in the INVITE, its answer
// in a 183 or the 200.
func (w *Worker) place(ctx context.Context, c *call, to target, number string) error {
	if no := w.add(c); no != nil {
		c.release()
		return errors.New("um: " + no.cause)
	}
	offer, err := c.negotiate(nil)
	if err != nil {
		c.release()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.conf.Profile.UM.RingTimeout)
	defer cancel()
	listener := row(w.conf.Row, to.secure)
	at := w.conf.Address(w.conf.Server.Name, listener)
	scheme := map[bool]string{false: "tcp", true: "tls"}[to.secure]
	c.contact = "<sip:" + at.String() + ";transport=" + scheme + ">" + w.conf.Profile.SIP.ContactParams
	w.src.Record(c.session, trace.Session{}, outCallEvent{name: "um.calling", c: c, number: number}, nil)
	answer, err := w.conf.Caller.Invite(ctx, listener, &sip.Invite{
		To: to.at, URI: fmt.Sprintf("sip:%s@%s;transport=%s", number, to.at, scheme), ToURI: fmt.Sprintf("<sip:%s@%s>", number, c.gatewayHost()),
		From: fmt.Sprintf("<sip:%s@%s>", c.ownNumber(), sip.HostOf(at.Addr())), Contact: c.contact, CallID: c.callID, FromTag: c.fromTag,
		Headers: []string{w.lines}, Body: offer, Handler: c, Provisional: c.early,
	})
	if err == nil && answer.Dialog == nil {
		err = fmt.Errorf("answered %d %s", answer.Status, answer.Reason)
	}
	codec := ""
	if err == nil {
		codec, err = c.taken(answer)
	}
	if err != nil {
		w.src.Record(c.session, trace.Session{}, outCallEvent{"um.call_failed", c, number, answer.Status, err.Error(), ""}, nil)
		if answer.Dialog != nil {
			answer.Dialog.Bye() // ends the call, unless the peer has
		} else {
			c.release()
		}
		return err
	}
	w.src.Record(c.session, trace.Session{}, outCallEvent{"um.phone_answered", c, number, answer.Status, "", codec}, nil)
	return nil
}

// ownNumber is who calls: the mailbox's owner, or what was dialled.
func (c *call) ownNumber() string {
	if c.a.mailbox != nil {
		return c.a.mailbox.Extension
	}
	return c.a.pilot
}

// early takes the description in a provisional answer: media may flow from then
// on. One in a 180 behind that of a 183 makes the call silent, as a maker of
// gateways met it.
func (c *call) early(r sip.Reply) {
	if len(r.Body) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.src.Record(c.session, trace.Session{}, earlyEvent(r.Status), nil)
	if r.Status == 180 && c.had183 && c.w.conf.Profile.UM.SDPIn180Silences {
		c.silent = true
		return
	}
	c.had183 = c.had183 || r.Status == 183
	c.ringing = true
	if answer, err := sdp.Parse(r.Body); err == nil {
		if c.agreed, err = sdp.Accepted(answer, c.local); err == nil && c.stream != nil {
			_ = c.start() // an answer that cannot be used is the 200's matter
		}
	}
}

// taken begins the conversation of a call that was answered.
func (c *call) taken(answer sip.Answer) (codec string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.how != "": // its BYE was faster than we
		return "", errOver
	case c.doomed != "":
		return "", errors.New(c.doomed)
	}
	c.dialog, c.ringing = answer.Dialog, false
	c.updates = answer.Allows("UPDATE")
	if err := c.answered(answer.Body); err != nil {
		return "", err
	}
	c.keepSession(answer.SessionTimer())
	if c.silent {
		c.w.src.Record(c.session, trace.Session{}, plain{"um.silenced", "why", "a 180 with a description came behind a 183 with one"}, nil)
		c.agreed.Send = false
	}
	return c.agreed.Codec.Name, c.begin()
}

// playsMessage plays the message that the call was placed for; its keys are
// those of subscriber access.
func (c *call) playsMessage() (string, error) {
	if err := c.say(c.prompt("phone")); err != nil {
		return "", err
	}
	_, err := c.hear(c.a.mailbox, c.plays)
	return "the message was played", err
}

type outCallEvent struct {
	name   string
	c      *call
	number string
	status int
	why    string
	codec  string
}

func (e outCallEvent) EventName() string { return e.name }
func (e outCallEvent) AppendTo(f *trace.Fields) {
	f.Text("kind", string(e.c.a.kind))
	f.Text("call_id", e.c.callID)
	f.Text("number", e.number)
	f.Text("gateway", e.c.a.gateway.Name)
	f.Text("dial_plan", e.c.a.plan.Name)
	if m := e.c.a.mailbox; m != nil {
		f.Text("mailbox", m.Address)
	}
	f.Text("reason_for_call", reasonOutbound)
	if e.status != 0 {
		f.Int("status", int64(e.status))
	}
	if e.why != "" {
		f.Text("why", e.why)
	}
	if e.codec != "" {
		f.Text("codec", e.codec)
	}
}

// earlyEvent is a description in a provisional answer with this status.
type earlyEvent int

func (earlyEvent) EventName() string          { return "um.early_media" }
func (e earlyEvent) AppendTo(f *trace.Fields) { f.Int("status", int64(e)) }

// outCallEvents are what is told of calls that we place.
func outCallEvents() []trace.EventType {
	why := trace.FieldType{Key: "why", Means: "the reason"}
	call := []trace.FieldType{
		{Key: "kind", Means: "play-on-phone, or consultation: the second leg of a supervised transfer"}, {Key: "call_id", Means: "Call-ID of SIP"}, {Key: "number", Means: "that is called"}, {Key: "gateway", Means: "UM IP gateway"},
		{Key: "dial_plan", Means: "dial plan"}, {Key: "mailbox", Means: "whose message is played"}, {Key: "reason_for_call", Means: "Outbound"},
		{Key: "status", Means: "of the answer"}, {Key: "codec", Means: "encoding agreed on"},
	}
	return []trace.EventType{
		{Name: "um.calling", Means: "Unified Messaging places a call", Fields: call},
		{Name: "um.phone_answered", Means: "a call of Unified Messaging was answered", Fields: call},
		{Name: "um.call_failed", Means: "a call of Unified Messaging was not answered", Fields: append(call[:len(call):len(call)], why)},
		{Name: "um.early_media", Means: "a provisional answer to a call of Unified Messaging has a description", Fields: []trace.FieldType{{Key: "status", Means: "of that answer"}}},
		{Name: "um.silenced", Means: "the called side has silenced its call by what it answered", Fields: []trace.FieldType{why}},
	}
}
