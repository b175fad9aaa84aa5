package simtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/simtest"
	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each version takes a diverted call, and the message is what was said.
func TestVoiceMail(t *testing.T) {
	for _, version := range []string{"2007-rtm", "2013", "2016"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			ex := simtest.Start(t, simtest.Version(version))
			call := ex.Gateway("gw1").Dial("4000", simtest.Diverted("4021", "no-answer"), simtest.Caller("4255550100"))
			call.WantAnswered().WantEvent("um.recording")
			call.Talk(500 * time.Millisecond).Press("#").Hangup()
			ex.WantMail("4021").WantClass("voice-ca").WantRecording(call)
			ex.WantNever("um.refused", nil)
		})
	}
}

// A secured dial plan gives its gateway TLS and SRTP; an organisation is
// changed as in a scenario.
func TestSecured(t *testing.T) {
	t.Parallel()
	ex := simtest.Start(t, simtest.Version("2016"), simtest.Organisation(`
call-router: {um-startup-mode: TLS}
servers:
  - {name: EX1, fqdn: ex1.contoso.lab, address: 127.0.0.10, roles: [client-access, mailbox], um-startup-mode: TLS}
dial-plans: [{name: Lab, digits: 4, voip-security: Secured}]
gateways: [{name: gw1, fqdn: gw1.contoso.lab, address: 127.0.0.30, dial-plan: Lab}]
`))
	call := ex.Gateway("gw1").Dial("4000", simtest.Diverted("4021", "user-busy")).WantAnswered()
	e := ex.WantEvent("um.answered", func(e *trace.Event) bool { return e.Session == call.Session() })
	require.Equal(t, "AES_CM_128_HMAC_SHA1_80", e.Text("srtp"))
	call.Hangup()
	require.NotZero(t, ex.Front(true).Port())
}

// Exchange 2007 in mode TLS is called on 5061 alone.
func TestSecured2007(t *testing.T) {
	t.Parallel()
	ex := simtest.Start(t, simtest.Version("2007-rtm"), simtest.Organisation(`
servers:
  - {name: UM1, fqdn: um1.contoso.lab, address: 127.0.0.10, roles: [unified-messaging], um-startup-mode: TLS}
  - {name: HUB1, fqdn: hub1.contoso.lab, address: 127.0.0.11, roles: [hub-transport]}
  - {name: MBX1, fqdn: mbx1.contoso.lab, address: 127.0.0.12, roles: [mailbox]}
dial-plans: [{name: Lab, digits: 4, voip-security: SIPSecured}]
gateways: [{name: gw1, fqdn: gw1.contoso.lab, address: 127.0.0.30, dial-plan: Lab}]
`))
	call := ex.Gateway("gw1").Dial("4000", simtest.Diverted("4021", "no-answer")).WantAnswered()
	call.WantEvent("um.recording").Talk(300 * time.Millisecond).Hangup()
	ex.WantMail("4021").WantClass("voice-ca").WantRecording(call)
	for _, l := range ex.Listeners() {
		require.NotEqualValues(t, 5060, l.Documented)
	}
}

// What happens to servers and gateways while calls come.
func TestRunTime(t *testing.T) {
	t.Parallel()
	ex := simtest.Start(t)
	gw := ex.Gateway("gw1")
	require.NoError(t, ex.SetGatewayStatus("gw1", org.NoNewCalls))
	gw.Dial("4000").WantRefused("gateway-status")
	require.NoError(t, ex.SetGatewayStatus("gw1", org.Enabled))
	gw.Dial("4711").WantRefused("hunt-group")
	gw.Dial("4000", simtest.LateOffer(), simtest.SessionInterval(time.Hour)).WantAnswered().Hangup()
}

func TestMailClient(t *testing.T) {
	t.Parallel()
	ex := simtest.Start(t, simtest.Version("2016"))
	client := ex.Mail("default-frontend", true)
	client.WantTaken("ada@elsewhere.example", "ada@contoso.lab", "Hello", "Text")
	mail := ex.WantMail("ada@contoso.lab")
	require.Contains(t, string(mail.Content()), "Subject: Hello")
	client.WantRefused(550, "ada@elsewhere.example", "bob@elsewhere.example", "Relay", "Text")
}

func TestRun(t *testing.T) { simtest.Run(t, "testdata/*.yaml", simtest.Prove()) }

// failing is a test that is to fail: what it says is kept.
type failing struct {
	testing.TB
	failed bool
	said   strings.Builder
	ends   []func()
}

func (f *failing) Helper()          {}
func (f *failing) Failed() bool     { return f.failed }
func (f *failing) Cleanup(c func()) { f.ends = append(f.ends, c) }
func (f *failing) Log(args ...any)  { fmt.Fprintln(&f.said, args...) }
func (f *failing) Errorf(format string, args ...any) {
	f.failed = true
	fmt.Fprintf(&f.said, format+"\n", args...)
}
func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// said is what a test that must fail tells.
func said(t *testing.T, test func(t testing.TB)) string {
	t.Helper()
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, end := range f.ends {
				end()
			}
		}()
		test(f)
	}()
	<-done
	require.True(t, f.failed, "it did not fail")
	return f.said.String()
}

// A test that fails says why, and shows the ladder.
func TestFailures(t *testing.T) {
	t.Parallel()
	dial := func(ex *simtest.Exchange) *simtest.Call {
		return ex.Gateway("gw1").Dial("4000", simtest.Diverted("4021", "no-answer"))
	}
	for want, test := range map[string]func(t testing.TB){
		"the call was answered, and not refused by the check mailbox": func(t testing.TB) { dial(simtest.Start(t)).WantRefused("mailbox") },
		"the call was not answered: answered 404 Not Found": func(t testing.TB) {
			simtest.Start(t).Gateway("gw1").Dial("4711").WantAnswered()
		},
		"um.answered happened": func(t testing.TB) {
			ex := simtest.Start(t)
			dial(ex)
			ex.WantNever("um.answered", nil)
		},
		`has no UM IP gateway "gw7"`:                func(t testing.TB) { simtest.Start(t).Gateway("gw7") },
		`organisation:1:2: unknown key "dial-plan"`: func(t testing.TB) { simtest.Start(t, simtest.Organisation("{dial-plan: []}")) },
	} {
		text := said(t, test)
		require.Contains(t, text, want)
		if strings.Contains(want, "answered") {
			require.Contains(t, text, "call-router", "the ladder")
		}
	}
}

// A module outside this one takes the package in, and its go.sum stays small.
func TestOutside(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	ours, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	_, requires, _ := strings.Cut(string(ours), "\ngo ")
	write("go.mod", "module example.com/mygateway\n\ngo "+requires+"\nrequire github.com/exsim/exsim v0.0.0\n\nreplace github.com/exsim/exsim => "+root+"\n")
	write("gateway_test.go", `package mygateway

import (
	"testing"

	"github.com/exsim/exsim/sim/simtest"
)

func TestGateway(t *testing.T) {
	simtest.Start(t, simtest.Version("2016")).Gateway("gw1").Dial("4000").WantAnswered().Hangup()
}
`)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-mod=mod", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GONOSUMDB=*", "GONOSUMCHECK=1", "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	require.NoError(t, err)
	require.Less(t, strings.Count(string(sum), "\n"), 80)
}
