package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim/paths"
)

func needPeer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("peer %s is not installed: sudo make peers", name)
	}
	t.Skipf("peer %s is not installed: sudo make peers", name)
	return ""
}

// JUnit XML holds the verdicts and the report, and is valid by the schema of
// Jenkins' xunit plugin; the saved traces are judged again as the runs were.
func TestJUnitAndTrace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	junit := filepath.Join(dir, "junit.xml")
	out, err := exsim(ctx, "run", "missed-call", "--free-ports", "--prove", "--junit", junit, "--save", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(junit)
	require.NoError(t, err)
	for _, want := range []string{`<testsuite name="missed-call"`, `<testcase name="1 `, "is caught", "call-router"} {
		require.Contains(t, string(text), want)
	}

	traces, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.Greater(t, len(traces), 1)
	for _, saved := range traces {
		out, err := exsim(ctx, "check", "missed-call", "--trace", saved).CombinedOutput()
		if strings.Contains(saved, "+") { // with a fault
			require.Error(t, err)
			require.Contains(t, string(out), "FAIL")
		} else {
			require.NoError(t, err, string(out))
			require.NotContains(t, string(out), "FAIL")
		}
	}
	out, err = exsim(ctx, "check", "call-answering", "--trace", traces[0]).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), `is a trace of the scenario "missed-call"`)

	out, err = exec.CommandContext(ctx, needPeer(t, "xmllint"), "--noout", "--schema", "../../scenarios/report/testdata/junit-10.xsd", junit).CombinedOutput()
	require.NoError(t, err, string(out))
}

// A file that results cannot be written to is told before anything runs.
func TestResultsNeedAPlace(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "no", "file")
	for _, args := range [][]string{{"run", "missed-call", "--junit", nowhere}, {"run", "missed-call", "--json", nowhere}, {"up", "--save", nowhere}, {"demo", "--save", nowhere}} {
		code, out, errs := runExsim(t, append(args, "--free-ports")...)
		require.Equal(t, 2, code, args)
		require.Empty(t, out, args)
		require.Contains(t, errs, "no such file or directory", args)
	}
}

// The JSON Schema takes what ships, and refuses what exsim refuses.
func TestSchema(t *testing.T) {
	python := needPeer(t, "python3")
	dir := t.TempDir()
	schema := ""
	use := func(name string, s map[string]any) {
		schema = filepath.Join(dir, name+".schema.json")
		text, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(schema, text, 0o600))
	}
	use("scenario", scenarios.Schema())
	validate := func(name string, text []byte) (string, error) {
		var v any
		require.NoError(t, yaml.Unmarshal(text, &v))
		b, err := json.Marshal(v)
		require.NoError(t, err)
		file := filepath.Join(dir, name+".json")
		require.NoError(t, os.WriteFile(file, b, 0o600))
		out, err := exec.CommandContext(t.Context(), python, "-m", "jsonschema", "-i", file, schema).CombinedOutput()
		return string(out), err
	}
	if out, _ := exec.CommandContext(t.Context(), python, "-c", "import jsonschema").CombinedOutput(); len(out) > 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("python3-jsonschema is not installed: sudo make peers")
		}
		t.Skip("python3-jsonschema is not installed: sudo make peers")
	}
	for _, name := range scenarios.Shipped() {
		text, _ := scenarios.ShippedText(name)
		out, err := validate(name, text)
		require.NoError(t, err, out)
	}
	for name, bad := range map[string]string{
		"unknown-key":  `{version: 1, name: x, actors: {}, steps: [], stepps: []}`,
		"no-steps":     `{version: 1, name: x, actors: {}}`,
		"two-verbs":    `{version: 1, name: x, actors: {}, steps: [{call: {id: c, from: g, dial: "1"}, hangup: {call: c}}]}`,
		"unknown-word": `{version: 1, name: x, actors: {}, steps: [{call: {id: c, from: g, dial: "1", outcome: maybe}}]}`,
		"bad-time":     `{version: 1, name: x, actors: {}, steps: [{talk: {call: c, for: 5}}]}`,
	} {
		out, err := validate(name, []byte(bad))
		require.Error(t, err, "%s: %s", name, out)
	}

	use("plan", paths.Schema())
	for _, text := range []string{string(paths.Starter()), voicePlan, mailPlan} {
		out, err := validate("plan", []byte(text))
		require.NoError(t, err, out)
	}
	for name, bad := range map[string]string{
		"plan-key":   voicePlan + "uzes: []\n",
		"plan-zone":  strings.Replace(voicePlan, "kind: internal", "kind: inside", 1),
		"plan-ports": voicePlan + "extra: [{from: gw, to: mbx, ports: \"80-x\"}]\n",
	} {
		out, err := validate(name, []byte(bad))
		require.Error(t, err, "%s: %s", name, out)
	}
}

// What administrators of Exchange watch is written as a run goes: entries with
// their ids, and a record for each call.
func TestEventLogAndRecords(t *testing.T) {
	dir := t.TempDir()
	log, records := filepath.Join(dir, "events.log"), filepath.Join(dir, "records")
	code, _, errs := runExsim(t, "run", "missed-call", "malformed-diversion-refused", "--free-ports", "--event-log", log, "--cdr", records)
	require.Zero(t, code, errs)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	for _, id := range []string{"1000", "1021", "1152"} {
		require.Contains(t, string(text), "MSExchange Unified Messaging  "+id+"  ")
	}
	files, err := filepath.Glob(filepath.Join(records, "um_cdr_*.csv"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	text, err = os.ReadFile(files[0])
	require.NoError(t, err)
	require.Contains(t, string(text), "Call Answering Missed Call")
	require.Contains(t, string(text), "Rejected,headers")

	code, _, errs = runExsim(t, "run", "missed-call", "--free-ports", "--cdr", log)
	require.Equal(t, 2, code)
	require.Contains(t, errs, "not a directory")
}
