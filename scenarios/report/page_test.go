package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// eventsOf are those of a run in which every text from outside is dirt.
func eventsOf(dirt string, messages int) []trace.Event {
	var list []trace.Event
	call := trace.Session{Kind: "call", N: 1}
	add := func(host, listener string, session trace.Session, name string, raw []byte, fields ...any) {
		e := trace.Event{Seq: uint64(len(list)), At: time.Duration(len(list)) * time.Millisecond, Host: host, Listener: listener, Session: session, Name: name, Raw: raw}
		for i := 0; i < len(fields); i += 2 {
			e.Fields = append(e.Fields, trace.Field{Key: fields[i].(string), Value: fields[i+1]})
		}
		list = append(list, e)
	}
	none := trace.Session{}
	add("", "", none, "run.started", nil, "schema", int64(1), "scenario", "hostile "+dirt, "profile", dirt, "exsim", dirt, "var."+dirt, dirt)
	add("", "", none, "bench.party", nil, "who", "gw"+dirt, "role", "ip-gateway", "address", "127.0.0.30")
	for i := range messages {
		name, direction := "sip.received", "INVITE"
		if i%2 == 1 {
			name, direction = "sip.sent", "ACK"
		}
		add("MBX1", "um-service", call, name, []byte("INVITE sip:"+dirt+" SIP/2.0\r\nSubject: "+dirt+"\r\n\r\n"+dirt),
			"peer", "127.0.0.30:5060", "method", direction+dirt, "uri", dirt)
	}
	add("MBX1", "um-worker"+dirt, call, "rtp.digit", nil, "direction", "received", "digit", dirt)
	add("MBX1", "um-worker", call, "rtp.course", nil, "direction", "received", "begin", time.Second, "width", time.Second,
		"packets", "50 0 50", "level", "-20 -90 -10", "lost", "0 50 3", "jitter", "100 0 30000")
	add("MBX1", "um-worker", call, "rtp.ended", nil, "direction", "received", "codec", dirt, "peer", dirt, "packets", int64(100), "lost", int64(53),
		"gaps", int64(1), "longest_gap", time.Second, "max_jitter", 30*time.Millisecond)
	add("MBX1", "um-worker", call, "rtp.course", nil, "direction", "sent", "begin", time.Second, "width", dirt, "packets", dirt, "level", dirt)
	add("MBX1", "um-worker", call, "rtp.one_way", nil, "peer", dirt, "after", time.Second, "length", time.Second)
	add("MBX1", "default", trace.Session{Kind: "smtp", N: 1}, "smtp.connected", nil, "peer", dirt)
	add("MBX1", "default", trace.Session{Kind: "smtp", N: 1}, "smtp.received", []byte(dirt+"\r\n"), "verb", dirt)
	add("MBX1", "default", trace.Session{Kind: "smtp", N: 1}, "mail.delivered", []byte(dirt), "mailbox", dirt, "subject", dirt, "content_class", dirt, "attachments", dirt, "octets", int64(3), "path", dirt)
	add("MBX1", "default", none, "admit.refused", nil, "peer", dirt, "check", dirt, "admitted", dirt, "fix", dirt)
	add("", "scenario", none, "path.changed", nil, "path", dirt, "what", dirt, "way", dirt, "sent", dirt, "got", dirt, "rating", "breaking", "means", dirt, "by", dirt)
	add("", "scenario", none, "path.result", nil, "path", dirt, "level", "fail", "expected", dirt, "found", dirt, "side", dirt, "cause", dirt, "next", dirt, "evidence", dirt)
	add("", "scenario", none, "bench.exactness", nil, "who", dirt, "sends", int64(3))
	add("", "scenario", none, "scenario.verdict", nil, "step", int64(1), "text", dirt, "result", "failed", "got", dirt, "event", int64(3), "side", dirt, "cause", dirt, "next", dirt, "ref", dirt)
	add("", "scenario", none, "scenario.verdict", nil, "step", int64(2), "text", dirt, "result", "not run", "event", int64(-1))
	add("", "", none, "run.ended", nil, "events", int64(len(list)))
	return list
}

// corpus is what a header, a name or a body may hold to break out of its place.
var corpus = []string{
	`<script>window.pwned=1</script>`, `"><img src=x onerror=window.pwned=1>`, `' onmouseover='window.pwned=1`, `</pre></details><h1>owned</h1>`,
	`</style><script>window.pwned=1</script>`, `</title><svg onload=window.pwned=1>`, `javascript:window.pwned=1`, `<iframe src="file:///etc/passwd">`,
	`<base href="http://127.0.0.1:1/">`, `<meta http-equiv=refresh content="0;url=http://127.0.0.1:1/">`, `<link rel=stylesheet href=http://127.0.0.1:1/x.css>`,
	`{{.Title}}{{define "x"}}`, `--><!--`, `]]>`, "&#60;b&#62;", "\x00\x1b[31m\x07", "\xff\xfe<b>", "\u202eevil\u2066", "`${1}`", "url(#x);}body{display:none", "%3Cscript%3E",
}

