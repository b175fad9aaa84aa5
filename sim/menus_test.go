package sim_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// quick makes menus impatient: what they say is cut to a moment.
const quick = `facts: {um.input-timeout: {value: 700ms}, um.digit-timeout: {value: 700ms}}`

// short gives every prompt a few hundred milliseconds of a tone.
func short(t *testing.T) func(o *org.Organisation) {
	file := t.TempDir() + "/short.wav"
	require.NoError(t, os.WriteFile(file, rtp.WAV(rtp.PCMU, rtp.Tone(rtp.PCMU, 600, 100*time.Millisecond)), 0o600))
	return func(o *org.Organisation) {
		o.Prompts = org.Prompts{}
		for _, name := range []string{"pilot", "extension", "pin", "pin-wrong", "locked", "no-access", "invalid", "goodbye", "full", "options", "sent", "again",
			"you-have", "new-messages", "no-messages", "main-menu", "next-message", "message-menu", "deleted", "no-more", "attendant", "attendant-menu", "no-menu", "transfer", "transfer-failed", "greeting"} {
			o.Prompts[name] = file
		}
	}
}

// session calls the pilot and returns the call, hung up at the end.
func session(t *testing.T, l *lab, g *gateway.Gateway, caller, dial string) *gateway.Call {
	t.Helper()
	p := params(l)
	p.Caller, p.Dial, p.Diverted = caller, dial, ""
	c, err := g.Call(t.Context(), p)
	require.NoError(t, err)
	return c
}

