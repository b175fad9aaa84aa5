//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// leaveTerminal lets a program in the background run on: it would be stopped
// when it reads from the terminal.
func leaveTerminal() { signal.Ignore(syscall.SIGTTIN) }
