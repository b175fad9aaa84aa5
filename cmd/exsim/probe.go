package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/scenarios/report"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/ends"
	"github.com/exsim/exsim/sim/paths/record"
	"github.com/exsim/exsim/sim/paths/truth"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// endFlags are those of both ends.
type endFlags struct {
	secretFile, pki, record string
	offset                  uint16
	full                    bool
	contact                 string
	addresses               map[string]string // of a scenario's parties
}

// secretVariable holds the ends' shared secret.
const secretVariable = "EXSIM_SECRET" //nolint:gosec // the name of a variable, not a secret

func (x *endFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&x.secretFile, "secret", "", "`FILE` with the secret that both ends share, 16 characters or more; or the environment variable "+secretVariable)
	f.StringVar(&x.pki, "pki", "", "lab authority `FOLDER` (exsim pki) whose certificates the ends know one another by, in place of a secret")
	f.StringVar(&x.record, "record", "", "write what this end saw to `FILE` as it happens; an end without control connection needs it")
	f.Uint16Var(&x.offset, "port-offset", 0, "add `N` to every port, at both ends: to try a plan without privileges")
	f.BoolVar(&x.full, "full", false, "try every port of a range, not a sample; at both ends where there is no control connection")
	addressFlag(cmd, &x.addresses)
	f.StringVar(&x.contact, "contact", "", "who answers for the probes, in place of the plan's contact")
}

// end makes the end of a host.
func (x *endFlags) end(cmd *cobra.Command, p *paths.Plan, host string, limits ends.Limits, log *record.Log) (*ends.End, error) {
	h := p.Host(host)
	if h == nil {
		return nil, noHost(p, host)
	}
	if x.contact != "" {
		p.Contact = x.contact
	}
	conf := ends.Config{Plan: p, Host: h, Offset: x.offset, Limits: limits, Full: x.full, Log: log, Say: func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }}
	switch secret := os.Getenv(secretVariable); {
	case x.pki != "":
		a, err := admit.OpenAuthority(x.pki)
		if err != nil {
			return nil, input(err)
		}
		conf.Authority = a
	case x.secretFile != "":
		b, err := os.ReadFile(x.secretFile)
		if err != nil {
			return nil, input(err)
		}
		conf.Secret = []byte(strings.TrimRight(string(b), "\r\n"))
	case secret != "":
		conf.Secret = []byte(secret)
	default:
		return nil, input(fmt.Errorf("%w, or use --secret FILE or --pki FOLDER", errNoSecret))
	}
	e, err := ends.New(conf)
	if err != nil {
		return nil, input(err)
	}
	return e, nil
}

var errNoSecret = errors.New("the two ends share no secret: set " + secretVariable + " to the same text at both ends (such as: openssl rand -hex 16)")

// checkSecret refuses what the ends would refuse, before anything runs.
func checkSecret(secret []byte) error {
	switch {
	case len(secret) == 0:
		return input(errNoSecret)
	case len(secret) < ends.MinSecret:
		return input(fmt.Errorf("%s has %d characters; %d at least", secretVariable, len(secret), ends.MinSecret))
	}
	return nil
}

func noHost(p *paths.Plan, name string) error {
	return input(fmt.Errorf("the plan has no host %q; %s", name, cmp.Or(yamlfile.Suggest(name, p.HostNames()), "hosts are "+strings.Join(p.HostNames(), ", "))))
}