// awaitNth waits for the nth event of a name that matches, from 1.
func (l *lab) awaitNth(n int, name string, match ...string) *trace.Event {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		seen := 0
		for e := range l.Trace().Events() {
			if e.Name != name {
				continue
			}
			line := ""
			for _, f := range e.Fields {
				line += fmt.Sprintf("%s=%v ", f.Key, f.Value)
			}
			ok := true
			for _, m := range match {
				ok = ok && strings.Contains(line, m)
			}
			if ok {
				seen++
			}
			if seen == n {
				return &e
			}
		}
		select {
		case <-deadline:
			l.t.Fatalf("no %s %v for the %d. time", name, match, n)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// An owner logs on by the PIN, hears messages, keeps one and deletes one; the
// PIN is nowhere in the trace.
func TestSubscriberAccess(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 156, quick, short(t), func(o *org.Organisation) { o.Mailboxes[0].PIN = "135791" })
	g := startGateway(t, l)
	for range 2 {
		leaveMessage(t, l, g)
	}
	c := session(t, l, g, "4021", "4000")
	l.await("um.answered", 5*time.Second)
	require.NoError(t, c.Secret(t.Context(), "135791#"))
	require.Equal(t, "right", l.await("um.logon", 10*time.Second).Text("result"))
	l.awaitNth(1, "um.menu", "menu=main")
	require.NoError(t, c.Digits(t.Context(), "1"))
	first := l.awaitNth(1, "um.playing").Text("message")
	require.NoError(t, c.Digits(t.Context(), "#"))
	second := l.awaitNth(2, "um.playing").Text("message")
	require.NotEqual(t, first, second)
	require.NoError(t, c.Digits(t.Context(), "7"))
	require.Equal(t, second, l.await("um.deleted", 5*time.Second).Text("message"))
	l.awaitNth(2, "um.menu", "menu=main")
	require.NoError(t, c.Hangup(t.Context()))
	entries, err := os.ReadDir(l.Dir() + "/mailboxes/ada@contoso.lab")
	require.NoError(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	require.ElementsMatch(t, []string{first + ".eml", first + ".read"}, left)

	var digits strings.Builder
	for e := range l.Trace().Events() {
		require.NotContains(t, string(e.Raw), "135791")
		if e.Name == "rtp.digit" && e.Session == c.Session() && e.Text("direction") == "received" {
			digits.WriteString(e.Text("digit"))
		}
	}
	require.Equal(t, "???????1#7", digits.String(), "the end key belongs to the PIN")
}

func leaveMessage(t *testing.T, l *lab, g *gateway.Gateway) {
	t.Helper()
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	n := l.count(func(e *trace.Event) bool { return e.Name == "mail.delivered" })
	l.awaitNth(n+1, "um.recording")
	require.NoError(t, c.Talk(t.Context(), 400*time.Millisecond))
	require.NoError(t, c.Hangup(t.Context()))
	l.awaitNth(n+1, "mail.delivered")
}

// Wrong PINs end the call, bring a new PIN by mail, and lock the mailbox: they
// are counted over calls.
func TestWrongPINs(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 157, quick, short(t), func(o *org.Organisation) {
		o.Mailboxes[0].PIN = "135791"
		o.Policies = []org.Policy{{Name: "strict", LogonsBeforePIN: 4, LogonsBeforeLock: 6}}
		o.Mailboxes[0].Policy = "strict"
	})
	g := startGateway(t, l)
	var results []string
	for call := range 3 {
		c := session(t, l, g, "4021", "4000")
		for try := range 3 {
			require.NoError(t, c.Digits(t.Context(), "111111#"))
			e := l.awaitNth(call*3+try+1, "um.logon")
			results = append(results, e.Text("result"))
			if e.Text("result") == "locked" {
				break
			}
		}
		require.NoError(t, c.Wait(t.Context()))
		if results[len(results)-1] == "locked" {
			break
		}
	}
	require.Equal(t, []string{"wrong", "wrong", "wrong", "reset", "wrong", "locked"}, results)
	l.awaitNth(1, "um.logon_failed")
	mail := l.await("mail.delivered", 10*time.Second)
	require.Equal(t, "Unified Messaging PIN Reset", mail.Text("subject"))

	c := session(t, l, g, "4021", "4000")
	require.NoError(t, c.Secret(t.Context(), "135791#"))
	require.Equal(t, "locked", l.awaitNth(7, "um.logon").Text("result"), "also by the right PIN")
	require.NoError(t, c.Wait(t.Context()))
}

// A caller that nobody knows names the mailbox; nobody gets in without a PIN.
func TestPilotAsksForExtension(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 158, quick, short(t), func(o *org.Organisation) { o.Mailboxes[0].PIN = "135791" })
	g := startGateway(t, l)
	c := session(t, l, g, "7125550123", "4000")
	require.NoError(t, c.Digits(t.Context(), "4999"))
	require.Equal(t, "????", l.await("um.input_failed", 10*time.Second).Text("digits"))
	require.NoError(t, c.Digits(t.Context(), "4021"))
	require.NoError(t, c.Secret(t.Context(), "135791#"))
	require.Equal(t, "right", l.await("um.logon", 10*time.Second).Text("result"))
	require.NoError(t, c.Hangup(t.Context()))

	c = session(t, l, g, "4022", "4000")
	require.Equal(t, "not allowed", l.awaitNth(2, "um.logon").Text("result"), "no PIN is set")
	require.NoError(t, c.Wait(t.Context()))

	c = session(t, l, g, "7125550123", "4000")
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "no mailbox was named", l.awaitNth(2, "um.hang_up").Text("why"))
}

