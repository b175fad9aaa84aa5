package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/trace"
)

// The test binary is exsim itself where this is set.
const beExsim = "EXSIM_TEST_BE_EXSIM"

func TestMain(m *testing.M) {
	if spec := os.Getenv(beBox); spec != "" {
		os.Exit(runBox(spec))
	}
	if os.Getenv(beExsim) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func exsim(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), beExsim+"=1")
	return c
}

// result runs exsim to its end.
func runExsim(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exsim(ctx, args...)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	if err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

// The demo runs, shows both redirects, the media, the mail and where it lies,
// and its trace can be read again.
func TestDemo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.jsonl")
	code, out, errs := runExsim(t, "demo", "--free-ports", "--dir", t.TempDir(), "--save", file)
	require.Zero(t, code, errs)
	require.Equal(t, 2, strings.Count(out, "302 (INVITE)"))
	require.Equal(t, 1, strings.Count(out, "200 (INVITE)"))
	for _, want := range []string{"STARTTLS", "RTP event #", "MEDIA", "class:    voice-ca", "never rtp.opened at call-router"} {
		require.Contains(t, out, want)
	}
	_, after, _ := strings.Cut(out, "lies at:  ")
	path, _, _ := strings.Cut(after, "\n")
	require.FileExists(t, path)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	events, err := trace.ReadJSON(f)
	require.NoError(t, err)
	require.Equal(t, "run.ended", events[len(events)-1].Name)
}

// Without a privilege for 25 the demo moves it up and says so in line one.
func TestDemoSaysMovedPort(t *testing.T) {
	code, out, errs := runExsim(t, "demo", "--dir", t.TempDir())
	require.Zero(t, code, errs)
	first, _, _ := strings.Cut(out, "\n")
	if os.Geteuid() == 0 {
		require.NotContains(t, first, "privilege")
		return
	}
	require.Contains(t, first, "port 25 is bound as 10025 (no privilege for 25)")
}