func htmlOf(t *testing.T, events []trace.Event) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, HTML(&b, events[0].Text("scenario"), []Run{RunOf(events)}))
	return b.Bytes()
}

// Whatever came from outside, the page has the same elements with the same
// attributes, and no octet that hides something.
func TestHostileTextIsText(t *testing.T) {
	tags := regexp.MustCompile(`<[a-zA-Z/!][^\s>]*|\s[a-z-]+="`)
	benign := tags.FindAll(htmlOf(t, eventsOf("benign", 4)), -1)
	for _, dirt := range corpus {
		got := htmlOf(t, eventsOf(dirt, 4))
		require.Equal(t, len(benign), len(tags.FindAll(got, -1)), "%q", dirt)
		for _, r := range string(got) {
			require.False(t, unseen(r) && r != '\n' && r != '\t', "%q: %U", dirt, r)
		}
	}
}

// browser opens a page from disk in Chromium; trouble is what its console and
// its network say.
func browser(t *testing.T, file string) (ctx context.Context, trouble func() []string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("peer chromium is not installed: sudo make peers")
		}
		t.Skip("peer chromium is not installed: sudo make peers")
	}
	var mu sync.Mutex
	var list []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, fmt.Sprintf(format, args...))
	}
	address := "file://" + file
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(chromedp.ExecPath(path), chromedp.NoSandbox), chromedp.WithListener(func(ev any) {
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			note("log: %s", ev.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			note("console: %s", ev.Type)
		case *runtime.EventExceptionThrown:
			note("exception: %s", ev.ExceptionDetails.Text)
		case *cdpage.EventJavascriptDialogOpening:
			note("dialog: %s", ev.Message)
		case *network.EventRequestWillBeSent:
			if url, _, _ := strings.Cut(ev.Request.URL, "#"); url != address {
				note("request: %s", ev.Request.URL)
			}
		}
	}))
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(address)))
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), list...)
	}
}

func ask[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err)
	return got
}

// click scrolls to an element, lets the browser draw what is there now, and
// clicks.
func click(t *testing.T, ctx context.Context, selector string) {
	t.Helper()
	drawn := chromedp.Evaluate[int](`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))`, chromedp.EvalAwaitPromise)
	require.NoError(t, chromedp.Do(ctx, chromedp.ScrollIntoView(chromedp.CSS(selector))))
	_, err := chromedp.Run(ctx, drawn)
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector))))
}

// The page opens from disk without a word in the console, and asks for nothing;
// a message opens by a click and by Enter; nothing sticks out at 390 and at 1280.
func TestPageInBrowser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(file, htmlOf(t, eventsOf(strings.Join(corpus, " "), 6)), 0o600))
	ctx, trouble := browser(t, file)

	open := `document.querySelectorAll('details.row[open]').length`
	require.Zero(t, ask[int](t, ctx, open))
	click(t, ctx, `details.row:nth-of-type(2) > summary`)
	require.Equal(t, 1, ask[int](t, ctx, open))
	require.NoError(t, chromedp.Do(ctx, chromedp.Focus(chromedp.CSS(`details.row:nth-of-type(3) > summary`)), chromedp.KeyEvent("\r")))
	require.Equal(t, 2, ask[int](t, ctx, open))
	require.Contains(t, ask[string](t, ctx, `document.querySelector('details.row[open] pre').textContent`), "Subject: <script>window.pwned=1</script>")

	visibleRows := `[...document.querySelectorAll('details.row.sip')].filter(r => r.checkVisibility()).length`
	require.Equal(t, 6, ask[int](t, ctx, visibleRows))
	click(t, ctx, `.f-sip`)
	require.Zero(t, ask[int](t, ctx, visibleRows))
	click(t, ctx, `.f-sip`)

	for _, width := range []int64{390, 1280} {
		require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)))
		require.LessOrEqual(t, ask[int64](t, ctx, `document.documentElement.scrollWidth`), width)
	}
	// The verdict leads to its message.
	click(t, ctx, `.verdicts a`)
	require.True(t, ask[bool](t, ctx, `document.querySelector('pre:target').checkVisibility()`))

	require.Equal(t, "undefined", ask[string](t, ctx, `typeof window.pwned`))
	require.Zero(t, ask[int](t, ctx, `document.querySelectorAll('script,img,iframe,object,embed,form,link,base,h1 ~ h1').length`))
	require.Empty(t, trouble())
}

// Ten thousand messages open, scroll and answer a click.
func TestLongPageInBrowser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	b := htmlOf(t, eventsOf("x", 10_000))
	require.NoError(t, os.WriteFile(file, b, 0o600))
	begun := time.Now()
	ctx, trouble := browser(t, file)
	opened := time.Since(begun)
	require.Equal(t, 10_000, ask[int](t, ctx, `document.querySelectorAll('details.row.sip').length`))
	click(t, ctx, `details.row:has(#r1e9990) > summary`)
	require.True(t, ask[bool](t, ctx, `document.querySelector('#r1e9990').checkVisibility()`))
	t.Logf("%d octets; opened in %s, browser included; last message clicked after %s", len(b), opened, time.Since(begun))
	require.Empty(t, trouble())
}
