package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// answer takes a call.
type answer struct {
	ID     string        `yaml:"id,required" doc:"name of the call in later steps"`
	By     string        `yaml:"by,required" doc:"actor that is called, an ip-gateway"`
	Status int           `yaml:"status" default:"200" doc:"of the answer: 200 takes the call"`
	Early  bool          `yaml:"early-media" doc:"true sends a 183 with the description first"`
	Within time.Duration `yaml:"within" default:"10s" doc:"time until the call comes"`
}

func (a *answer) callID() string    { return a.ID }
func (a *answer) actorName() string { return a.By }

func (a *answer) check(l *loader) string {
	l.opens(a.ID)
	if l.branch == 0 {
		l.f.Report(l.settings.Pos, "- parallel: [{call: {...}}, {answer: {...}}]", "answer: a call waits for its answer, so that this stands beside it in parallel")
	}
	l.actor(l.at("by"), a.By, roleGateway)
	if a.Status != 200 && (a.Status < 400 || a.Status > 699) {
		l.f.Report(l.at("status"), "200, or 400 to 699", "answer: status %d", a.Status)
	}
	if a.Status == 200 {
		return fmt.Sprintf("%s: %s takes a call", a.ID, a.By)
	}
	return fmt.Sprintf("%s: %s refuses a call (%d)", a.ID, a.By, a.Status)
}

func (a *answer) do(ctx context.Context, r *run, _ int) error {
	ctx, cancel := context.WithTimeout(ctx, r.within(a.Within))
	defer cancel()
	c, err := r.lab.Gateways[a.By].Answer(ctx, a.Status, a.Early)
	if c.Session().Kind != "" {
		r.named(a.ID, c.Session())
	}
	if err != nil {
		return err
	}
	if a.Status == 200 {
		r.up(a.ID, c)
	}
	return nil
}

func (a *answer) instruction(s *Scenario) string {
	if a.Status != 200 {
		return "refuse the call that comes to " + a.By + s.inCall(a.ID)
	}
	return "take the call that comes to " + a.By + s.inCall(a.ID)
}

// watch waits until a call to the device is answered, as the caller sees it.
func (a *answer) watch(ctx context.Context, r *run) error {
	e := r.since(ctx, r.mark(), r.patience(), func(e *trace.Event) bool {
		return e.Name == "sip.received" && e.Text("method") == "INVITE" && e.Int("status") >= 200 && r.from(e, a.By)
	})
	if e == nil {
		return fmt.Errorf("no answer came from %s within %s", a.By, r.patience())
	}
	r.named(a.ID, e.Session)
	if got := int(e.Int("status")); got != a.Status {
		return fmt.Errorf("the call was answered %d", got)
	}
	return nil
}
