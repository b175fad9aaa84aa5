package sim_test

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
)

// baresip presses its way through an attendant's menu, is referred to another
// telephone, calls it and reports that; then it puts a call on hold and takes it
// back, and takes a call of Play on Phone.
func TestBaresipMenus(t *testing.T) {
	baresip := needPeer(t, "baresip")
	const n = 164
	phone := fmt.Sprintf("127.0.%d.40", n)
	ln, port := listening(t, phone)
	facts := fmt.Sprintf("facts: {um.input-timeout: {value: 700ms}, um.digit-timeout: {value: 700ms}, redirect.router-host: {value: address}, transfer.refer-to: {value: %q}}",
		fmt.Sprintf("<sip:{number}@%s:%d;transport=tcp>", phone, port))
	l := startLab(t, "2016", n, facts, short(t), alsoLoopback, func(o *org.Organisation) {
		o.HuntGroups = append(o.HuntGroups,
			org.HuntGroup{Name: "aa", Pilot: "4500", Gateway: "loopback", DialPlan: "Lab"},
			org.HuntGroup{Name: "all", Pilot: "4000", Gateway: "loopback", DialPlan: "Lab"})
		o.Attendants = []org.Attendant{{Name: "reception", Pilot: "4500", DialPlan: "Lab", Keys: map[string]org.Key{"1": {Extension: "4021"}}}}
		o.Gateways[0].Port = freePort(t, fmt.Sprintf("127.0.%d.30", n)) // baresip's
	})
	target := startGateway(t, l, func(c *gateway.Config) {
		c.Name, c.Address, c.Answers = "phone", netip.MustParseAddr(phone), true
		c.Listen = onlyThis(ln)
	})
	ctl := startBaresip(t, baresip, l, rtp.Quiet(rtp.PCMU, 30*time.Second), "tcp", ";answermode=auto", "")

	ctl.send("dial", fmt.Sprintf("sip:4500@%s;transport=tcp", l.at("call-router")))
	l.awaitNth(1, "um.menu", "menu=reception")
	ctl.send("hold", "")
	l.awaitNth(2, "sip.sent", "method=INVITE", "status=200")
	ctl.send("resume", "")
	l.awaitNth(3, "sip.sent", "method=INVITE", "status=200")
	ctl.send("sndcode", "1")
	taken, err := target.Answer(t.Context(), 200, false)
	require.NoError(t, err)
	e := l.await("um.transferred", 20*time.Second)
	require.Equal(t, "4021", e.Text("number"))
	require.NoError(t, taken.Hangup(t.Context()))

	require.NoError(t, mailTo(l, "ada@contoso.lab", "Content-Class: voice-ca\r\nContent-Type: multipart/mixed; boundary=b\r\n", voiceBody))
	session, err := l.PlayOnPhone(t.Context(), "ada@contoso.lab", "", "7125550123")
	require.NoError(t, err)
	require.Equal(t, session, l.await("um.playing", 10*time.Second).Session)
	ctl.send("sndcode", "7")
	l.await("um.deleted", 10*time.Second)
}

// voiceBody is a body with a short recording.
var voiceBody = "--b\r\nContent-Type: audio/wav\r\nContent-Disposition: attachment; filename=v.wav\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	base64.StdEncoding.EncodeToString(rtp.WAV(rtp.PCMU, rtp.Tone(rtp.PCMU, 500, 200*time.Millisecond))) + "\r\n--b--"
