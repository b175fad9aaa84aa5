package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/sip/sdp"
)

// Call is a call that was answered.
type Call struct {
	g       *Gateway
	dialog  *sip.Dialog
	stream  *rtp.Stream
	session trace.Session
	ready   chan struct{} // closed once the dialog is there
	ended   chan struct{}
	once    sync.Once

	contact string       // ours
	keys    []sdp.Crypto // ours, of SRTP
	late    sdp.Agreed   // from the offer of the other side
	version uint64       // of our description
	offered bool         // our offer is out, in a 200

	mu     sync.Mutex
	talked [][]byte
	sends  bool // by agreement
}

func newCall(g *Gateway) *Call {
	return &Call{g: g, ready: make(chan struct{}), ended: make(chan struct{})}
}

// Session names the call; it is set also if the call failed.
func (c *Call) Session() trace.Session { return c.session }

// Request answers what comes in the dialog; a new offer is taken as it comes.
func (c *Call) Request(tx *sip.ServerTx) {
	if c.g.refuses(tx) {
		return
	}
	if tx.Method() == "REFER" {
		c.refer(tx)
		return
	}
	r := sip.Response{Status: 200, Reason: "OK"}
	if tx.Method() == "INVITE" || tx.Method() == "UPDATE" && len(tx.Body()) > 0 {
		c.changed()
		body, agreed, err := c.take(tx.Body())
		if err == nil && agreed != nil {
			err = c.startMedia(*agreed)
		}
		if r.Body, r.Contact = body, c.contact; err != nil {
			r = sip.Response{Status: 488, Reason: "Not Acceptable Here"}
		}
	}
	tx.Respond(r)
}

// Media is the direction of media as the gateway offers it (RFC 3264 §5.1).
type Media = sdp.Direction

// SendRecv takes a call back from hold.
const SendRecv = sdp.SendRecv

// Offer offers the media anew, in another direction: sendonly or inactive puts
// the other side on hold (RFC 3264 §8.4).
func (c *Call) Offer(ctx context.Context, d Media) error {
	select {
	case <-c.ended:
		return errEnded
	default:
	}
	c.changed()
	local := c.description()
	local.Direction = d
	r, err := c.dialog.Reinvite(ctx, c.contact, nil, sdp.Offer(local).AppendTo(nil))
	if err != nil {
		return err
	}
	if r.Status/100 != 2 {
		return fmt.Errorf("the re-INVITE was answered %d %s", r.Status, r.Reason)
	}
	return c.agree(r.Body)
}

// changed counts the versions of our description.
func (c *Call) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
}

// Transfer asks the other side to call somebody else in our place (RFC 3515),
// and returns the status of its answer.
func (c *Call) Transfer(ctx context.Context, to string) (status int, err error) {
	r, err := c.dialog.Request(ctx, "REFER", []string{
		"Refer-To: <sip:" + to + "@" + sip.HostOf(c.g.addr) + ">", "Referred-By: " + c.contact, "Contact: " + c.contact,
	}, nil)
	return r.Status, err
}

// Ended frees the media of the call.
func (c *Call) Ended(how sip.End) {
	c.once.Do(func() {
		c.stream.Close()
		c.g.src.Record(c.session, trace.Session{}, hungUp{string(how)}, nil)
		close(c.ended)
		c.g.down(c)
	})
}

// crossing is how long the other side's BYE may be on its way behind a 481.
const crossing = 2 * time.Second

// Hangup sends BYE and waits for its answer.
func (c *Call) Hangup(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil // the other side was first
	default:
	}
	r, err := c.dialog.Hangup(ctx)
	if err == nil && r.Status == 481 {
		select {
		case <-c.ended:
			return nil // both hung up: the other side's BYE is here by now, or will be
		case <-time.After(crossing):
		case <-ctx.Done():
		}
	}
	if err == nil && r.Status != 200 {
		err = fmt.Errorf("BYE was answered %d %s", r.Status, r.Reason)
	}
	return err
}

// Wait waits until the call is over, from whichever side.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
