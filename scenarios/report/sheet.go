package report

import (
	"fmt"
	"html/template"
	"io"
	"time"
)

// Sheet is the result of a suite, to be printed and signed.
type Sheet struct {
	Title   string
	Profile string // version of Exchange that was simulated
	Program string // version of exsim
	Device  string // who played the device
	Begun   time.Time
	Ended   time.Time
	Lines   []SheetLine
}

// SheetLine is one case.
type SheetLine struct {
	Number, Section, Title string
	Result                 SheetResult
	Why                    string // of a failure, or why it is not applicable
	Side, Next, Ref        string // of a failure: on whose side, and what to do
}

// SheetResult is what came of a case.
type SheetResult string

// The results.
const (
	SheetPassed        SheetResult = "passed"
	SheetFailed        SheetResult = "FAILED"
	SheetNotApplicable SheetResult = "n/a"
	SheetNotRun        SheetResult = "not run"
)

// Count is how many lines have a result.
func (s *Sheet) Count(r SheetResult) (n int) {
	for _, l := range s.Lines {
		if l.Result == r {
			n++
		}
	}
	return n
}

// Sections are the titles in their order.
func (s *Sheet) Sections() []string {
	var list []string
	for _, l := range s.Lines {
		if len(list) == 0 || list[len(list)-1] != l.Section {
			list = append(list, l.Section)
		}
	}
	return list
}

// In are the lines of a section.
func (s *Sheet) In(section string) []SheetLine {
	var list []SheetLine
	for _, l := range s.Lines {
		if l.Section == section {
			list = append(list, l)
		}
	}
	return list
}

// Text prints the sheet for a terminal.
func (s *Sheet) Text(w io.Writer) error {
	out := &sticky{w: w}
	out.printf("%s\nExchange %s, device: %s\n", s.Title, s.Profile, s.Device)
	for _, section := range s.Sections() {
		out.printf("\n%s\n", section)
		for _, l := range s.In(section) {
			out.printf("  %-5s %-8s %s\n", l.Number, l.Result, l.Title)
			if l.Why != "" {
				out.printf("                 %s\n", l.Why)
			}
			if l.Next != "" {
				out.printf("                 next: %s\n", l.Next)
			}
		}
	}
	out.printf("\n%d passed, %d failed, %d not applicable, %d not run\n", s.Count(SheetPassed), s.Count(SheetFailed), s.Count(SheetNotApplicable), s.Count(SheetNotRun))
	return out.err
}

// sticky keeps the first error of many writes.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

// HTML prints the sheet as one page without scripts or anything from elsewhere.
func (s *Sheet) HTML(w io.Writer) error { return sheetPage.Execute(w, s) }

var sheetPage = template.Must(template.New("sheet").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #cf222e; --dim: #777; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; }
dt { color: var(--dim); } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .35rem .5rem .35rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { width: 3rem; } td:nth-child(3) { width: 5rem; white-space: nowrap; }
.passed { color: var(--good); } .FAILED { color: var(--bad); font-weight: 600; } .n, .not { color: var(--dim); }
small { display: block; color: var(--dim); }
.sum { font-size: 1.1rem; }
.sign { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 2rem; margin-top: 3.5rem; break-inside: avoid; }
.sign div { border-top: 1px solid currentColor; padding-top: .3rem; color: var(--dim); }
.fill { display: inline-block; min-width: 16rem; border-bottom: 1px solid var(--line); }
@media (max-width: 40rem) { .sign { grid-template-columns: 1fr; } .fill { min-width: 8rem; } }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
</style></head><body>
<h1>{{.Title}}</h1>
<dl>
<dt>Device, firmware</dt><dd><span class="fill">&nbsp;</span></dd>
<dt>Configuration, site</dt><dd><span class="fill">&nbsp;</span></dd>
<dt>Played by</dt><dd>{{.Device}}</dd>
<dt>Against</dt><dd>Exchange {{.Profile}} Unified Messaging, simulated by exsim {{.Program}}</dd>
<dt>Run</dt><dd>{{.Begun.Format "2006-01-02 15:04"}} to {{.Ended.Format "15:04 MST"}}</dd>
</dl>
<p class="sum"><span class="passed">{{.Count "passed"}} passed</span>, <span class="{{if .Count "FAILED"}}FAILED{{end}}">{{.Count "FAILED"}} failed</span>, {{.Count "n/a"}} not applicable, {{.Count "not run"}} not run</p>
{{$s := .}}{{range .Sections}}<h2>{{.}}</h2>
<table>{{range $s.In .}}
<tr><td>{{.Number}}</td><td>{{.Title}}{{with .Why}}<small>{{.}}</small>{{end}}{{with .Next}}<small>Next: {{.}}</small>{{end}}{{with .Ref}}<small>{{.}}</small>{{end}}</td><td class="{{.Result}}">{{.Result}}{{with .Side}}<small>side: {{.}}</small>{{end}}</td></tr>{{end}}
</table>
{{end}}
<div class="sign"><div>Tested by</div><div>Accepted by</div><div>Date</div></div>
</body></html>
`))
