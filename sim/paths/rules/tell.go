package rules

import (
	"fmt"
	"io"
	"strings"
)

// Tell prints what Check found; failed says whether something stands against
// the plan that is no mere warning.
func Tell(w io.Writer, stopped, beside []Finding) (failed bool, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "stopped by the rules, and needed by the plan: %s\n", count(len(stopped)))
	for _, f := range stopped {
		word := "FAIL"
		switch {
		case f.Warn:
			word = "warn"
		case f.Depends != "":
			word = "undecided"
			failed = true
		default:
			failed = true
		}
		fmt.Fprintf(&b, "  %s  %s > %s (%s)  %s/%s%s  by %s\n        %s (%s)\n", word, f.From, f.To, f.Target, f.Transport, f.Ports, f.condition(), f.By, f.Flow.Kind, f.Flow.Sources())
	}
	fmt.Fprintf(&b, "let through by the rules, and not in the plan: %s\n", count(len(beside)))
	for _, f := range beside {
		word := "FAIL"
		if f.Depends != "" {
			word = "warn"
		} else {
			failed = true
		}
		fmt.Fprintf(&b, "  %s  %s > %s (%s)  %s/%s%s  by %s\n", word, f.From, f.To, f.Target, f.Transport, f.Ports, f.condition(), f.By)
	}
	_, err = io.WriteString(w, b.String())
	return failed, err
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
