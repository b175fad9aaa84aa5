package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/voicemail"
)

type mailOptions struct {
	dir, text, format string
	timeout           time.Duration
}

func mailCommand() *cobra.Command {
	var o mailOptions
	cmd := &cobra.Command{
		Use:   "mail",
		Short: "List, read, search and wait for the messages in mailboxes",
		Long: `mail looks into the mailboxes of a folder that exsim up --dir FOLDER uses, or has
used; exsim may run meanwhile. It changes nothing.`,
		Example: `  exsim mail list --dir data
  exsim mail list ada@contoso.lab --text invoice --dir data
  exsim mail read ada@contoso.lab --dir data
  exsim mail wait ada@contoso.lab --text "Subject: hello" --dir data`,
	}
	list := &cobra.Command{
		Use: "list [MAILBOX]", Short: "List the messages of a mailbox, or of all", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.list(cmd, first(args)) },
	}
	read := &cobra.Command{
		Use: "read MAILBOX [NUMBER]", Short: "Print a message as it was stored: the last one, or that of a number", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.read(cmd, args) },
	}
	wait := &cobra.Command{
		Use: "wait MAILBOX", Short: "Wait until a message is there, and print its path", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.wait(cmd, args[0]) },
	}
	for _, c := range []*cobra.Command{list, read, wait} {
		c.Flags().StringVar(&o.dir, "dir", "", "the `FOLDER` of exsim up --dir")
		c.Flags().StringVar(&o.text, "text", "", "only messages that hold `TEXT`, in their header section or body as it was sent")
		_ = c.MarkFlagRequired("dir") // it exists
	}
	list.Flags().StringVar(&o.format, "format", "table", "`FORMAT`: table, json, csv, md")
	wait.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "how long")
	cmd.AddCommand(list, read, wait)
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// found are the messages of a mailbox, "" for all, that hold the text.
func (o *mailOptions) found(mailbox string) ([]store.Item, error) {
	items, err := store.View(filepath.Join(o.dir, "mailboxes"), mailbox)
	if err != nil {
		return nil, input(fmt.Errorf("%s holds no mailboxes: %w", o.dir, err))
	}
	if o.text == "" {
		return items, nil
	}
	var list []store.Item
	for _, i := range items {
		b, err := os.ReadFile(i.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, input(err)
		}
		if bytes.Contains(b, []byte(o.text)) {
			list = append(list, i)
		}
	}
	return list, nil
}

func (o *mailOptions) list(cmd *cobra.Command, mailbox string) error {
	items, err := o.found(mailbox)
	if err != nil {
		return err
	}
	if len(items) == 0 && mailbox != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "exsim: %s has no such messages; a mailbox is named by its address, and without one all are listed\n", mailbox)
	}
	number := map[string]int{}
	var rows [][]string
	for _, i := range items {
		number[i.Folder]++
		subject, from := "", ""
		if m, err := voicemail.ReadFile(i.Path); err == nil {
			subject = m.Subject
		}
		if f, err := os.Open(i.Path); err == nil {
			if m, err := mail.ReadMessage(f); err == nil {
				from = m.Header.Get("From")
			}
			_ = f.Close()
		}
		rows = append(rows, []string{i.Folder, strconv.Itoa(number[i.Folder]), from, subject, strconv.FormatInt(i.Size, 10), i.Path})
	}
	table := profileOptions{format: o.format}
	return table.print(cmd, []string{"mailbox", "number", "from", "subject", "octets", "path"}, rows)
}

func (o *mailOptions) read(cmd *cobra.Command, args []string) error {
	items, err := o.found(args[0])
	if err != nil {
		return err
	}
	n := len(items)
	if len(args) == 2 {
		if n, err = strconv.Atoi(args[1]); err != nil {
			return input(fmt.Errorf("%q is no number of exsim mail list", args[1]))
		}
	}
	if n < 1 || n > len(items) {
		return &failure{exitFailed, fmt.Errorf("%s has %d such messages", args[0], len(items))}
	}
	b, err := os.ReadFile(items[n-1].Path)
	if err != nil {
		return input(err)
	}
	_, err = cmd.OutOrStdout().Write(b)
	return err
}

// wait looks ten times a second: another process writes.
func (o *mailOptions) wait(cmd *cobra.Command, mailbox string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	for {
		items, err := o.found(mailbox)
		if err != nil {
			return err
		}
		if len(items) > 0 {
			fmt.Fprintln(cmd.OutOrStdout(), items[len(items)-1].Path)
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return &failure{exitFailed, fmt.Errorf("no such message in %s within %s", mailbox, o.timeout)}
		}
	}
}