// openRecord opens the file that an end writes its record to.
func (x *endFlags) openRecord(resume bool) (log *record.Log, file *os.File, err error) {
	if x.record == "" {
		return record.NewLog(nil), nil, nil
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if resume {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	file, err = os.OpenFile(x.record, flags, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil, input(fmt.Errorf("%s is there already, and is left as it is", x.record))
	}
	if err != nil {
		return nil, nil, input(err)
	}
	return record.NewLog(file), file, nil
}

func listenCommand() *cobra.Command {
	var x endFlags
	var as string
	var alone bool
	cmd := &cobra.Command{
		Use:   "listen PLAN --as HOST",
		Short: "Be the far end of a path probe: listen where a plan's host would",
		Long: `listen stands for a host of a plan: it waits for exsim probe at the other side,
opens the ports that are asked for, and tells what arrived. It answers nobody who
does not know the secret.

Without a control connection (--alone) it listens on all that the plan expects of
this host, and writes its record for exsim probe --merge.`,
		Example: `  export EXSIM_SECRET=$(openssl rand -hex 16)   # the same at both ends
  exsim listen branch.yaml --as mbx
  exsim probe branch.yaml --from gw --to mbx    # on the other machine`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.listen(cmd, args[0], as, alone) },
	}
	x.add(cmd)
	cmd.Flags().StringVar(&as, "as", "", "the `HOST` of the plan that this machine stands for")
	cmd.Flags().BoolVar(&alone, "alone", false, "no control connection: listen on everything, until interrupted; wants --record")
	_ = cmd.MarkFlagRequired("as")
	return cmd
}

func (x *endFlags) listen(cmd *cobra.Command, plan, as string, alone bool) error {
	p, err := loadPlan(plan, x.addresses)
	if err != nil {
		return err
	}
	if alone && x.record == "" {
		return input(errors.New("--alone wants --record FILE: nobody else learns what arrived"))
	}
	log, file, err := x.openRecord(false)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	e, err := x.end(cmd, p, as, ends.Limits{}, log)
	if err != nil {
		return err
	}
	var flows []*paths.Flow
	if alone {
		flows = ends.Flows(p, "", as)
	}
	err = e.Listen(cmd.Context(), !alone, flows, func(at []string) {
		if alone {
			fmt.Fprintf(cmd.OutOrStdout(), "%s listens for %d flows, until interrupted\n", as, len(flows))
			return
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s waits for exsim probe, control connection at %s, until interrupted\n", as, strings.Join(at, " and "))
	})
	e.Finish("done")
	if err != nil {
		return bench(err)
	}
	return recordFailure(log)
}

func recordFailure(log *record.Log) error {
	if err := log.Err(); err != nil {
		return bench(fmt.Errorf("the record is not whole: %w", err))
	}
	return nil
}

// probeFlags are those of exsim probe.
type probeFlags struct {
	endFlags
	from, to              string
	merge                 []string
	limits                ends.Limits
	oneWay, alone, dryRun bool
	resume                bool
	format                string
	junit, html, save     string
}

func probeCommand() *cobra.Command {
	var x probeFlags
	cmd := &cobra.Command{
		Use:   "probe PLAN --from HOST --to HOST",
		Short: "Prove the paths of a plan between two hosts, and print the truth table",
		Long: `probe stands for one host of a plan and connects as its peers would to another,
where exsim listen stands: every documented path in both directions, each with a
token that must arrive, and what must be closed. SIP and SMTP are spoken, and
what left one end is compared with what reached the other.

It is gentle: 200 new flows a second and 2,000 open at most outside the loopback,
large ranges by a sample (--full, --rate). --dry-run prints what it would send.

Exit code 1 if a path is otherwise than it must be.`,
		Example: `  exsim probe branch.yaml --from gw --to mbx
  exsim probe branch.yaml --from gw --to mbx --dry-run
  exsim probe branch.yaml --from gw --to mbx --record gw.jsonl --resume
  exsim probe branch.yaml --merge gw.jsonl --merge mbx.jsonl --format csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd, args[0]) },
	}
	x.add(cmd)
	f := cmd.Flags()
	f.StringVar(&x.from, "from", "", "the `HOST` that this machine stands for")
	f.StringVar(&x.to, "to", "", "the `HOST` where exsim listen stands")
	f.StringArrayVar(&x.merge, "merge", nil, "probe nothing, and join the record `FILE`s of several ends; repeatable")
	f.Float64Var(&x.limits.Rate, "rate", 0, "new flows a second, `N`; -1 is no limit (default 200, on the loopback none)")
	f.IntVar(&x.limits.Open, "open", 0, "flows open at once, `N` (default 2000)")
	f.DurationVar(&x.limits.Timeout, "timeout", 3*time.Second, "how long a connection or an answer may take")
	f.BoolVar(&x.oneWay, "one-way", false, "only paths from --from to --to, not those back")
	f.BoolVar(&x.alone, "alone", false, "no control connection: send only, and write --record for --merge")
	f.BoolVar(&x.dryRun, "dry-run", false, "print every flow that would be begun, and send nothing")
	f.BoolVar(&x.resume, "resume", false, "go on with the --record of a run that was cut short")
	f.StringVar(&x.format, "format", "table", "`FORMAT` of the truth table: table, json, csv, junit")
	f.StringVar(&x.junit, "junit", "", "write it as JUnit XML to `FILE`, too")
	f.StringVar(&x.html, "html", "", "write it as one page of HTML to `FILE`, too")
	f.StringVar(&x.save, "save", "", "write it as a trace to `FILE`, too: exsim report compares two")
	return cmd
}

var tableFormats = map[string]func(t *truth.Table, w io.Writer) error{
	"table": (*truth.Table).Text, "json": (*truth.Table).JSON, "csv": (*truth.Table).CSV, "junit": (*truth.Table).JUnit,
}

func (x *probeFlags) run(cmd *cobra.Command, plan string) error {
	p, err := loadPlan(plan, x.addresses)
	if err != nil {
		return err
	}
	if tableFormats[x.format] == nil {
		return input(fmt.Errorf("--format %q is not known; table, json, csv or junit", x.format))
	}
	if err := writable(x.junit, x.html, x.save); err != nil {
		return err
	}
	if len(x.merge) > 0 {
		return x.joined(cmd, p)
	}
	for flag, h := range map[string]string{"--from": x.from, "--to": x.to} {
		if h == "" {
			return input(fmt.Errorf("%s is missing; hosts of the plan are %s", flag, strings.Join(p.HostNames(), ", ")))
		}
	}
	for _, h := range []string{x.from, x.to} {
		if p.Host(h) == nil {
			return noHost(p, h)
		}
	}
	if x.from == x.to {
		return input(errors.New("--from and --to are one host"))
	}
	if x.dryRun {
		return x.tellDryRun(cmd, p)
	}
	if (x.alone || x.resume) && x.record == "" {
		return input(errors.New("--alone and --resume want --record FILE"))
	}
	return x.probe(cmd, p)
}

// probe probes, and prints what the records tell.
func (x *probeFlags) probe(cmd *cobra.Command, p *paths.Plan) error {
	before, err := x.earlier(p)
	if err != nil {
		return err
	}
	log, file, err := x.openRecord(x.resume)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	log.Keep(before)
	e, err := x.end(cmd, p, x.from, x.limits, log)
	if err != nil {
		return err
	}
	skip := e.Done(before, !x.alone)
	ctx := cmd.Context()
	if x.alone {
		err = e.Alone(ctx, p.Host(x.to), skip)
	} else {
		err = e.Between(ctx, p.Host(x.to), x.oneWay, skip)
	}
	how := "done"
	if err != nil {
		how = "interrupted"
	}
	e.Finish(how)
	if err != nil && (!errors.Is(err, context.Canceled) || len(log.Lines()) < 3) && noHead(log.Lines()[len(before):]) {
		return bench(err)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(cmd.ErrOrStderr(), "exsim: "+err.Error())
	}
	if x.alone {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: join it with the record of %s: exsim probe %s --merge %s --merge FILE\n", x.record, x.to, cmd.Flags().Arg(0), x.record)
		return recordFailure(log)
	}
	failed := x.print(cmd, p, log.Lines())
	switch {
	case failed != nil:
		return failed
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted}
	case err != nil:
		return &failure{code: exitBench}
	}
	return recordFailure(log)
}

// noHead says whether a run did not even begin.
func noHead(lines []record.Line) bool {
	return !slices.ContainsFunc(lines, func(l record.Line) bool { return l.Head != nil })
}

// earlier is the record that a run goes on with.
func (x *probeFlags) earlier(p *paths.Plan) ([]record.Line, error) {
	if !x.resume {
		return nil, nil
	}
	if st, err := os.Stat(x.record); errors.Is(err, os.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil, nil
	}
	lines, err := readRecord(x.record)
	if err != nil {
		return nil, err
	}
	if _, err := truth.Judge(p, lines); err != nil { // of another plan
		return nil, input(err)
	}
	if err := record.Mend(x.record); err != nil {
		return nil, input(err)
	}
	return lines, nil
}

func readRecord(name string) ([]record.Line, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, input(err)
	}
	defer f.Close()
	lines, err := record.Read(name, f)
	if err != nil {
		return nil, input(err)
	}
	return lines, nil
}

// joined prints what several records tell together.
func (x *probeFlags) joined(cmd *cobra.Command, p *paths.Plan) error {
	var all []record.Line
	for _, name := range x.merge {
		lines, err := readRecord(name)
		if err != nil {
			return err
		}
		all = append(all, lines...)
	}
	return x.print(cmd, p, all)
}

func (x *probeFlags) print(cmd *cobra.Command, p *paths.Plan, lines []record.Line) error {
	t, err := truth.Judge(p, lines)
	if err != nil {
		return input(err)
	}
	if err := tableFormats[x.format](t, cmd.OutOrStdout()); err != nil {
		return bench(err)
	}
	if err := errors.Join(writeFile(x.junit, t.JUnit), x.report(p, t)); err != nil {
		return err
	}
	if t.Failed() || t.Proven() == 0 {
		return &failure{code: exitFailed}
	}
	return nil
}

// report writes the table as a trace, and as a page.
func (x *probeFlags) report(p *paths.Plan, t *truth.Table) error {
	if x.save == "" && x.html == "" {
		return nil
	}
	header := []trace.Field{{Key: "plan", Value: p.Name}, {Key: "profile", Value: p.Exchange}, {Key: "exsim", Value: version}}
	log := trace.New(trace.Config{Header: header})
	src := log.Source("", "paths")
	for i := range t.Results {
		scenarios.RecordPath(src, &t.Results[i])
	}
	if err := log.Close(); err != nil {
		return bench(err)
	}
	if x.save != "" {
		if err := log.Save(x.save); err != nil {
			return input(err)
		}
	}
	return writeRuns(x.html, []report.Run{report.RunOf(slices.Collect(log.Events()))}, pageTitled("exsim probe: "+p.Name))
}

// tellDryRun prints every flow that would be begun.
func (x *probeFlags) tellDryRun(cmd *cobra.Command, p *paths.Plan) error {
	list := ends.Flows(p, x.from, x.to)
	if !x.oneWay {
		list = append(list, ends.Flows(p, x.to, x.from)...)
	}
	out := cmd.OutOrStdout()
	total := 0
	for _, f := range list {
		set := f.Sample()
		if x.full {
			set = f.Ports
		}
		total += set.Len()
		numbers := shifted(set, x.offset).String()
		sampled := f.IsSampled() && !x.full
		if sampled {
			numbers = fmt.Sprintf("%d of %s, listed below", set.Len(), f.Ports)
		}
		fmt.Fprintf(out, "%s  %s -> %s  %s %s  expect %s\n", f.ID, f.Source, f.Target, f.Transport, numbers, f.Expect)
		fmt.Fprintf(out, "    %s\n", ends.Describe(f))
		if sampled {
			fmt.Fprint(out, folded(shifted(set, x.offset).String()))
		}
	}
	fmt.Fprintf(out, "%d flows to begin in %d paths, and one control connection to tcp/%d\n", total, len(list), p.Control+x.offset)
	if rate := cmp.Or(x.limits.Rate, 200); rate > 0 {
		fmt.Fprintf(out, "at %g new flows a second that takes %s at least\n", rate, (time.Duration(float64(total)/rate) * time.Second).String())
	}
	return nil
}

// folded breaks a list of ports into lines.
func folded(list string) string {
	const wide = 110
	var b strings.Builder
	line := ""
	for part := range strings.SplitSeq(list, ",") {
		if len(line)+len(part) > wide {
			b.WriteString("    " + line + "\n")
			line = ""
		}
		line += part + " "
	}
	b.WriteString("    " + line + "\n")
	return b.String()
}

func shifted(s paths.PortSet, offset uint16) paths.PortSet {
	if offset == 0 {
		return s
	}
	var out paths.PortSet
	for p := range s.All() {
		out.Add(p + offset)
	}
	return out
}
