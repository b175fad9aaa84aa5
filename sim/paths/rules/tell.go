package rules

import (
	"fmt"
	"io"
	"strings"
)

// Tell prints what Check found.
func Tell(w io.Writer, stopped, beside []Finding) error {
	var b strings.Builder
	undecided := 0
	for _, f := range stopped {
		if f.Depends != "" {
			undecided++
		}
	}
	fmt.Fprintf(&b, "stopped by the rules, and needed by the plan: %s\n", count(len(stopped)-undecided))
	if undecided > 0 {
		fmt.Fprintf(&b, "not decided by the rules alone, and needed by the plan: %d\n", undecided)
	}
	for _, f := range stopped {
		word := "FAIL"
		switch {
		case f.Warn:
			word = "warn"
		case f.Depends != "":
			word = "undecided"
		}
		fmt.Fprintf(&b, "  %s  %s > %s (%s)  %s/%s%s  by %s\n        %s (%s)\n", word, f.From, f.To, f.Target, f.Transport, f.Ports, f.condition(), f.By, f.Flow.Kind, f.Flow.Sources())
	}
	fmt.Fprintf(&b, "let through by the rules, and not in the plan: %s\n", count(len(beside)))
	for _, f := range beside {
		word := "FAIL"
		if f.Depends != "" {
			word = "warn"
		}
		fmt.Fprintf(&b, "  %s  %s > %s (%s)  %s/%s%s  by %s\n", word, f.From, f.To, f.Target, f.Transport, f.Ports, f.condition(), f.By)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func (f Finding) condition() string {
	if f.Depends == "" {
		return ""
	}
	return ", depending on " + f.Depends + ","
}

// Row is a finding as JSON holds it.
type Row struct {
	Found     string `json:"found"` // stopped, undecided, beside
	From      string `json:"from"`
	To        string `json:"to"`
	Target    string `json:"target"`
	Transport string `json:"transport"`
	Ports     string `json:"ports"`
	By        string `json:"by"`
	Depends   string `json:"depends-on,omitempty"`
	Kind      string `json:"kind,omitempty"`
	RestsOn   string `json:"rests-on,omitempty"`
}

// Rows lists what Check found; failed says whether something stands against the
// plan that is no mere warning.
func Rows(stopped, beside []Finding) (list []Row, failed bool) {
	list = []Row{}
	for _, f := range stopped {
		r := f.row("stopped")
		if f.Depends != "" {
			r.Found = "undecided"
		}
		r.Kind, r.RestsOn = string(f.Flow.Kind), f.Flow.Sources()
		failed = failed || !f.Warn
		list = append(list, r)
	}
	for _, f := range beside {
		failed = failed || f.Depends == ""
		list = append(list, f.row("beside"))
	}
	return list, failed
}

func (f Finding) row(found string) Row {
	return Row{Found: found, From: f.From, To: f.To, Target: f.Target.String(), Transport: f.Transport, Ports: f.Ports.String(), By: f.By, Depends: f.Depends}
}