// The keys of an auto attendant do what they are for; a transfer that fails
// leads back to the menu.
func TestAutoAttendant(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 159, quick, short(t), func(o *org.Organisation) {
		o.HuntGroups = append(o.HuntGroups, org.HuntGroup{Name: "aa", Pilot: "4500", Gateway: "gw1", DialPlan: "Lab"})
		o.DialPlans[0].Operator = "4100"
		o.Attendants = []org.Attendant{
			{Name: "reception", Pilot: "4500", DialPlan: "Lab", Keys: map[string]org.Key{
				"1": {Extension: "4021"}, "2": {Attendant: "sales"}, "3": {VoiceMail: "4022"},
			}},
			{Name: "sales", Pilot: "4501", DialPlan: "Lab", Keys: map[string]org.Key{org.Timeout: {Extension: "4022"}}},
		}
	})
	busy := map[string]int{"4021": 486}
	g := startGateway(t, l, func(c *gateway.Config) {
		c.Telephone = func(number string) int { return max(busy[number], 200) }
	})
	transferred := func(n int, to string) {
		t.Helper()
		e := l.awaitNth(n, "um.transferred")
		require.Equal(t, to, e.Text("number"))
		require.Equal(t, fmt.Sprintf("<sip:%s@%s;user=phone>", to, l.addr(30)), e.Text("refer_to"))
	}
	c := session(t, l, g, "7125550123", "4500")
	l.awaitNth(1, "um.menu", "menu=reception")
	require.NoError(t, c.Digits(t.Context(), "1"))
	require.EqualValues(t, "486", l.await("um.transfer_failed", 10*time.Second).Text("status"))
	l.awaitNth(2, "um.menu", "menu=reception")
	require.NoError(t, c.Digits(t.Context(), "2")) // sales, where nothing is pressed
	transferred(1, "4022")
	require.NoError(t, c.Wait(t.Context()))

	c = session(t, l, g, "7125550123", "4500")
	require.NoError(t, c.Digits(t.Context(), "4022"))
	transferred(2, "4022")
	require.NoError(t, c.Wait(t.Context()))

	c = session(t, l, g, "7125550123", "4500")
	require.NoError(t, c.Digits(t.Context(), "0"))
	transferred(3, "4100")
	require.NoError(t, c.Wait(t.Context()))

	c = session(t, l, g, "7125550123", "4500")
	require.NoError(t, c.Digits(t.Context(), "3"))
	l.awaitNth(1, "um.recording", "alan@contoso.lab")
	require.NoError(t, c.Talk(t.Context(), 300*time.Millisecond))
	require.NoError(t, c.Hangup(t.Context()))
	require.Equal(t, "alan@contoso.lab", l.await("mail.delivered", 10*time.Second).Text("mailbox"))

	c = session(t, l, g, "7125550123", "4500") // no key at all: the operator, in the end
	transferred(4, "4100")
	require.NoError(t, c.Wait(t.Context()))
}

// Behind the end key a message is marked, recorded anew, and sent; a full
// mailbox takes none.
func TestOptionsBehindRecording(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 160, quick, short(t), func(o *org.Organisation) { o.Mailboxes[0].Quota = 100 })
	g := startGateway(t, l)
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	l.awaitNth(1, "um.recording")
	require.NoError(t, c.Talk(t.Context(), 300*time.Millisecond))
	require.NoError(t, c.Digits(t.Context(), "#2"))
	l.awaitNth(2, "um.recording")
	require.NoError(t, c.Talk(t.Context(), 600*time.Millisecond))
	require.NoError(t, c.Digits(t.Context(), "#341"))
	require.NoError(t, c.Wait(t.Context()))
	mail := l.await("mail.delivered", 10*time.Second)
	require.Contains(t, string(mail.Raw), "Importance: High\r\nSensitivity: Private\r\n")
	require.Equal(t, 1, l.count(func(e *trace.Event) bool { return e.Name == "um.submitted" }))

	c, err = g.Call(t.Context(), params(l))
	require.NoError(t, err)
	l.await("um.mailbox_full", 5*time.Second)
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "the mailbox is full", l.awaitNth(2, "um.hang_up").Text("why"))
}

// A message is played to a telephone, octet for octet; its keys work there, and
// the media may begin before the answer.
func TestPlayOnPhone(t *testing.T) {
	t.Parallel()
	const n = 163
	ln, port := listening(t, fmt.Sprintf("127.0.%d.30", n))
	l := startLab(t, "2016", n, quick, short(t), func(o *org.Organisation) {
		o.Gateways[0].Port = port
		o.Mailboxes[1].Policy = "silent"
		o.Policies = []org.Policy{{Name: "silent", NoPlayOnPhone: true}}
	})
	g := startGateway(t, l, func(c *gateway.Config) {
		c.Listen = func(netip.AddrPort) (net.Listener, error) { return ln, nil }
		c.Answers = true
	})
	_, err := l.PlayOnPhone(t.Context(), "ada@contoso.lab", "", "4021")
	require.ErrorContains(t, err, "has no voice message")
	leaveMessage(t, l, g)
	said, err := gateway.Speech(400 * time.Millisecond)
	require.NoError(t, err)

	type placed struct {
		session trace.Session
		err     error
	}
	play := func() chan placed {
		done := make(chan placed, 1)
		go func() {
			s, err := l.PlayOnPhone(t.Context(), "ada@contoso.lab", "", "4055")
			done <- placed{s, err}
		}()
		return done
	}
	done := play()
	c, err := g.Answer(t.Context(), 200, true)
	require.NoError(t, err)
	heard := c.Listen()
	p := <-done
	require.NoError(t, p.err)
	require.Equal(t, p.session, c.Session(), "both ends have one name")
	l.awaitNth(1, "um.early_media")
	require.NoError(t, c.Wait(t.Context()))
	require.True(t, bytes.Contains(heard(), said))

	done = play()
	c, err = g.Answer(t.Context(), 200, false)
	require.NoError(t, err)
	require.NoError(t, (<-done).err)
	l.awaitNth(2, "um.playing")
	require.NoError(t, c.Digits(t.Context(), "1"))
	l.awaitNth(3, "um.playing")
	require.NoError(t, c.Digits(t.Context(), "7"))
	l.awaitNth(1, "um.deleted")
	require.NoError(t, c.Wait(t.Context()))

	leaveMessage(t, l, g)
	done = play()
	_, err = g.Answer(t.Context(), 486, false)
	require.NoError(t, err)
	require.ErrorContains(t, (<-done).err, "answered 486")

	_, err = l.PlayOnPhone(t.Context(), "alan@contoso.lab", "", "4055")
	require.Error(t, err)
}

