package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// mailOrganisation takes mail of the driver without a limit of connections.
const mailOrganisation = `version: "2019"
domain: bench.lab
servers: [{name: EX1, fqdn: ex1.bench.lab, address: 127.0.0.60, roles: [client-access, mailbox]}]
mailboxes: [{name: Ada, address: ada@bench.lab, server: EX1}]
receive-connectors: [{name: Default Frontend EX1, server: EX1, max-inbound-connection: 0, max-inbound-connection-per-source: 0, max-inbound-connection-percentage-per-source: 100}]
`

// mailRow compares a receive connector with smtp-sink: CPU of a message, driven
// by smtp-source with 20 sessions at once. Every event is recorded; the messages
// are on disk, synced, before they are acknowledged, or thrown away as smtp-sink
// does.
func (b *bench) mailRow(ctx context.Context) error {
	for _, peer := range []string{"smtp-source", "smtp-sink"} {
		if _, err := exec.LookPath(peer); err != nil {
			return fmt.Errorf("%s is not installed: sudo make peers", peer)
		}
	}
	file := filepath.Join(b.dir, "mail.yaml")
	if err := os.WriteFile(file, []byte(mailOrganisation), 0o600); err != nil {
		return err
	}
	fmt.Printf("Mail received, every event recorded, %d repetitions: CPU of a message, exsim / smtp-sink\n", b.reps)
	for _, row := range []struct {
		name   string
		size   int
		count  int
		reuse  bool
		stored bool
		target string
	}{
		{"64 KB, a connection for each message, not stored", 65536, 1500, false, false, "at most 0.8"},
		{"64 KB, connections reused, not stored", 65536, 1500, true, false, "at most 0.4"},
		{"1 KB, a connection for each message, not stored", 1024, 6000, false, false, "at most 1.2"},
		{"64 KB, a connection for each message, stored and synced", 65536, 1500, false, true, "at most 1.5"},
		{"64 KB, connections reused, stored and synced", 65536, 1500, true, true, "printed"},
	} {
		var ours, theirs, ratios []float64
		for range b.reps {
			dir, err := os.MkdirTemp(b.dir, "mail") // a new one each time: ext4 is slow where many files just went
			if err != nil {
				return err
			}
			args := []string{"up", "-c", file, "--quiet", "--low-port-offset", "10000", "--dir", dir}
			if !row.stored {
				args = append(args, "--discard-mail")
			}
			o, err := b.mailCost(ctx, "127.0.0.60:10025", row.size, row.count, row.reuse, exec.CommandContext(ctx, b.exsim, args...))
			if err != nil {
				return fmt.Errorf("exsim: %w", err)
			}
			s, err := b.mailCost(ctx, "127.0.0.60:10026", row.size, row.count, row.reuse, exec.CommandContext(ctx, "smtp-sink", "-u", "nobody", "127.0.0.60:10026", "1000"))
			if err != nil {
				return fmt.Errorf("smtp-sink: %w", err)
			}
			ours, theirs, ratios = append(ours, 1000*o), append(theirs, 1000*s), append(ratios, o/s)
		}
		fmt.Printf("  %s: %s (target %s); CPU s/1000 messages %s and %s\n", row.name, spread(ratios, "%.2f"), row.target, spread(ours, "%.3f"), spread(theirs, "%.3f"))
	}
	held, err := b.idleCost(ctx, exec.CommandContext(ctx, b.exsim, "up", "-c", file, "--quiet", "--low-port-offset", "10000", "--dir", filepath.Join(b.dir, "mail")))
	if err != nil {
		return fmt.Errorf("idle: %w", err)
	}
	fmt.Printf("  %d idle connections behind EHLO: %.1f KB each (target under 10)\n\n", idle, held)
	return nil
}

// idle connections are held at once.
const idle = 5000

// idleCost is the memory of an idle connection, in KB of what is resident.
func (b *bench) idleCost(ctx context.Context, server *exec.Cmd) (float64, error) {
	at := netip.MustParseAddrPort("127.0.0.60:10025")
	s, err := start(ctx, []netip.AddrPort{at}, server)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	before, err := resident(server.Process.Pid)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	for range idle {
		nc, err := net.Dial("tcp", at.String())
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		for _, say := range []string{"", "EHLO bench.example\r\n"} {
			if _, err := nc.Write([]byte(say)); err != nil {
				return 0, err
			}
			if _, err := nc.Read(buf); err != nil {
				return 0, err
			}
		}
	}
	after, err := resident(server.Process.Pid)
	return float64(after-before) / idle, err
}

// resident is the memory of a process, in KB.
func resident(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kb int
	_, err = fmt.Sscan(rest, &kb)
	return kb, err
}

// mailCost is the server's CPU seconds for one message.
func (b *bench) mailCost(ctx context.Context, at string, size, count int, reuse bool, server *exec.Cmd) (float64, error) {
	s, err := start(ctx, []netip.AddrPort{netip.MustParseAddrPort(at)}, server)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	before := s.cpu()
	args := []string{"-s", "20", "-m", strconv.Itoa(count), "-l", strconv.Itoa(size), "-f", "bob@fabrikam.example", "-t", "ada@bench.lab"}
	if reuse {
		args = append(args, "-d")
	}
	if out, err := exec.CommandContext(ctx, "smtp-source", append(args, at)...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	return (s.cpu() - before).Seconds() / float64(count), nil
}
