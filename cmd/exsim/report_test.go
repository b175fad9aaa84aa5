package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A firewall that closes one port between two runs: the comparison names the
// paths of this rule, and nothing else.
func TestDiffNamesTheRulesPaths(t *testing.T) {
	n := newNetwork(t, []string{"10.77.1.2"}, []string{"10.77.2.2"})
	plan := planFile(t, `plan: 1
name: before-and-after
exchange: "2013"
contact: noc@example.net
zones: [{name: branch, kind: internal}, {name: hq, kind: internal}]
hosts:
  - {name: gw, zone: branch, roles: [voip-gateway], addresses: [10.77.1.2]}
  - {name: mbx, zone: hq, roles: [client-access, mailbox], addresses: [10.77.2.2]}
rtp: {low: 20000, high: 20099}
closed: {sample: 0}
`)
	stop := n.listen(n.B, plan, "mbx")
	defer stop()
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before.jsonl"), filepath.Join(dir, "after.jsonl")
	n.rules(forward("accept"))
	_, rows, errs := n.probe(n.A, plan, "gw", "mbx", "--save", before)
	require.NotEmpty(t, rows, errs)
	n.rules(forward("accept", "tcp dport 5062 drop"))
	_, rows, errs = n.probe(n.A, plan, "gw", "mbx", "--save", after, "--html", filepath.Join(dir, "after.html"))
	require.NotEmpty(t, rows, errs)

	code, out, errs := runExsim(t, "report", "--diff", before, after, "--json", "-")
	require.Equal(t, exitFailed, code, errs)
	var c struct {
		Differences []struct{ Of, Change, What, Before, After, Why string }
		Compared    struct{ Paths int }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &c))
	require.Greater(t, c.Compared.Paths, 5)
	paths := 0
	for _, d := range c.Differences {
		if d.Of == "run" {
			continue
		}
		paths++
		require.Equal(t, "path", d.Of, "%+v", d)
		require.Contains(t, d.What, "tcp/5062", "%+v", d)
		require.Equal(t, "worse", d.Change)
		require.Contains(t, d.After, "dropped")
		require.Contains(t, d.Why, "accept tcp from 10.77.1.2 to 10.77.2.2 port 5062")
	}
	require.Equal(t, 1, paths, out)

	code, _, errs = runExsim(t, "report", "--diff", before, t.TempDir())
	require.Equal(t, exitInput, code, errs)
	code, out, _ = runExsim(t, "report", "--diff", after, before)
	require.Zero(t, code, "nothing is worse")
	require.Contains(t, out, "better")
	page, err := os.ReadFile(filepath.Join(dir, "after.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "tcp/5062")
}

// A bundle holds all that belongs to a run, its checksums are right, and what is
// secret is in none of its files.
func TestBundle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, _, errs := runExsim(t, "run", "submission", "missed-call", "--free-ports", "--save", dir, "--pcapng", dir)
	require.Zero(t, code, errs)
	file := filepath.Join(t.TempDir(), "ticket.zip")
	code, _, errs = runExsim(t, "report", dir, "--bundle", file)
	require.Zero(t, code, errs)

	// A capture that an earlier run left is not taken for that of a later one.
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, os.CopyFS(again, os.DirFS(dir)))
	code, _, errs = runExsim(t, "run", "missed-call", "--free-ports", "--save", again)
	require.Zero(t, code, errs)
	code, _, errs = runExsim(t, "report", filepath.Join(again, "missed-call.jsonl"), "--bundle", filepath.Join(again, "x.zip"))
	require.Zero(t, code, errs)
	require.Contains(t, errs, "left out: it is of another run")

	out := t.TempDir()
	r, err := zip.OpenReader(file)
	require.NoError(t, err)
	defer r.Close()
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
		name := filepath.Join(out, filepath.FromSlash(f.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		in, err := f.Open()
		require.NoError(t, err)
		b, err := io.ReadAll(in)
		require.NoError(t, err)
		require.NotContains(t, string(b), "Engine-1843", f.Name)
		require.NoError(t, os.WriteFile(name, b, 0o600))
	}
	require.ElementsMatch(t, []string{"README.txt", "report.html", "report.txt", "versions.txt", "SHA256SUMS", "files/missed-call.yaml", "files/submission.yaml",
		"traces/missed-call.jsonl", "traces/submission.jsonl", "captures/missed-call.pcapng", "captures/submission.pcapng"}, names)
	sums, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	require.NoError(t, err)
	require.Len(t, strings.Split(strings.TrimSpace(string(sums)), "\n"), len(names)-1)
	for line := range strings.Lines(string(sums)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, ok)
		b, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(name)))
		require.NoError(t, err)
		require.Equal(t, sum, fmt.Sprintf("%x", sha256.Sum256(b)), name)
	}
}

