package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// verdictOn sends an INVITE with these headers to the service that gateways call
// and says what becomes of it.
func verdictOn(t *testing.T, l *lab, n int, pilot, from string, headers ...string) string {
	t.Helper()
	c := rawCall(t, l, l.at(l.Profile().Front()), false)
	c.send(fmt.Sprintf("INVITE sip:%s@%s SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bKf%d\nFrom: %s;tag=1\nTo: <sip:%s@%s>\nCall-ID: form-%d\nCSeq: 1 INVITE\nContact: <sip:x@%s>\n%s",
		pilot, l.addr(10), l.addr(30), n, from, pilot, l.addr(10), n, l.addr(30), strings.Join(headers, "\n")), "")
	lines, _ := c.answer()
	last := ""
	for e := range l.Trace().Events() {
		switch e.Name {
		case "um.redirected":
			last = strings.Join([]string{e.Text("kind"), e.Text("mailbox") + e.Text("attendant"), e.Text("reason_for_call")}, " ")
		case "um.refused":
			last = "refused " + e.Text("check") + " " + e.Text("why")
		}
	}
	require.Equal(t, strings.HasPrefix(last, "refused"), !strings.HasPrefix(lines[0], "SIP/2.0 302"), lines[0])
	return last
}

const nobody = "<sip:7125550123@example.com>"

// Who is called and why is read from Diversion, or else from History-Info, in
// every form that gateways write.
func TestFormsOfDiversion(t *testing.T) {
	t.Parallel()
	const ada, alan = "call-answering ada@contoso.lab ", "call-answering alan@contoso.lab "
	l := startLab(t, "2010-sp1", 143, "", func(o *org.Organisation) {
		o.Attendants = []org.Attendant{{Name: "reception", Pilot: "4500", DialPlan: "Lab"}}
		o.Mailboxes[1].Extensions = []string{"4099"}
	})
	for i, tt := range []struct {
		headers []string
		want    string
	}{
		{[]string{"Diversion: <tel:4021>;reason=no-answer"}, ada + "DivertNoAnswer"},
		{[]string{"Diversion: <tel:4021>;reason=no-answer;screen=no;privacy=off"}, ada + "DivertNoAnswer"},
		{[]string{`Diversion: "Doe, Jane"<sip:4021@192.0.2.7>;privacy=off;reason=user-busy;screen=yes`}, ada + "DivertBusy"},
		{[]string{"diversion: tel:4021;reason=unconditional"}, ada + "DivertForward"},
		{[]string{"Diversion: <sip:4021@192.0.2.7;user=phone>;reason=deflection"}, ada + "DivertForward"},
		{[]string{"Diversion: <sip:4021@192.0.2.7>"}, ada + "DivertForward"},
		{[]string{"Diversion: <tel:4099>;reason=no-answer"}, alan + "DivertNoAnswer"},
		{[]string{"Diversion: <tel:4022>;reason=no-answer,<tel:4021>;reason=user-busy"}, ada + "DivertBusy"},
		{[]string{"Diversion: <tel:4022>;reason=no-answer", "Diversion: <tel:4021>;reason=user-busy"}, ada + "DivertBusy"},
		{[]string{"Diversion: <tel:4021>;reason=no-answer", "Diversion: <tel:4500>;reason=unconditional"}, "auto-attendant reception DivertForward"},
		{nil, "pilot  Direct"},
		{[]string{"Diversion: <tel:402>;reason=no-answer"}, `refused diverting-party the diverting party "tel:402" is no extension of 4 digits, which dial plan Lab wants`},
		{[]string{"Diversion: <sip:ada@192.0.2.7>;reason=no-answer"}, `refused diverting-party the diverting party "sip:ada@192.0.2.7" is no extension of 4 digits, which dial plan Lab wants`},
		{[]string{"Diversion: <tel:4999>;reason=no-answer"}, "refused mailbox no UM-enabled mailbox has the extension 4999 in dial plan Lab"},
		{[]string{`Diversion: "Doe, Jane<sip:4021@192.0.2.7>;reason=no-answer`}, `refused headers mismatched quote or bracket in Diversion "Doe, Jane<sip:4021@192.0.2.7>;reason=no-answer`},
		{[]string{"Diversion: nobody"}, `refused headers Diversion: no SIP or tel URI in "nobody"`},

		{[]string{"History-Info: <sip:4021@x?Reason=SIP%3Bcause%3D486%3Btext%3D%22Busy%22>;index=1,<sip:4000@x>;index=1.1"}, ada + "DivertBusy"},
		{[]string{"History-Info: <sip:4021@x?Reason=SIP%3Bcause%3D302>;index=1", "History-Info: <sip:4000@x>;index=1.1"}, ada + "DivertForward"},
		{[]string{"History-Info: <sip:4022@x?Reason=SIP%3Bcause%3D408>;index=1, <sip:4021@x?Reason=SIP%3Bcause%3D480>;index=1.1, <sip:4000@x>;index=1.2"}, ada + "DivertNoAnswer"},
		{[]string{`History-Info: "MSExchange" <sip:4021@x>;index=1.1, "MSExchange" <sip:4000@x>;index=1.2`}, "refused headers History-Info names nobody that the call was for: it wants two entries with different users, the last one the pilot 4000, the one before it with a Reason"},
		{[]string{"History-Info: <sip:4000@x>;index=1"}, "refused headers History-Info names nobody that the call was for: it wants two entries with different users, the last one the pilot 4000, the one before it with a Reason"},
		{[]string{"History-Info: <sip:4021@x?Reason=SIP%3Bcause%3D486>;index=1,<sip:4000@x>;index=1.1", "Diversion: <tel:4022>;reason=no-answer"}, alan + "DivertNoAnswer"},
		{[]string{"History-Info: <sip:4021@x?Reason=%zz>;index=1,<sip:4000@x>;index=1.1"}, `refused headers History-Info: the reason of "<sip:4021@x?Reason=%zz>;index=1" is not escaped as a URI has it`},
	} {
		require.Equal(t, tt.want, verdictOn(t, l, i, "4000", nobody, tt.headers...), strings.Join(tt.headers, " | "))
	}
	require.Equal(t, "subscriber-access ada@contoso.lab Direct", verdictOn(t, l, 100, "4000", `"Ada" <sip:4021@example.com>`))
	require.Equal(t, "pilot  Direct", verdictOn(t, l, 101, "4000", "<sip:+4021@example.com>"), "a number with + is no extension")
}