// Silence is no wrong PIN, and an end key behind an extension that was long
// enough is none of the PIN.
func TestSilenceIsNoPIN(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 166, quick, short(t), func(o *org.Organisation) { o.Mailboxes[0].PIN = "135791" })
	g := startGateway(t, l)
	c := session(t, l, g, "4021", "4000")
	require.NoError(t, c.Wait(t.Context()))
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.logon" }))

	c = session(t, l, g, "7125550123", "4000")
	require.NoError(t, c.Secret(t.Context(), "4021#135791#"))
	require.Equal(t, "right", l.await("um.logon", 10*time.Second).Text("result"))
	require.NoError(t, c.Hangup(t.Context()))
}

// What only says that it is a voice message is passed over, and the others can
// be heard.
func TestUnplayableIsPassedOver(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 167, quick, short(t), func(o *org.Organisation) { o.Mailboxes[0].PIN = "135791" })
	require.NoError(t, mailTo(l, "ada@contoso.lab", "Content-Class: voice-ca\r\nContent-Type: multipart/mixed; boundary=b\r\n", voiceBody))
	require.NoError(t, mailTo(l, "ada@contoso.lab", "Content-Class: voice-ca\r\n", "no recording"))
	g := startGateway(t, l)
	c := session(t, l, g, "4021", "4000")
	require.NoError(t, c.Secret(t.Context(), "135791#"))
	l.awaitNth(1, "um.menu", "menu=main")
	require.NoError(t, c.Digits(t.Context(), "1"))
	require.NotEmpty(t, l.await("um.message_unusable", 10*time.Second).Text("why"))
	l.awaitNth(1, "um.playing")
	require.NoError(t, c.Hangup(t.Context()))
}

// A gateway that ends the subscription without a result has failed; a caller who
// hangs up behind a refused REFER was not transferred.
func TestTransferResults(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 168, quick, short(t), func(o *org.Organisation) {
		o.HuntGroups[0].Pilot = "4500"
		o.Attendants = []org.Attendant{{Name: "reception", Pilot: "4500", DialPlan: "Lab", Keys: map[string]org.Key{"1": {Extension: "4021"}}}}
	})
	refused := 0
	g := startGateway(t, l, func(c *gateway.Config) {
		c.Telephone = func(string) int { return 100 } // reported as the end
		c.Refuse = func(method string) int {
			if method == "REFER" && refused > 0 {
				return refused
			}
			return 0
		}
	})
	c := session(t, l, g, "7125550123", "4500")
	l.awaitNth(1, "um.menu")
	require.NoError(t, c.Digits(t.Context(), "1"))
	require.Equal(t, "487", l.awaitNth(1, "um.transfer_failed").Text("status"))
	refused = 603
	l.awaitNth(2, "um.menu")
	require.NoError(t, c.Digits(t.Context(), "1"))
	require.Equal(t, "603", l.awaitNth(2, "um.transfer_failed").Text("status"))
	require.NoError(t, c.Hangup(t.Context()))
	require.Zero(t, l.count(func(e *trace.Event) bool { return e.Name == "um.transferred" }))
}
