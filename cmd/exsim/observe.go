package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/observe"
	"github.com/exsim/exsim/sim/profile"
)

type observeOptions struct {
	version, write, format string
	connector              string
	from, certificate, key string
	tls                    bool
	timeout                time.Duration
}

func observeCommand() *cobra.Command {
	var o observeOptions
	cmd := &cobra.Command{
		Use:   "observe HOST:PORT",
		Short: "Ask a real server what can do no harm, and hold its answers against the profile",
		Long: `observe sends a Unified Messaging server OPTIONS, two requests that it does not
allow, and two calls that nobody can take: they name no telephone and no mailbox.
What it answers is held against the profile of a version. With --write a file of
facts is written of what exsim had to assume so far; exsim up --facts FILE uses it.

At a port of mail (25, 587 and the others of exsim ports), or with --connector, it is
asked as a receive connector: banner, EHLO in clear and behind STARTTLS, and commands
that bring no message about, on a connection each.

A UM server answers UM IP gateways alone: run it at the address of one, or
give this machine a gateway object.`,
		Example: `  exsim observe um1.example.com:5060 --version 2013 --write seen.yaml
  exsim observe mail1.example.com:25 --version 2016 --write seen.yaml
  exsim observe 192.0.2.10:5061 --tls --certificate gw1.pem --key gw1.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.version, "version", "2013", "Exchange `VERSION` that it is held against")
	f.StringVar(&o.write, "write", "", "write a `FILE` of facts, with standing observed")
	f.StringVar(&o.format, "format", "table", "`FORMAT`: table, json, csv, md")
	f.StringVar(&o.from, "from", "", "connect from this local `ADDRESS`")
	f.StringVar(&o.connector, "connector", "", "hold it against this receive `CONNECTOR`, such as default-frontend; left out: that of its port")
	f.BoolVar(&o.tls, "tls", false, "speak TLS (5061)")
	f.StringVar(&o.certificate, "certificate", "", "PEM `FILE` of the gateway's certificate, for mutual TLS")
	f.StringVar(&o.key, "key", "", "PEM `FILE` of its key")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "for one answer")
	return cmd
}

func (o *observeOptions) run(cmd *cobra.Command, server string) error {
	p, err := profile.Load(o.version)
	if err != nil {
		return input(err)
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return input(fmt.Errorf("%q is not HOST:PORT, such as um1.example.com:5060", server))
	}
	if err := writable(o.write); err != nil {
		return err
	}
	if row := o.mailRow(p, server); row != "" {
		return o.mail(cmd, p, server, row)
	}
	conn, err := o.dial(cmd.Context(), server, host)
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("observe: %w", err)}
	}
	defer conn.Close()
	s := observe.Server{Conn: conn, Host: server, Transport: map[bool]string{false: "TCP", true: "TLS"}[o.tls], Timeout: o.timeout}
	answers := s.Ask()
	list, err := observe.Compare(p, observe.Facts(answers))
	if err != nil {
		return bench(err)
	}
	if err := o.tell(cmd, server, answers, list); err != nil {
		return err
	}
	last := answers[len(answers)-1]
	if err := o.save(cmd, server, list); err != nil {
		return err
	}
	if last.Fault != "" {
		return &failure{exitFailed, fmt.Errorf("%s: %s; is this machine a UM IP gateway there, at the address that it asks from (--from)?", last.Question, last.Fault)}
	}
	return nil
}

// save writes the file of facts that was asked for.
func (o *observeOptions) save(cmd *cobra.Command, server string, list []observe.Verdict) error {
	if o.write == "" {
		return nil
	}
	text := observe.File(o.version, server, time.Now(), list)
	if text == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "exsim: nothing that is assumed was seen: "+o.write+" holds no fact")
	}
	if err := os.WriteFile(o.write, []byte(text), 0o644); err != nil { //nolint:gosec // facts are no secret
		return input(err)
	}
	return nil
}

// mailRow is the receive connector that a server is held against, "" where it is
// not asked as one: --connector, or that of its port.
func (o *observeOptions) mailRow(p *profile.Profile, server string) string {
	if o.connector != "" {
		return o.connector
	}
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		return ""
	}
	for _, r := range p.Ports {
		if r.Protocol == "smtp" && (strconv.Itoa(int(r.Port)) == port || r.Beside != 0 && strconv.Itoa(int(r.Beside)) == port) {
			return r.ID
		}
	}
	return ""
}

// mail asks a receive connector.
func (o *observeOptions) mail(cmd *cobra.Command, p *profile.Profile, server, row string) error {
	if _, ok := p.Connectors[row]; !ok {
		return input(fmt.Errorf("--connector %q: Exchange %s has no such receive connector", row, o.version))
	}
	plain := *o
	plain.tls = false
	m := observe.MailServer{Timeout: o.timeout, Dial: func() (net.Conn, error) { return plain.dial(cmd.Context(), server, "") }}
	g, err := m.Greet()
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("observe: %w", err)}
	}
	answers, seen := m.Ask()
	list, err := observe.Compare(p, seen)
	if err != nil {
		return bench(err)
	}
	if o.format == "table" && g.Version != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "%s; %s, certificate of %s\n", g.Banner, g.Version, g.Certificate)
	}
	list = append(observe.CompareGreeting(p, row, g), list...)
	if err := o.tell(cmd, server, answers, list); err != nil {
		return err
	}
	return o.save(cmd, server, list)
}

func (o *observeOptions) dial(ctx context.Context, server, host string) (net.Conn, error) {
	d := net.Dialer{Timeout: o.timeout}
	if o.from != "" {
		ip := net.ParseIP(o.from)
		if ip == nil {
			return nil, fmt.Errorf("--from %q is no IP address", o.from)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil || !o.tls {
		return conn, err
	}
	// Whoever answers is to be looked at: its certificate is shown, not judged.
	conf := &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} //nolint:gosec // see above
	if o.certificate != "" {
		pair, err := tls.LoadX509KeyPair(o.certificate, o.key)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	secured := tls.Client(conn, conf)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

func (o *observeOptions) tell(cmd *cobra.Command, server string, answers []observe.Answer, list []observe.Verdict) error {
	var rows [][]string
	for _, v := range list {
		verdict := "as known"
		switch {
		case !v.Same && v.Overrides:
			verdict = "differs; so far assumed"
		case !v.Same:
			verdict = "DIFFERS from what is " + string(v.Known.Standing)
		case v.Overrides:
			verdict = "as assumed"
		}
		rows = append(rows, []string{v.Key, v.Value, strings.ReplaceAll(v.Known.Value, "\n", `\n`), verdict})
	}
	if o.format == "table" {
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s against Exchange %s\n\n", server, o.version)
		for _, a := range answers {
			result := fmt.Sprintf("%d %s", a.Status, a.Reason)
			if a.Fault != "" {
				result = a.Fault
			}
			fmt.Fprintf(out, "  %-42s %s\n", a.Question, result)
		}
		fmt.Fprintln(out)
	}
	table := profileOptions{format: o.format}
	return table.print(cmd, []string{"fact", "seen", "known", "verdict"}, rows)
}
