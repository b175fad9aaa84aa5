package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/trace"
)

var (
	//go:embed page.css
	pageStyle string
	//go:embed page.tmpl
	pageText string

	pageTemplate = template.Must(template.New("").Parse(pageText))
)

// HTML writes runs as one page that opens from disk: the verdicts with cause and
// next step, the ladder, media, paths and mail. It has no script, and loads
// nothing; what came from the wire is text in it, and its own policy forbids
// everything else.
func HTML(w io.Writer, title string, runs []Run) error {
	p := newPage(title, runs)
	return printPage(w, p.Title, pageStyle+p.grids(), "page", p)
}

// printPage prints a page whose policy forbids all but its own style.
func printPage(w io.Writer, title, style, name string, data any) error {
	sum := sha256.Sum256([]byte(style))
	b := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(b, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s</style></head><body>
`, base64.StdEncoding.EncodeToString(sum[:]), template.HTMLEscapeString(title), style)
	if err := pageTemplate.ExecuteTemplate(b, name, data); err != nil {
		return err
	}
	fmt.Fprintln(b, "</body></html>")
	return b.Flush()
}

// page is what the template prints.
type page struct {
	Title  string
	Counts []count
	Kinds  []string // of arrows
	Runs   []pageRun
	Made   string
}

type count struct {
	N           int
	Word, Class string
}

// pair is a line of a list of facts.
type pair struct{ Key, Value string }

// pageRun is one run on the page.
type pageRun struct {
	ID            string
	Name, Short   string
	Result, Class string
	Took          string
	Open          bool
	Facts         []pair
	Verdicts      []pageVerdict
	Loads         []pageLoad
	Paths         []pagePath
	Refused       []refusal
	Ladder        *pageLadder
	Media         *pageMedia
	Mail          []delivered
	Bench         []exactness
}

type pageVerdict struct {
	Mark, Result, Class string
	Step                int64
	Text, Link          string
	Why                 []pair
}

func newPage(title string, runs []Run) *page {
	p := &page{Title: visible(title), Kinds: []string{"sip", "rtp", "smtp", "note"}}
	version := ""
	for i := range runs {
		r := newPageRun(fmt.Sprintf("r%d", i+1), &runs[i])
		r.Open = len(runs) == 1 || r.Class == "failed" || r.Class == "broken"
		p.Runs = append(p.Runs, r)
		p.count(r.Result, r.Class)
		if len(runs[i].Events) > 0 {
			version = runs[i].Events[0].Text("exsim")
		}
	}
	p.Made = strings.TrimSpace("Made by exsim "+visible(version)) + "."
	return p
}

func (p *page) count(word, class string) {
	i := slices.IndexFunc(p.Counts, func(c count) bool { return c.Word == word })
	if i < 0 {
		p.Counts = append(p.Counts, count{Word: word, Class: class})
		i = len(p.Counts) - 1
	}
	p.Counts[i].N++
}

// grids are the styles of lanes: lines at equal distances.
func (p *page) grids() string {
	var b strings.Builder
	seen := map[int]bool{}
	for i := range p.Runs {
		if l := p.Runs[i].Ladder; l != nil && !seen[len(l.Lanes)] {
			n := len(l.Lanes)
			seen[n] = true
			fmt.Fprintf(&b, ".row svg.%s { background-size: %s 100%%; }\n", gridClass(n), percent(1/float64(n)))
		}
	}
	return b.String()
}

func gridClass(lanes int) string { return fmt.Sprintf("l%d", lanes) }

func percent(part float64) string { return fmt.Sprintf("%.3f%%", 100*part) }

func newPageRun(id string, r *Run) pageRun {
	p := pageRun{ID: id, Name: visible(r.title()), Took: fmt.Sprintf("%.1f s", length(r.Events).Seconds())}
	p.Result, p.Class = r.result()
	if p.Class == "failed" || p.Class == "broken" || p.Class == "caught" {
		p.Short = visible(r.reason())
	}
	p.Facts = r.facts()
	marks := p.verdicts(r.Events)
	p.Loads = loadsOn(r.Events)
	p.Paths = pathsOf(r.Events)
	p.Refused = visibleRefusals(refusals(r.Events))
	p.Ladder = newPageLadder(id, r.Events, marks)
	p.Media = newPageMedia(r.Events)
	p.Mail, p.Bench = mailOf(r.Events), benchOf(r.Events)
	return p
}

// facts say what ran.
func (r *Run) facts() []pair {
	var list []pair
	add := func(key, value string) {
		if value != "" {
			list = append(list, pair{visible(key), visible(value)})
		}
	}
	add("why", r.Broken+r.Why)
	if len(r.Events) == 0 {
		return list
	}
	h := &r.Events[0]
	add("simulated", prefixed("Exchange ", h.Text("profile")))
	add("began", h.Text("wall"))
	add("took", fmt.Sprintf("%.3f s", length(r.Events).Seconds()))
	add("seed", h.Text("seed"))
	add("exsim", h.Text("exsim"))
	for _, f := range h.Fields {
		if name, ok := strings.CutPrefix(f.Key, "var."); ok {
			add("var "+name, trace.FormatValue(f.Value))
		}
	}
	if r.Incomplete() {
		add("incomplete", NoEnd)
	}
	return list
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// mark is a verdict beside the message that decided it.
type mark struct{ Text, Class, Link string }

// verdicts lists them, and returns their marks by the number of the event that
// decided.
func (p *pageRun) verdicts(events []trace.Event) map[int64][]mark {
	marks := map[int64][]mark{}
	for i := range events {
		e := &events[i]
		if e.Name != "scenario.verdict" {
			continue
		}
		v := pageVerdict{Result: e.Text("result"), Step: e.Int("step"), Text: visible(e.Text("text"))}
		switch v.Result {
		case "passed":
			v.Mark, v.Class = "✓", "passed"
		case "failed":
			v.Mark, v.Class = "✗", "failed"
		default:
			v.Mark, v.Class = "–", "unrun"
		}
		for _, key := range []string{"got", "side", "cause", "next", "ref"} {
			if text := e.Text(key); text != "" {
				v.Why = append(v.Why, pair{key, visible(text)})
			}
		}
		if decided := e.Int("event"); decided > 0 {
			step := "goal"
			if v.Step > 0 {
				step = fmt.Sprint(v.Step)
			}
			v.Link = messageLink(p.ID, decided)
			marks[decided] = append(marks[decided], mark{step + " " + v.Mark, v.Class, v.Link})
		}
		p.Verdicts = append(p.Verdicts, v)
	}
	return marks
}

func messageID(run string, seq int64) string { return fmt.Sprintf("%se%d", run, seq) }

func messageLink(run string, seq int64) string { return "#" + messageID(run, seq) }

// visible is text from anywhere as a page may show it: no controls, and nothing
// that turns the direction of what follows.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "·"))
}

// short is text for a place with little room.
func short(s string) string {
	const room = 40
	r := []rune(visible(s))
	if len(r) <= room {
		return string(r)
	}
	return string(r[:room-1]) + "…"
}

// visibleLines leaves line ends and tabs.
func visibleLines(s string) string {
	return strings.Map(func(r rune) rune {
		if unseen(r) && r != '\n' && r != '\t' {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "·"))
}

// unseen are controls, and what arranges text (Unicode's Bidi_Control).
func unseen(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
