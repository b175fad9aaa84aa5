package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/admit"
)

// handshakes in one repetition of the TLS part.
const handshakes = 1000

// tlsRow compares mutual-TLS connections with a bare listener of Go's: what the
// certificate policy, the events and the hand-over to SIP cost.
func (b *bench) tlsRow(ctx context.Context) error {
	dir := filepath.Join(b.dir, "pki")
	a, err := admit.CreateAuthority(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"ex1.bench.lab", "driver.bench.lab"} {
		c, err := a.Issue(admit.Request{Names: []string{name}})
		if err != nil {
			return err
		}
		if _, err := a.Keep(name, c, false); err != nil {
			return err
		}
	}
	file := filepath.Join(b.dir, "tls.yaml")
	if err := os.WriteFile(file, []byte(tlsOrganisation()), 0o600); err != nil {
		return err
	}
	client, err := clientConfig(a)
	if err != nil {
		return err
	}
	var ours, bare, ratios []float64
	for range b.reps {
		o, err := b.handshakeCost(ctx, client, "127.0.0.60:5061", exec.CommandContext(ctx, b.exsim, "up", "-c", file, "--quiet", "--low-port-offset", "10000", "--dir", filepath.Join(b.dir, "data")))
		if err != nil {
			return fmt.Errorf("exsim: %w", err)
		}
		g, err := b.handshakeCost(ctx, client, "127.0.0.60:5063", exec.CommandContext(ctx, os.Args[0], "-bare-tls", dir))
		if err != nil {
			return fmt.Errorf("bare listener: %w", err)
		}
		ours, bare, ratios = append(ours, 1/o), append(bare, 1/g), append(ratios, o/g)
	}
	fmt.Printf("Mutual-TLS connections for a CPU second (TLS 1.3, ECDSA, each with a handshake of its own); %d connections, %d repetitions\n", handshakes, b.reps)
	fmt.Printf("  exsim            %s\n  crypto/tls alone %s\n", spread(ours, "%.0f"), spread(bare, "%.0f"))
	fmt.Printf("  CPU for a connection, exsim / crypto/tls: %s (target at most 1.1)\n\n", spread(ratios, "%.2f"))
	return nil
}

func clientConfig(a *admit.Authority) (*tls.Config, error) {
	c, _, err := a.Kept("driver.bench.lab")
	return &tls.Config{RootCAs: a.Pool(), ServerName: "ex1.bench.lab", Certificates: []tls.Certificate{c}}, err
}

// handshakeCost is the server's CPU seconds for one connection that is opened,
// asked for a keep-alive and closed.
func (b *bench) handshakeCost(ctx context.Context, conf *tls.Config, at string, server *exec.Cmd) (float64, error) {
	var out bytes.Buffer
	server.Stderr = &out
	s := &servers{cmds: []*exec.Cmd{server}, errs: []*bytes.Buffer{&out}}
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer s.stop()
	for range 500 { // until it is up
		if err := ping(ctx, conf, at); err == nil {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	before := s.cpu()
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for range handshakes / 8 {
				if err := ping(ctx, conf, at); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return 0, fmt.Errorf("%w %s", err, out.String())
	}
	return (s.cpu() - before).Seconds() / handshakes, nil
}

// ping connects, sends a keep-alive and waits for its answer: the handshake is
// then over on both sides.
func ping(ctx context.Context, conf *tls.Config, at string) error {
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: driverAddr.AsSlice()}}, Config: conf}
	c, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("\r\n\r\n")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 2))
	return err
}

// bareTLS is the other side of the comparison: Go's own mutual TLS, which
// answers keep-alives and does nothing else.
func bareTLS(ctx context.Context, dir string) error {
	a, err := admit.OpenAuthority(dir)
	if err != nil {
		return err
	}
	cert, _, err := a.Kept("ex1.bench.lab")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM())
	ln, err := tls.Listen("tcp", "127.0.0.60:5063", &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, SessionTicketsDisabled: true,
	})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil //nolint:nilerr // the end
		}
		go func() {
			defer func() { _ = c.Close() }()
			if _, err := c.Read(make([]byte, 4)); err == nil {
				_, _ = c.Write([]byte("\r\n"))
			}
			_, _ = c.Read(make([]byte, 1)) // until the peer closes
		}()
	}
}

// tlsOrganisation is the organisation with its call router on TLS alone.
func tlsOrganisation() string {
	return strings.NewReplacer(
		"limits:", "tls: {authority: pki}\ncall-router: {um-startup-mode: TLS}\nlimits:",
		"digits: 4}", "digits: 4, voip-security: SIPSecured}",
		"mailbox]}]", "mailbox], um-startup-mode: TLS}]",
		"name: driver, address", "name: driver, fqdn: driver.bench.lab, address",
		"name: hops, address", "name: hops, fqdn: hops.bench.lab, address",
	).Replace(organisation)
}
