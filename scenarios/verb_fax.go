package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// fax lets a fax machine call.
type fax struct {
	Call   string        `yaml:"call,required" doc:"id of the call"`
	By     string        `yaml:"by" default:"tone" enum:"tone,event,t38" doc:"how it is known: its calling tone in the audio, that tone as telephone event 36, or a re-INVITE for T.38"`
	After  string        `yaml:"after" default:"um.greeting" doc:"event of the call that it waits for"`
	Within time.Duration `yaml:"within" default:"30s" doc:"time for that event, and then for the answer"`
}

func (f *fax) callID() string { return f.Call }

func (f *fax) check(l *loader) string {
	l.callID(l.at("call"), f.Call)
	l.event(l.at("after"), f.After)
	how := map[string]string{"tone": "its calling tone", "event": "telephone event 36", "t38": "a re-INVITE for T.38"}[f.By]
	return fmt.Sprintf("a fax machine is in %s: %s after %s", f.Call, how, f.After)
}

func (f *fax) do(ctx context.Context, r *run, _ int) error {
	c, err := r.callAfter(ctx, f.Call, f.After, f.Within)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.Within)
	defer cancel()
	if f.By == "t38" {
		return c.OfferFax(ctx)
	}
	return c.Fax(ctx, f.By == "event")
}

func (f *fax) instruction(s *Scenario) string {
	switch f.By {
	case "event":
		return "let a fax machine call, its tone signalled as telephone event 36" + s.inCall(f.Call)
	case "t38":
		return "let the device offer T.38 (a fax machine calls, and begins to send)" + s.inCall(f.Call)
	}
	return "let a fax machine call, and begin to send" + s.inCall(f.Call)
}

func (f *fax) watch(ctx context.Context, r *run) error {
	session, err := r.remote(f.Call)
	if err != nil {
		return err
	}
	if r.since(ctx, 0, r.patience(), func(e *trace.Event) bool { return e.Name == "um.fax" && e.Session == session }) == nil {
		return fmt.Errorf("no fax machine was heard within %s", r.patience())
	}
	return nil
}