// What does not go together, or is not there, is said in a line.
func TestReportInput(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	require.NoError(t, os.WriteFile(bad, []byte("{}\n"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"report", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"report", bad}, "bad.jsonl is no trace"},
		{[]string{"report", t.TempDir()}, "holds no trace"},
		{[]string{"report", "--diff", bad}, "compares two"},
		{[]string{"report", "--diff", bad, bad, "--bundle", "x"}, "not of --diff"},
		{[]string{"report", bad, "--json", "-"}, "--json is of --diff"},
	} {
		code, _, errs := runExsim(t, c.args...)
		require.Equal(t, exitInput, code, c.args)
		require.Regexp(t, regexp.QuoteMeta(c.want), errs)
		require.Equal(t, 1, strings.Count(strings.TrimSpace(errs), "\n")+1, errs)
	}
}

// Names in a trace that somebody sent do not lead out of the archive, and steer
// no terminal.
func TestHostileTraceInBundle(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"seq":0,"at":0,"name":"run.started","fields":{"schema":1,"scenario":"a\u001b[2Jb"}}
{"seq":1,"at":0,"name":"bench.file","fields":{"file":"..\\..\\evil\n00  x.bat"},"raw":"a"}
{"seq":2,"at":0,"name":"bench.file","fields":{"file":"../.."},"raw":"b"}
`), 0o600))
	code, out, errs := runExsim(t, "report", file, file)
	require.Zero(t, code, errs)
	require.NotContains(t, out, "\x1b")
	archive := filepath.Join(dir, "x.zip")
	code, _, errs = runExsim(t, "report", file, "--bundle", archive)
	require.Zero(t, code, errs)
	r, err := zip.OpenReader(archive)
	require.NoError(t, err)
	defer r.Close()
	for _, f := range r.File {
		require.NotRegexp(t, `\.\.|\\|\n`, f.Name)
	}
}

// A trace that was cut short in the middle of a line is told as far as it goes.
func TestReportOfCutTrace(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := runExsim(t, "run", "missed-call", "--free-ports", "--save", dir)
	require.Zero(t, code, errs)
	file := filepath.Join(dir, "missed-call.jsonl")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, b[:len(b)/2], 0o600))
	code, out, errs := runExsim(t, "report", file)
	require.Zero(t, code, errs)
	require.Contains(t, out, "INCOMPLETE  the trace has no end")
	require.Contains(t, out, "INVITE")
}

// demo --open hands its page to what opens files on the desktop.
func TestDemoOpens(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the opener of Linux")
	}
	dir := t.TempDir()
	opened := filepath.Join(dir, "opened")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" > "+opened+"\n"), 0o700)) //nolint:gosec // it is to be run
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	page := filepath.Join(dir, "page.html")
	code, out, errs := runExsim(t, "demo", "--free-ports", "--open", "--html", page)
	require.Zero(t, code, errs)
	require.Contains(t, out, "report: "+page)
	b, err := os.ReadFile(opened)
	require.NoError(t, err)
	require.Equal(t, page, strings.TrimSpace(string(b)))
	require.FileExists(t, page)
}
