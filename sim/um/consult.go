package um

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/exsim/exsim/sim/trace"
)

// consult hands the caller to a number that was called first: the two legs are
// joined at the gateway by a REFER whose target replaces the second one
// (RFC 3891, RFC 5589 §7). It is not ok where the number does not answer, or the
// gateway does not join them: the call goes on then.
func (c *call) consult(number string) (ok bool, err error) {
	if err := c.play(c.prompt("transfer")); err != nil {
		return false, err
	}
	targets := c.w.conf.Gateways.callable(c.w.conf.Org, c.a.plan.Name)
	i := slices.IndexFunc(targets, func(t target) bool { return t.object == c.a.gateway })
	if i < 0 {
		c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transfer_failed", number, "", 0, "gateway " + c.a.gateway.Name + " takes no calls (Status, no-outcalls)"}, nil)
		return false, c.gone()
	}
	leg := c.w.outCall(&admitted{kind: consultation, gateway: c.a.gateway, huntGroup: c.a.huntGroup, plan: c.a.plan, pilot: c.a.pilot})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.w.wg.Go(func() { // a caller who hangs up is not waited for
		select {
		case <-c.over:
			cancel()
		case <-ctx.Done():
		}
	})
	if err := c.w.place(ctx, leg, targets[i], number); err != nil {
		c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transfer_failed", number, "", 0, err.Error()}, nil)
		return false, c.gone()
	}
	defer leg.hangUp("its caller was joined, or is not to be")
	callID, ours, theirs := leg.dialog.ID()
	replaces := url.QueryEscape(callID + ";to-tag=" + theirs + ";from-tag=" + ours)
	to := fmt.Sprintf("<sip:%s@%s?Replaces=%s>", number, targets[i].at, replaces)
	c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transferring", number, to, 0, ""}, nil)
	return c.handOver(number, to)
}

// consulted waits in the second leg of a transfer.
func (c *call) consulted() (string, error) {
	<-c.over
	return "", errOver
}
