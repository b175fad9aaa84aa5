package sim_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// Behind NAT or in a container peers are told the address that they see: in the
// Contact of each redirect and answer, and in the description.
func TestAdvertise(t *testing.T) {
	t.Parallel()
	seen := netip.MustParseAddr("198.51.100.7")
	l := startLab(t, "2016", 169, "facts: {redirect.router-host: {value: address}}", func(o *org.Organisation) { o.Servers[0].Advertise = seen })
	verdictOn(t, l, 0, "4000", nobody)
	require.Contains(t, l.await("um.redirected", time.Second).Text("contact"), "@198.51.100.7:")
	c := rawCall(t, l, l.at("um-worker"), false)
	c.send(fmt.Sprintf("INVITE sip:4000@x SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bKadv\nFrom: %s;tag=1\nTo: <sip:4000@x>\nCall-ID: adv\nCSeq: 1 INVITE\nContact: <sip:x@%s>\nContent-Type: application/sdp", l.addr(30), nobody, l.addr(30)),
		"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 30000 RTP/AVP 0\n")
	lines, body := c.answer()
	require.Contains(t, strings.Join(lines, "\n"), "CONTACT: <sip:198.51.100.7:")
	require.Contains(t, body, "c=IN IP4 198.51.100.7\r\n")
	require.NotContains(t, body, l.addr(10))
}

// A mailbox and an attendant play what is their own; the keys of a menu do what
// is left: play a file, lead to any extension, lead out by the star.
func TestOwnRecordings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := func(name string, hz float64) (string, []byte) {
		octets := rtp.Tone(rtp.PCMU, hz, 300*time.Millisecond)
		file := filepath.Join(dir, name+".wav")
		require.NoError(t, os.WriteFile(file, rtp.WAV(rtp.PCMU, octets), 0o600))
		return file, octets
	}
	greeting, greets := own("greeting", 440)
	hours, opens := own("hours", 660)
	welcome, welcomes := own("welcome", 880)
	l := startLab(t, "2016", 170, quick, short(t), func(o *org.Organisation) {
		o.HuntGroups = append(o.HuntGroups, org.HuntGroup{Name: "aa", Pilot: "4500", Gateway: "gw1", DialPlan: "Lab"})
		o.Mailboxes[0].Greeting = greeting
		o.Attendants = []org.Attendant{{Name: "reception", Pilot: "4500", DialPlan: "Lab", Greeting: welcome, Extension: true, StarOut: true,
			Keys: map[string]org.Key{"5": {Audio: hours}}}}
	})
	g := startGateway(t, l)
	hear := func(p gateway.CallParams, until string, act func(c *gateway.Call)) string {
		t.Helper()
		n := l.count(func(e *trace.Event) bool { return e.Name == until })
		c, err := g.Call(t.Context(), p)
		require.NoError(t, err)
		heard := c.Listen()
		if act != nil {
			act(c)
		}
		l.awaitNth(n+1, until)
		octets := heard()
		require.NoError(t, c.Hangup(t.Context()))
		return string(octets)
	}
	require.True(t, strings.Contains(hear(params(l), "um.recording", nil), string(greets)))
	p := params(l)
	p.Dial, p.Diverted = "4500", ""
	said := hear(p, "um.transferred", func(c *gateway.Call) {
		l.awaitNth(1, "um.menu")
		require.NoError(t, c.Digits(t.Context(), "5"))
		l.awaitNth(2, "um.menu")
		require.NoError(t, c.Digits(t.Context(), "4999")) // nobody's mailbox
	})
	require.True(t, strings.Contains(said, string(opens)) && !strings.Contains(said, string(greets)))
	require.Equal(t, "4999", l.await("um.transferred", time.Second).Text("number"))
	require.True(t, strings.Contains(hear(p, "um.pilot_greeting", func(c *gateway.Call) {
		l.awaitNth(1, "um.input_failed", "digits=none") // behind the whole welcome
		require.NoError(t, c.Digits(t.Context(), "*"))
	}), string(welcomes[400:])))
}

