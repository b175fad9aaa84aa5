package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/exsim/exsim/sim/org"
)

// playOnPhone lets Unified Messaging call a telephone and play a message there.
type playOnPhone struct {
	ID      string        `yaml:"id,required" doc:"name of the call in later steps"`
	Mailbox string        `yaml:"mailbox,required" doc:"extension or address of the mailbox whose latest voice message is played"`
	Number  string        `yaml:"number,required" doc:"that is called"`
	Outcome string        `yaml:"outcome" default:"answered" enum:"answered,refused" doc:"what shall come of it"`
	Within  time.Duration `yaml:"within" default:"20s" doc:"time for the final answer"`
}

func (p *playOnPhone) callID() string { return p.ID }

func (p *playOnPhone) check(l *loader) string {
	l.opens(p.ID)
	if o := l.s.Organisation; o != nil && p.mailbox(o) == nil {
		l.f.Report(l.at("mailbox"), "", "play-on-phone: no mailbox %q", p.Mailbox)
	}
	return fmt.Sprintf("%s: Unified Messaging plays a message of %s to %s: %s", p.ID, p.Mailbox, p.Number, p.Outcome)
}

func (p *playOnPhone) mailbox(o *org.Organisation) *org.Mailbox {
	if m := o.MailboxAt(p.Mailbox); m != nil {
		return m
	}
	for i := range o.Mailboxes {
		if o.Mailboxes[i].Extension == p.Mailbox {
			return &o.Mailboxes[i]
		}
	}
	return nil
}

func (p *playOnPhone) do(ctx context.Context, r *run, _ int) error {
	ctx, cancel := context.WithTimeout(ctx, r.within(p.Within))
	defer cancel()
	session, err := r.x.PlayOnPhone(ctx, p.mailbox(r.s.Organisation).Address, "", p.Number)
	if session.Kind != "" {
		r.named(p.ID, session)
	}
	if p.Outcome == "refused" {
		if err == nil {
			return fmt.Errorf("the call was answered")
		}
		return nil
	}
	return err
}
