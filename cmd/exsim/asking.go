package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// asking puts questions to whoever stands at the device.
type asking struct {
	out   io.Writer
	lines chan string // closed where nothing more comes
}

func newAsking(cmd *cobra.Command, wanted bool) *asking {
	if !wanted {
		return nil
	}
	a := &asking{out: cmd.ErrOrStderr(), lines: make(chan string)}
	in := bufio.NewScanner(cmd.InOrStdin())
	go func() { // it ends with the program: a read of a terminal cannot be broken off
		defer close(a.lines)
		for in.Scan() {
			a.lines <- strings.TrimSpace(in.Text())
		}
	}()
	return a
}

// line asks, and waits for a line.
func (a *asking) line(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.out, question)
	select {
	case said, ok := <-a.lines:
		if !ok {
			return "", input(errors.New("--ask: nobody answers, standard input is at its end"))
		}
		return said, nil
	case <-ctx.Done():
		return "", &failure{exitInterrupted, errors.New("interrupted")}
	}
}
