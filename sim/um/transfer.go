package um

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// transfer hands the caller to a number by a REFER to the gateway (RFC 3515),
// and waits for what comes of it. It is not ok where the gateway refuses or the
// number is not reached: the call goes on then.
func (c *call) transfer(number string) (ok bool, err error) {
	if err := c.play(c.prompt("transfer")); err != nil {
		return false, err
	}
	target := c.referTo(number)
	c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transferring", number, target, 0, ""}, nil)
	return c.handOver(number, target)
}

// toOtherVersion refers the caller to the server of another version that serves a
// mailbox: the call is answered, so that it cannot be redirected any more.
func (c *call) toOtherVersion(m *org.Mailbox, number string) (string, error) {
	target := withUser(m.OtherVersion, number)
	c.w.src.Record(c.session, trace.Session{}, transferEvent{"um.transferring", number, target, 0, ""}, nil)
	ok, err := c.handOver(number, target)
	if err != nil || ok {
		return "referred to a server of another version", err
	}
	return "the server of another version was not reached", c.play(c.prompt("transfer-failed"), c.prompt("goodbye"))
}

// handOver sends a REFER and says what came of it.
func (c *call) handOver(number, target string) (ok bool, err error) {
	accepted, status, why, err := c.refer(target, c.referredBy())
	name := "um.transferred"
	switch {
	case err != nil && c.ended() == sip.EndBye && status < 300 && accepted:
		why = "the gateway hung up before it reported" // as many do that succeed
	case err != nil:
		name, why = "um.transfer_failed", strings.TrimPrefix(why+"; the call ended: "+string(c.ended()), "; ")
	case status/100 != 2:
		name = "um.transfer_failed"
	}
	c.w.src.Record(c.session, trace.Session{}, transferEvent{name, number, target, status, why}, nil)
	return name == "um.transferred", err
}

// refer sends a REFER and follows its NOTIFYs to the end.
func (c *call) refer(target, by string) (accepted bool, status int, why string, err error) {
	wait := c.w.conf.Profile.Transfer.Timeout
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	c.progress(make(chan int, maxProgress))
	defer c.progress(nil)
	r, err := c.dialog.Request(ctx, "REFER", []string{"Refer-To: " + target, "Referred-By: " + by, "Contact: " + c.contact}, nil)
	if err != nil {
		return false, 0, "the REFER was not answered: " + err.Error(), c.gone()
	}
	if r.Status/100 != 2 {
		return false, r.Status, fmt.Sprintf("the REFER was answered %d %s", r.Status, r.Reason), c.gone()
	}
	c.mu.Lock()
	reports := c.reports
	c.mu.Unlock()
	for {
		select {
		case status = <-reports:
			if status >= 200 {
				return true, status, "", nil
			}
		case <-c.over:
			return true, status, "", errOver
		case <-ctx.Done():
			return true, 0, fmt.Sprintf("no NOTIFY with a final status came within %s", wait), nil
		}
	}
}

// maxProgress are reports that may wait.
const maxProgress = 16

// progress says where the reports of a transfer go, nil while none is awaited.
func (c *call) progress(reports chan int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = reports
}

// reported takes a NOTIFY about a transfer: the status line in its body
// (RFC 3515 §2.4.5), or the end of the subscription.
func (c *call) reported(tx *sip.ServerTx) {
	c.mu.Lock()
	reports := c.reports
	c.mu.Unlock()
	if event := tx.Header("Event"); reports == nil || len(event) == 0 || !strings.HasPrefix(strings.ToLower(event[0]), "refer") {
		tx.Respond(sip.Response{Status: 481, Reason: sip.Reason(481)})
		return
	}
	tx.Respond(sip.Response{Status: 200, Reason: "OK"})
	status := 0
	if fields := strings.Fields(string(tx.Body())); len(fields) > 1 && fields[0] == "SIP/2.0" {
		status, _ = strconv.Atoi(fields[1])
	}
	if state := tx.Header("Subscription-State"); status < 200 && len(state) > 0 && strings.HasPrefix(strings.ToLower(state[0]), "terminated") {
		status = 487 // the subscription is over, and the end is not known (RFC 3515 §2.4.7)
	}
	if status > 0 {
		select {
		case reports <- status:
		default: // nobody needs so many
		}
	}
}

// referTo is the number in the form of the dial plan.
func (c *call) referTo(number string) string {
	t := &c.w.conf.Profile.Transfer
	form := t.ReferTo
	if m := c.w.conf.Org.MailboxOf(c.a.plan.Name, number); m != nil && c.a.plan.URIType == org.SipName {
		form = t.ReferToSIP
		number = c.sipAddress(m)
	}
	return c.fillParty(form, number)
}

func (c *call) sipAddress(m *org.Mailbox) string {
	if m.SIPAddress != "" {
		return m.SIPAddress
	}
	return m.Address
}

func (c *call) referredBy() string {
	return c.fillParty(c.w.conf.Profile.Transfer.ReferredBy, c.a.pilot)
}

func (c *call) fillParty(form, number string) string {
	at := c.w.conf.Server.Public()
	return strings.NewReplacer("{number}", number, "{gateway}", c.gatewayHost(), "{server}", sip.HostOf(at)).Replace(form)
}

// gatewayHost is how the gateway's own object names it.
func (c *call) gatewayHost() string {
	if g := c.a.gateway; g.FQDN != "" {
		return g.FQDN
	}
	return sip.HostOf(c.a.gateway.Address)
}
