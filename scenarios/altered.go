package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

// altered says how an INVITE of a call came otherwise to the organisation than
// a simulated gateway had sent it; "" if all came as they left. Via is not
// compared.
func (j *judge) altered(session trace.Session) string {
	for i := range j.events {
		came := &j.events[i]
		if session.Kind != "" && came.Session != session || came.Name != "sip.received" || came.Listener == roleGateway || !invite(came) {
			continue
		}
		if k := slices.IndexFunc(j.events[:i], func(e trace.Event) bool {
			return e.Name == "sip.sent" && e.Listener == roleGateway && e.Session == came.Session && invite(&e) && cseq(&e) == cseq(came)
		}); k >= 0 {
			if how := difference(j.events[k].Raw, came.Raw); how != "" {
				return how
			}
		}
	}
	return ""
}

func invite(e *trace.Event) bool { return e.Text("method") == "INVITE" && e.Int("status") == 0 }

func cseq(e *trace.Event) string {
	value, _ := header(e.Raw, "CSeq")
	return value
}

// difference tells the first line that one message has and the other has not.
func difference(left, came []byte) string {
	was, is := linesOf(left), linesOf(came)
	for i, l := range was {
		if slices.Contains(is, l) {
			continue
		}
		name := l[:strings.IndexAny(l+":", ":=")+1]
		k := slices.IndexFunc(is, func(o string) bool { return strings.HasPrefix(o, name) && !slices.Contains(was, o) })
		if k < 0 {
			return fmt.Sprintf("%q was taken away", l)
		}
		if i == 0 || name != "Content-Length:" {
			return fmt.Sprintf("%q became %q", l, is[k])
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) && !strings.HasPrefix(l, "Content-Length:") {
			return fmt.Sprintf("%q was added", l)
		}
	}
	return ""
}

func linesOf(message []byte) []string {
	return slices.DeleteFunc(strings.Split(string(message), "\r\n"), func(l string) bool {
		return l == "" || strings.HasPrefix(strings.ToLower(l), "via:")
	})
}
