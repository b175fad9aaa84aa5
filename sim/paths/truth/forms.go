package truth

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/junit"
)

// row is a result as JSON and CSV hold it.
type row struct {
	From       string   `json:"from"`
	To         string   `json:"to"`
	Source     string   `json:"source"`
	Target     string   `json:"target"`
	Port       string   `json:"port"`
	Protocol   string   `json:"protocol,omitempty"`
	Kind       string   `json:"kind"`
	Expected   string   `json:"expected"`
	Found      string   `json:"found"`
	Difference string   `json:"difference,omitempty"`
	Level      string   `json:"level"`
	Side       string   `json:"side,omitempty"`
	Cause      string   `json:"cause,omitempty"`
	Next       string   `json:"next,omitempty"`
	Rule       string   `json:"rule,omitempty"`
	RestsOn    string   `json:"rests-on,omitempty"`
	Evidence   []string `json:"evidence,omitempty"`
	Parts      []part   `json:"parts,omitempty"`
	Changes    []change `json:"changes,omitempty"`
}

type part struct {
	Found string `json:"found"`
	Ports string `json:"ports"`
}

type change struct {
	What   string `json:"what"`
	Way    string `json:"way"`
	Sent   string `json:"sent,omitempty"`
	Got    string `json:"got,omitempty"`
	Rating string `json:"rating"`
	Means  string `json:"means,omitempty"`
	By     string `json:"by,omitempty"`
}

func (r *Result) row() row {
	f := r.Flow
	x := row{From: f.From.Name, To: f.To.Name, Source: f.Source.String(), Target: f.Target.String(), Port: portText(f), Protocol: f.Protocol,
		Kind: string(f.Kind), Expected: string(f.Expect), Found: string(r.Verdict), Level: string(r.Level), Side: r.Side, Cause: r.Cause, Next: r.Next, Rule: r.Rule,
		RestsOn: f.Sources(), Difference: r.difference(), Evidence: slices.Concat(r.How, r.Evidence)}
	if len(r.Parts) > 1 {
		for _, p := range r.Parts {
			x.Parts = append(x.Parts, part{string(p.Verdict), p.Ports.String()})
		}
	}
	for _, c := range r.Changes {
		x.Changes = append(x.Changes, change{c.What, c.Way, c.Sent, c.Got, string(c.Rating), c.Means, c.By})
	}
	return x
}

// JSON prints the table as one object.
func (t *Table) JSON(w io.Writer) error {
	out := struct {
		Plan        string   `json:"plan"`
		Exchange    string   `json:"exchange"`
		Failed      bool     `json:"failed"`
		Incomplete  []string `json:"incomplete,omitempty"`
		Untried     int      `json:"untried,omitempty"`
		Unported    []string `json:"without-port,omitempty"`
		Unsupported []string `json:"unsupported,omitempty"`
		Rates       []Rate   `json:"rates,omitempty"`
		Clocks      []Clock  `json:"clocks,omitempty"`
		Flows       []row    `json:"flows"`
	}{t.Plan.Name, t.Plan.Exchange, t.Failed(), t.Interrupted, t.Untried, t.Unported, nil, t.Rates, t.Clocks, []row{}}
	for _, x := range t.Warnings {
		out.Unsupported = append(out.Unsupported, x.Rule.ID+": "+x.Text)
	}
	for i := range t.Results {
		out.Flows = append(out.Flows, t.Results[i].row())
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// CSV prints a line for each flow.
func (t *Table) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	all := [][]string{{"level", "from", "to", "source", "target", "port", "protocol", "kind", "expected", "found", "difference", "side", "cause", "next", "rule", "rests on"}}
	for i := range t.Results {
		r := t.Results[i].row()
		all = append(all, []string{r.Level, r.From, r.To, r.Source, r.Target, r.Port, r.Protocol, r.Kind, r.Expected, r.Found, r.Difference, r.Side, r.Cause, r.Next, r.Rule, r.RestsOn})
	}
	return c.WriteAll(all)
}

// JUnit prints a case for each flow; what was not proven is skipped.
func (t *Table) JUnit(w io.Writer) error {
	var out strings.Builder
	if err := t.Text(&out); err != nil {
		return err
	}
	s := junit.Suite{Name: t.Plan.Name, Out: out.String()}
	total := time.Duration(0)
	for i := range t.Results {
		r := &t.Results[i]
		total += r.Took
		c := junit.Case{Name: r.Flow.ID, Class: t.Plan.Name + "." + string(r.Flow.Kind), Time: seconds(r.Took)}
		text := &junit.Message{Message: fmt.Sprintf("%s, %s expected", r.Verdict, r.Flow.Expect), Type: string(r.Verdict), Text: strings.Join([]string{r.Cause, r.Next, r.Rule}, "\n")}
		switch r.Level {
		case Fail:
			c.Failure = text
		case Unproven:
			c.Skipped = text
		}
		s.Add(c)
	}
	s.Time = seconds(total)
	return junit.Write(w, []junit.Suite{s})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
