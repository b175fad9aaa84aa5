package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim/trace"
)

type reportOptions struct {
	html, junit, json string
	diff              bool
	bundle            string
	sessions          []string
}

func reportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report TRACE|FOLDER...",
		Short: "Tell saved traces again: as text, one page of HTML, JUnit XML, a comparison or a bundle",
		Long: `report reads traces, as exsim run --save, exsim demo --save and exsim up --save
write them, or every .jsonl in a folder and below, and tells what happened: the verdicts with
cause and next step, the ladder, media, paths and mail. Without a flag it prints
text. The page is one file that opens from disk: no scripts, nothing from elsewhere.

--diff holds two traces or folders side by side, such as those before and behind a
change of a firewall: verdicts, paths, what the network changed, and times beyond
their noise, which is known from five samples on: save several runs, each into a
folder of its own below one. Exit code 1 if anything is worse.

--bundle makes one archive for a ticket: the report, the traces, captures that lie
beside them under the same name, the files that the runs were made from,
versions and checksums. Secrets are starred; addresses and names are not.`,
		Example: `  exsim run missed-call --free-ports --save traces
  exsim report traces --html report.html
  exsim report up.jsonl --session call-3 --session smtp-1
  exsim report --diff before.jsonl after.jsonl
  exsim report traces --bundle ticket-4711.zip`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return tellTraces(cmd, args, o) },
	}
	cmd.Flags().StringVar(&o.html, "html", "", "write `FILE`, one page")
	cmd.Flags().StringVar(&o.junit, "junit", "", "write `FILE` as JUnit XML")
	cmd.Flags().BoolVar(&o.diff, "diff", false, "compare two: what was before, and what is after")
	cmd.Flags().StringVar(&o.json, "json", "", "of --diff: write it to `FILE` as JSON, - for standard output")
	cmd.Flags().StringVar(&o.bundle, "bundle", "", "write `FILE`, a ZIP archive of all that belongs to the traces")
	cmd.Flags().StringSliceVar(&o.sessions, "session", nil, "tell of these calls and mail sessions alone, `NAMES` as call-3,smtp-1")
	return cmd
}

func tellTraces(cmd *cobra.Command, args []string, o reportOptions) error {
	if err := errors.Join(o.check(args), writable(o.html, o.junit, o.json, o.bundle)); err != nil {
		return err
	}
	if o.diff {
		return compareTraces(cmd, args, o)
	}
	runs, err := readRuns(args)
	if err != nil {
		return input(err)
	}
	if err := only(runs, o.sessions); err != nil {
		return input(err)
	}
	if o.html == "" && o.junit == "" && o.bundle == "" {
		return printRuns(cmd.OutOrStdout(), runs)
	}
	title := "exsim report"
	if len(args) == 1 {
		title += ": " + filepath.Base(args[0])
	}
	return errors.Join(
		writeRuns(o.html, runs, pageTitled(title)),
		writeRuns(o.junit, runs, report.JUnit),
		writeBundle(o.bundle, title, args, runs),
	)
}

// check reports flags that do not go together.
func (o *reportOptions) check(args []string) error {
	switch {
	case o.diff && len(args) != 2:
		return input(fmt.Errorf("--diff compares two traces or folders, and there are %d: name what was before and what is after", len(args)))
	case o.diff && (o.junit != "" || o.bundle != "" || len(o.sessions) > 0):
		return input(errors.New("--junit, --bundle and --session are not of --diff"))
	case !o.diff && o.json != "":
		return input(errors.New("--json is of --diff; the traces are JSON lines themselves"))
	}
	return nil
}

