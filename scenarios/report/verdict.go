package report

import (
	"fmt"
	"io"

	"github.com/exsim/exsim/sim/trace"
)

// Verdicts prints the judgement of each step as recorded, what failed with
// what happened instead.
func Verdicts(w io.Writer, events []trace.Event) error {
	for i := range events {
		e := &events[i]
		if e.Name != "scenario.verdict" {
			continue
		}
		mark := map[string]string{"passed": "ok  ", "failed": "FAIL", "not run": "-   "}[e.Text("result")]
		step := "    "
		if n := e.Int("step"); n > 0 {
			step = fmt.Sprintf("%3d ", n)
		}
		if _, err := fmt.Fprintf(w, "  %s %s%s\n", mark, step, clean(e.Text("text"))); err != nil {
			return err
		}
		if got := e.Text("got"); got != "" {
			if _, err := fmt.Fprintf(w, "             got:   %s\n", clean(got)); err != nil {
				return err
			}
		}
		for _, key := range []string{"side", "cause", "next", "ref"} {
			if why := e.Text(key); why != "" {
				if _, err := fmt.Fprintf(w, "             %-6s %s\n", key+":", clean(why)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