// Each exit code, and one clear error on standard error.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	broken := file("broken.yaml", "version: 1\nname: x\nactors: {gw: {role: ip-gatway, address: 127.0.0.30}}\nsteps:\n  - cal: {}\n")
	failing := file("failing.yaml", `version: 1
name: failing
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c, from: gw, dial: "4999"}
`)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // on standard error, or on standard output for code 1 and 0
	}{
		{"passes", []string{"run", "unknown-gateway-refused", "--free-ports", "--prove"}, 0, "caught     unknown-gateway-refused with the fault other-address"},
		{"fails", []string{"run", failing, "--free-ports"}, 1, "got:   answered 404 Not Found"},
		{"broken file", []string{"run", broken, "--free-ports"}, 2, `broken.yaml:5:5: unknown verb "cal"`},
		{"no file", []string{"run", "mised-call"}, 2, `did you mean "missed-call"?`},
		{"empty folder", []string{"run", t.TempDir()}, 2, "holds no .yaml file"},
		{"wrong flag", []string{"run", "--nope"}, 2, "unknown flag: --nope"},
		{"wrong command", []string{"frobnicate"}, 2, `unknown command "frobnicate"`},
		{"check", []string{"check", "missed-call", failing}, 0, "failing.yaml: scenario is right"},
		{"check broken", []string{"check", broken}, 2, `did you mean "ip-gateway"?`},
		{"up without file", []string{"up", "-c", "nowhere.yaml"}, 2, "nowhere.yaml"},
		{"suite with a scenario", []string{"run", "um-validation", "missed-call"}, 2, "um-validation is a suite and is run by itself, not with missed-call"},
		{"suite without the case", []string{"run", "um-validation", "--not-applicable", "77.1=no"}, 2, "the suite has no case of that number"},
		{"suite with a wrong device", []string{"run", "um-validation", "--device", "ext"}, 2, "\"ext\" is neither simulated nor external"},
		{"suite with another device", []string{"run", "um-validation", "--device", "gw1=external"}, 2, "the device under test is the actor gw here"},
		{"suite without a reason", []string{"run", "um-validation", "--not-applicable", "2.2="}, 2, "--not-applicable 2.2: say why"},
		{"suite with a case that is none", []string{"run", "um-validation", "--only", "4, 77"}, 2, "--only 77: the suite has no case"},
		{"suite with TLS and no authority", []string{"run", "um-validation", "--device", "external", "--only", "9.1"}, 2, "9.1-mutual-tls wants TLS of the device"},
		{"suite elsewhere", []string{"run", "um-validation", "--device", "external", "--only", "1.1", "--address", "CAS1=192.0.2.10"}, 2, "192.0.2.10, which is no address of this machine: --address CAS1=ADDRESS"},
		{"suite that the device cannot reach", []string{"run", "um-validation", "--device", "external", "--only", "1.1", "--address", "gw=192.0.2.30"}, 2, "CAS1 is on the loopback, where the device cannot reach it"},
		{"suite of another name", []string{"run", "um-validaton", "--only", "1"}, 2, "did you mean \"um-validation\"?"},
		{"suite that is checked", []string{"check", "um-validation"}, 2, "um-validation is a suite"},
		{"up with two versions", []string{"up", "-c", failing, "--version", "2016"}, 2, "says itself which version it is of"},
		{"no patience", []string{"run", "missed-call", "--patience", "0s"}, 2, "a person needs some time"},
		{"suite with values", []string{"run", "um-validation", "--set", "a=b"}, 2, "a suite sets the values of its scenarios itself"},
		{"profile unknown", []string{"profile", "diff", "2016", "se"}, 2, "Exchange SE is simulated as"},
		{"profile format", []string{"profile", "2016", "--format", "xml"}, 2, "known are table, json, csv, md"},
		{"up unknown version", []string{"up", "--version", "2003"}, 2, "is not known; known are 2007-rtm"},
		{"up bad facts", []string{"up", "--free-ports", "--facts", file("f.yaml", "facts: {um.max-calls: {value: 1}}")}, 2, "is documented"},
		{"check facts", []string{"check", file("good.yaml", "facts: {um.tone-hz: {value: 440}}")}, 0, "good.yaml: facts is right"},
		{"check bad facts", []string{"check", file("bad.yaml", "facts: {refusal.no-hunt-group: {value: {status: 200, reason: OK}}}")}, 2, "400 to 699"},
		{"wrong kind", []string{"run", file("o.yaml", "servers: []\n")}, 2, "exsim up -c"},
		{"name is a path", []string{"check", file("p.yaml", "version: 1\nname: ../x\nactors: {}\nsteps: []\n")}, 2, "p.yaml:2:7: name"},
		{"one name twice", []string{"run", "missed-call", "missed-call"}, 2, "have one name"},
		{"ports", []string{"ports", "--version", "2016"}, 0, "5060/tcp"},
		{"ports role", []string{"ports", "--role", "x"}, 2, "knows a role"},
		{"ports listeners", []string{"ports", "--listeners", "--role", "x"}, 2, "no port of role"},
		{"ports check alone", []string{"ports", "--check", "x"}, 2, "--check wants --plan"},
		{"ports zones", []string{"ports", "--version", "2016", "--zones", "internet:perimeter", "--format", "csv"}, 0, "e2016-2019-edge-inbound-internet-to-edge,internet-any,edge-transport,25/tcp"},
		{"plan", []string{"plan", file("plan.yaml", string(paths.Starter()))}, 0, "derived-um-gateway-to-um-service"},
		{"probe dry", []string{"probe", file("plan.yaml", string(paths.Starter())), "--from", "gw", "--to", "mbx", "--dry-run"}, 0, "gw>mbx tcp/5060  192.0.2.10 -> 198.51.100.20  tcp 5060  expect open"},
		{"probe whom", []string{"probe", file("plan.yaml", string(paths.Starter())), "--from", "gw", "--to", "mbz"}, 2, "did you mean \"mbx\"?"},
		{"plan kind", []string{"plan", file("plan.yaml", string(paths.Starter())), "--kind", "foo"}, 2, "known are [documented derived contradictory unrestricted extra undocumented]"},
		{"listen secret", []string{"listen", file("plan.yaml", string(paths.Starter())), "--as", "mbx"}, 2, "share no secret: set EXSIM_SECRET"},
		{"version", []string{"version"}, 0, "exsim"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := runExsim(t, tt.args...)
			require.Equal(t, tt.code, code, "%s%s", out, errs)
			if tt.code >= 2 {
				require.Contains(t, errs, tt.want)
				require.True(t, strings.HasPrefix(errs, "exsim: "), errs)
				return
			}
			require.Contains(t, out, tt.want)
		})
	}
}

// up --json says where everything listens, then one event a line; it does what
// is typed, and ends in order when interrupted.
func TestUpJSON(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	saved := filepath.Join(t.TempDir(), "up.jsonl")
	c := exsim(ctx, "up", "--json", "--free-ports", "--version", "2016", "--dir", t.TempDir(), "--save", saved)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	typed, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	d := json.NewDecoder(out)
	var ready readyLine
	require.NoError(t, d.Decode(&ready))
	require.Equal(t, "up.ready", ready.Name)
	require.Len(t, ready.Listeners, 9)
	require.EqualValues(t, 5060, ready.Listeners[0].Documented)
	_, err = typed.Write([]byte("recycle EX1\n"))
	require.NoError(t, err)
	last := ""
	for {
		if last == "um.worker_stopped" {
			require.NoError(t, c.Process.Signal(syscall.SIGINT))
		}
		var e struct{ Name string }
		err := d.Decode(&e)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		last = e.Name
	}
	require.Equal(t, "run.ended", last, "what the end brings is told, too")
	require.NoError(t, c.Wait())
	trace, err := os.ReadFile(saved)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(trace)), "\n")
	require.Contains(t, lines[0], "run.started")
	require.Contains(t, lines[len(lines)-1], "run.ended")
}