// compareTraces tells what differs.
func compareTraces(cmd *cobra.Command, args []string, o reportOptions) error {
	var sides [2][]report.Run
	for i, arg := range args {
		runs, err := readRuns([]string{arg})
		if err != nil {
			return input(err)
		}
		sides[i] = runs
	}
	c := report.Compare(sides[0], sides[1])
	c.Before, c.After = args[0], args[1]
	var err error
	if o.json == "-" {
		err = c.JSON(cmd.OutOrStdout())
	} else {
		err = errors.Join(c.Text(cmd.OutOrStdout()), writeFile(o.json, c.JSON))
	}
	err = errors.Join(err, writeFile(o.html, func(w io.Writer) error { return c.HTML(w, version) }))
	if err == nil && c.Compared.Runs == 0 {
		return input(fmt.Errorf("%s and %s have no run in common: runs of one name are compared, or one trace with one trace", args[0], args[1]))
	}
	if err == nil && c.Worsened() {
		return &failure{code: exitFailed}
	}
	return err
}

// readRuns reads traces and folders of them.
func readRuns(args []string) ([]report.Run, error) {
	var runs []report.Run
	for _, arg := range args {
		files, err := tracesOf(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			events, err := readTrace(name)
			if err != nil {
				return nil, err
			}
			run := report.RunOf(scenarios.Essential(slices.Values(events)))
			if run.Name == "" {
				run.Name = strings.TrimSuffix(filepath.Base(name), traceSuffix)
			}
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// traceSuffix ends the names of traces in a folder.
const traceSuffix = ".jsonl"

// tracesOf is a trace, or those of a folder.
func tracesOf(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	var files []string
	err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, traceSuffix) {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("folder %s holds no trace (*%s): exsim run --save %s writes some", arg, traceSuffix, arg)
	}
	return files, err
}

// readTrace reads a saved trace, which has at least its first event.
func readTrace(name string) ([]trace.Event, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if what := otherKind(in); what != "" {
		return nil, fmt.Errorf("%s is no trace but %s", name, what)
	}
	events, err := trace.ReadJSON(in)
	if err != nil {
		return nil, fmt.Errorf("%s is no trace, as exsim run --save FOLDER writes them: %w", name, err)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%s holds no event", name)
	}
	return events, nil
}

// otherKind says what else of a run a file is, "" for none of it.
func otherKind(in *bufio.Reader) string {
	head, _ := in.Peek(4) // a shorter file is none of these
	for begin, what := range map[string]string{"PK\x03\x04": "an archive: unpack it, and name its traces", "\n\r\r\n": "a capture: Wireshark reads it", "<!DO": "a page: a browser shows it"} {
		if string(head) == begin {
			return what
		}
	}
	return ""
}

// only leaves of each run what belongs to no session, or to one of some.
func only(runs []report.Run, names []string) error {
	if len(names) == 0 {
		return nil
	}
	wanted := map[trace.Session]bool{}
	for _, name := range names {
		s, err := trace.ParseSession(name)
		if err != nil {
			return fmt.Errorf("--session %s: a session is named as in the ladder, such as call-3 or smtp-1", name)
		}
		wanted[s] = false
	}
	for i := range runs {
		runs[i].Events = slices.DeleteFunc(runs[i].Events, func(e trace.Event) bool {
			_, asked := wanted[e.Session]
			if asked {
				wanted[e.Session] = true
			}
			return e.Session.Kind != "" && !asked
		})
	}
	for s, found := range wanted {
		if !found {
			return fmt.Errorf("--session %s: no trace here has it", s)
		}
	}
	return nil
}

func printRuns(out io.Writer, runs []report.Run) error {
	for i := range runs {
		r := &runs[i]
		if len(runs) > 1 || r.Judged {
			fmt.Fprintf(out, "%s%s\n\n", map[bool]string{true: "\n"}[i > 0], report.Clean(r.Headline()))
		}
		if r.Incomplete() {
			fmt.Fprint(out, "INCOMPLETE  "+report.NoEnd+"\n\n")
		}
		if err := errors.Join(report.Verdicts(out, r.Events), report.Write(out, r.Events)); err != nil {
			return bench(err)
		}
	}
	return nil
}