// Without a partner nobody takes a fax, and 2007 says why; G.711 for a fax goes
// to the partner as T.38 does.
func TestFaxRefused(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct{ version, partner, why string }{
		{"2007-sp1", "sip:192.0.2.40:5060", "this version takes T.38 itself, which is not simulated"},
		{"2016", "", "no fax-server-uri in the mailbox policy"},
	} {
		l := startLab(t, tt.version, 171+i, quick, short(t), func(o *org.Organisation) {
			o.Policies = []org.Policy{{Name: "p", FaxServer: tt.partner}}
			o.Mailboxes[0].Policy = "p"
		})
		p := params(l)
		p.Routers = []netip.AddrPort{l.at(l.Profile().Front())}
		c, err := startGateway(t, l).Call(t.Context(), p)
		require.NoError(t, err)
		require.ErrorContains(t, c.OfferFax(t.Context()), "488")
		require.Equal(t, tt.why, l.await("um.fax_refused", 5*time.Second).Text("to"))
		l.awaitNth(1, "um.recording") // the call goes on
		require.NoError(t, c.Hangup(t.Context()))
	}
}

// What multimon-ng hears in the mailed recording is what was keyed as tones.
func TestTonesInRecording(t *testing.T) {
	t.Parallel()
	multimon, sox := needPeer(t, "multimon-ng"), needPeer(t, "sox")
	l := startLab(t, "2016", 173, quick, short(t))
	g := startGateway(t, l, func(c *gateway.Config) {
		c.Faults = func(f gateway.Fault) bool { return f == gateway.DigitsInBand }
	})
	c, err := g.Call(t.Context(), params(l))
	require.NoError(t, err)
	l.awaitNth(1, "um.recording")
	require.NoError(t, c.Digits(t.Context(), "1234567890*#"))
	require.NoError(t, c.Hangup(t.Context()))
	octets := recordingIn(t, l.await("mail.delivered", 10*time.Second).Text("path"))
	dir := t.TempDir()
	file := filepath.Join(dir, "heard.wav")
	require.NoError(t, os.WriteFile(file, rtp.WAV(rtp.PCMU, octets), 0o600))
	out, err := command(t, dir, 20*time.Second, sox, file, "-r", "22050", "-e", "signed", "-b", "16", "heard.raw")
	require.NoError(t, err, out)
	out, err = command(t, dir, 20*time.Second, multimon, "-q", "-a", "DTMF", "-t", "raw", "heard.raw")
	require.NoError(t, err, out)
	var heard strings.Builder
	for line := range strings.Lines(out) {
		if d, ok := strings.CutPrefix(strings.TrimSpace(line), "DTMF: "); ok {
			heard.WriteString(d)
		}
	}
	require.Equal(t, "1234567890*#", heard.String())
}

// Where a version offers G.723.1 first it is named so, and a peer that takes it
// alone is hung up on with the reason: it is not spoken here.
func TestG723Named(t *testing.T) {
	t.Parallel()
	l := startLab(t, "2016", 174, "facts: {sdp.offers-g723: {value: true}}")
	c := rawCall(t, l, l.at("um-worker"), false)
	head := func(method string, cseq int, to string) string {
		return fmt.Sprintf("%s sip:4000@x SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bK723%d%s\nFrom: %s;tag=1\nTo: %s\nCall-ID: g723\nCSeq: %d %s\nContact: <sip:x@%s>",
			method, l.addr(30), cseq, method, nobody, to, cseq, method, l.addr(30))
	}
	c.send(head("INVITE", 1, "<sip:4000@x>"), "")
	lines, body := c.answer()
	require.Contains(t, body, " RTP/AVP 4 0 8 101\r\n")
	require.Contains(t, body, "a=rtpmap:4 G723/8000\r\n")
	to := ""
	for _, line := range lines {
		if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "To") {
			to = value
		}
	}
	c.send(head("ACK", 1, to)+"\nContent-Type: application/sdp", "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 30000 RTP/AVP 4\n")
	require.Contains(t, l.await("um.hang_up", 5*time.Second).Text("why"), "offered by name alone")
}
