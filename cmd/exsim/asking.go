package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// asking puts questions to whoever stands at the device.
type asking struct {
	out      io.Writer
	lines    chan typed // closed where nothing more comes
	terminal bool       // what was typed before a question is no answer to it
}

type typed struct {
	text string
	at   time.Time
}

func newAsking(cmd *cobra.Command, wanted bool) *asking {
	if !wanted {
		return nil
	}
	a := &asking{out: cmd.ErrOrStderr(), lines: make(chan typed, 64)}
	if info, err := os.Stdin.Stat(); err == nil {
		a.terminal = info.Mode()&os.ModeCharDevice != 0
	}
	in := bufio.NewScanner(cmd.InOrStdin())
	go func() { // it ends with the program: a read of a terminal cannot be broken off
		defer close(a.lines)
		for in.Scan() {
			a.lines <- typed{strings.TrimSpace(in.Text()), time.Now()}
		}
	}()
	return a
}

// line asks, and waits for a line.
func (a *asking) line(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.out, question)
	asked := time.Now()
	for {
		select {
		case said, ok := <-a.lines:
			if !ok {
				return "", input(errors.New("--ask: nobody answers, standard input is at its end"))
			}
			if !a.terminal || !said.at.Before(asked) {
				return said.text, nil
			}
		case <-ctx.Done():
			return "", &failure{exitInterrupted, errors.New("interrupted")}
		}
	}
}
