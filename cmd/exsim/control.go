package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/org"
)

// order is what can be typed while an organisation is up.
type order struct {
	name, args, means string
	do                func(x *sim.Exchange, args []string) error
	takes             bool // its time: others may be typed meanwhile
}

// orders are found by their first word.
var orders = []order{
	{name: "recycle", args: "SERVER", means: "a second worker process takes the new calls, the old one ends behind its last",
		do: func(x *sim.Exchange, args []string) error { return x.Recycle(args[0]) }},
	{name: "gateway", args: "NAME STATUS", means: "STATUS is Enabled, NoNewCalls, or Disabled, which also ends its calls",
		do: func(x *sim.Exchange, args []string) error { return x.SetGatewayStatus(args[0], status(args[1])) }},
	{name: "play", args: "MAILBOX NUMBER", takes: true, means: "Play on Phone: the mailbox's latest voice message is played to the telephone with that number, through its dial plan's gateway",
		do: func(x *sim.Exchange, args []string) error {
			_, err := x.PlayOnPhone(context.Background(), args[0], "", args[1])
			return err
		}},
	{name: "maintenance", args: "SERVER on|off", do: maintenance, means: "on (or inactive): its call router and UM service refuse calls and OPTIONS; off (or active): no more"},
}

// status finds a state whatever its case.
func status(word string) org.Status {
	for _, s := range org.Statuses {
		if strings.EqualFold(string(s), word) {
			return s
		}
	}
	return org.Status(word)
}

func maintenance(x *sim.Exchange, args []string) error {
	switch strings.ToLower(args[1]) {
	case "on", "inactive":
		return x.SetMaintenance(args[0], true)
	case "off", "active":
		return x.SetMaintenance(args[0], false)
	}
	return fmt.Errorf("maintenance is on or off, not %q", args[1])
}

// control carries out what is typed, a line each, until the input ends.
func control(in io.Reader, out io.Writer, x *sim.Exchange) {
	leaveTerminal()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 0 {
			obey(out, x, words)
		}
	}
}

func (o *order) carryOut(out io.Writer, x *sim.Exchange, args []string) {
	if err := o.do(x, args); err != nil {
		fmt.Fprintln(out, "exsim: "+err.Error())
	}
}

func obey(out io.Writer, x *sim.Exchange, words []string) {
	for _, o := range orders {
		if o.name != words[0] {
			continue
		}
		if want := len(strings.Fields(o.args)); want != len(words)-1 {
			fmt.Fprintf(out, "exsim: %s wants %s\n", o.name, o.args)
		} else if o.takes {
			go o.carryOut(out, x, words[1:])
		} else {
			o.carryOut(out, x, words[1:])
		}
		return
	}
	if words[0] != "help" {
		fmt.Fprintf(out, "exsim: no command %q; there are\n", words[0])
	}
	for _, o := range orders {
		fmt.Fprintf(out, "  %s %s: %s\n", o.name, o.args, o.means)
	}
}