// Versions differ in which of several diversions counts, and in what they
// tolerate.
func TestFormsByVersion(t *testing.T) {
	t.Parallel()
	two := []string{"Diversion: <tel:4022>;reason=no-answer", "Diversion: <tel:4021>;reason=user-busy"}
	open := `Diversion: "Doe, Jane<sip:4021@192.0.2.7>;reason=no-answer`
	const name = "<sip:jane@example.com>"
	for i, tt := range []struct{ version, two, open, name string }{
		{"2007-rtm", "ada", "ada", "taken"},
		{"2007-sp1", "alan", "ada", "taken"},
		{"2010", "ada", "ada", "refused"},
		{"2010-sp1", "ada", "refused", "refused"},
		{"2013", "ada", "refused", "refused"},
		{"2016", "ada", "refused", "refused"},
	} {
		l := startLab(t, tt.version, 144+i, "")
		require.Contains(t, verdictOn(t, l, 0, "4000", nobody, two...), tt.two, tt.version)
		require.Contains(t, verdictOn(t, l, 1, "4000", nobody, open), tt.open, tt.version)
		require.Equal(t, tt.name == "refused", strings.HasPrefix(verdictOn(t, l, 2, "4000", name), "refused calling-party"), tt.version)
	}
}

// Each URI type of a dial plan takes its own form of parties.
func TestFormsByDialPlan(t *testing.T) {
	t.Parallel()
	e164 := startLab(t, "2016", 150, "", func(o *org.Organisation) {
		o.DialPlans[0].URIType = org.E164
		o.Mailboxes[0].Extension = "+14255550121"
		o.HuntGroups[0].Pilot = "+14255550100"
	})
	const pilot = "+14255550100"
	require.Equal(t, "call-answering ada@contoso.lab DivertNoAnswer", verdictOn(t, e164, 0, pilot, "<tel:+17125550123>", "Diversion: <tel:+14255550121>;reason=no-answer"))
	require.Contains(t, verdictOn(t, e164, 1, pilot, "<tel:+17125550123>", "Diversion: <tel:4021>;reason=no-answer"), "is no number of E.164 (tel:+...)")
	require.Contains(t, verdictOn(t, e164, 2, pilot, nobody), "is no number of E.164 and not Anonymous")
	require.Equal(t, "pilot  Direct", verdictOn(t, e164, 3, pilot, "<sip:anonymous@anonymous.invalid>"))
	require.Equal(t, "subscriber-access ada@contoso.lab Direct", verdictOn(t, e164, 4, pilot, "<tel:+14255550121>"))

	name := startLab(t, "2016", 151, "", func(o *org.Organisation) {
		o.DialPlans[0].URIType = org.SipName
		o.Mailboxes[1].SIPAddress = "turing@fabrikam.lab"
	})
	require.Equal(t, "call-answering ada@contoso.lab DivertNoAnswer", verdictOn(t, name, 0, "4000", "<sip:jane@example.com>", "Diversion: <sip:Ada@contoso.lab>;reason=no-answer"))
	require.Equal(t, "call-answering alan@contoso.lab DivertBusy", verdictOn(t, name, 1, "4000", nobody, "Diversion: <sip:turing@fabrikam.lab>;reason=user-busy"))
	require.Contains(t, verdictOn(t, name, 2, "4000", nobody, "Diversion: <tel:4021>;reason=user-busy"), "is no sip:user@domain")
	require.Equal(t, "subscriber-access alan@contoso.lab Direct", verdictOn(t, name, 3, "4000", "<sip:turing@fabrikam.lab>"))
}

// The name in a redirect is what the organisation says.
func TestRedirectNames(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct {
		redirect org.Redirect
		want     string
	}{
		{org.Redirect{}, "@127.0.152.10:"},
		{org.Redirect{Router: "server-fqdn"}, "@ex1.contoso.lab:"},
		{org.Redirect{Router: "um.example.net"}, "@um.example.net:"},
		{org.Redirect{Router: "echo"}, "@127.0.155.10:"},
	} {
		l := startLab(t, "2016", 152+i, "", func(o *org.Organisation) { o.Redirect = tt.redirect })
		verdictOn(t, l, 0, "4000", nobody)
		require.Contains(t, l.await("um.redirected", 5e9).Text("contact"), tt.want)
	}
}
