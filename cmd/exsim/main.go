// Command exsim is a bench-top Exchange: it stands where an Exchange Server
// would stand, speaks as one on the wire, and says what the equipment on the
// other side did right and wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Exit codes.
const (
	exitPassed = 0
	exitFailed = 1 // a scenario failed
	exitInput  = 2 // a file or flag is wrong
	exitBench  = 3 // exsim itself failed

	exitInterrupted = 130
)

// version is set by the linker in a release.
var version = "dev"

// failure is an error with its exit code; without text nothing is printed.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func input(err error) error { return &failure{exitInput, err} }
func bench(err error) error { return &failure{exitBench, err} }

// startFailure tells apart what a file said wrong and what the machine would
// not do.
func startFailure(err error) error {
	var files yamlfile.Errors
	var config *sim.ConfigError
	if errors.As(err, &files) || errors.As(err, &config) || errors.Is(err, os.ErrNotExist) {
		return input(err)
	}
	return bench(err)
}

func main() {
	// The live heap is a few megabytes: collecting at each doubling of it
	// would cost more than the memory is worth.
	debug.SetGCPercent(400)
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitPassed
	}
	var f *failure
	if !errors.As(err, &f) { // cobra's own: a wrong flag or command
		f = &failure{exitInput, fmt.Errorf("%w\nsee: exsim --help", err)}
	}
	if text := f.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "exsim: "+text)
	}
	return f.code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "exsim",
		Short: "A bench-top Exchange: Unified Messaging and mail, on the documented ports",
		Long: `exsim stands where an Exchange Server would stand: call router, UM service and
workers with media, and receive connectors. It speaks as Exchange on the wire and
says what the gateway, SBC or relay on the other side did right and wrong.

Begin with: exsim demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(demoCommand(), upCommand(), runCommand(), checkCommand(), newCommand(), portsCommand(), planCommand(), listenCommand(), probeCommand(), pkiCommand(), reportCommand(), profileCommand(), observeCommand(), mailCommand(), eventsCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "exsim "+version) },
	}
}

// portFlags are the flags that move ports.
func portFlags(cmd *cobra.Command, p *sim.Ports) {
	cmd.Flags().Uint16Var(&p.Offset, "port-offset", 0, "add `N` to every listening port")
	cmd.Flags().Uint16Var(&p.Low, "low-port-offset", 0, "add `N` to listening ports below 1024 only, such as 25")
	cmd.Flags().BoolVar(&p.Free, "free-ports", false, "listen on any free port")
}

// workDir is the folder that a command keeps its mail in: the one asked for,
// or a new one.
func workDir(asked, what string) (string, error) {
	if asked != "" {
		if err := os.MkdirAll(asked, 0o700); err != nil {
			return "", input(err)
		}
		return asked, nil
	}
	dir, err := os.MkdirTemp("", "exsim-"+what+"-")
	if err != nil {
		return "", bench(err)
	}
	return dir, nil
}
