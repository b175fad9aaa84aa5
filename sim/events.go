package sim

import (
	"slices"
	"strings"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/transport"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
)

// Events lists every event that a run records, sorted by name. Names and
// fields are a contract with scenarios.
func Events() []trace.EventType {
	list := []trace.EventType{{Name: "bench.fault", Means: "exsim itself failed: the run proves nothing", Fields: []trace.FieldType{
		{Key: "where", Means: "part of exsim"}, {Key: "what", Means: "what happened"}}}}
	for _, more := range [][]trace.EventType{
		trace.Events(), admit.Events(), sip.Events(), rtp.Events(), smtp.Events(), um.Events(), transport.Events(),
	} {
		list = append(list, more...)
	}
	slices.SortFunc(list, func(a, b trace.EventType) int { return strings.Compare(a.Name, b.Name) })
	return list
}
