package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The naive way to sweep: a socket and a goroutine for each port that answers,
// in several processes because of the limit of open files, and one socket that
// asks them all.

// echo answers on a range of ports of an address, ADDRESS:LOW-HIGH, by a socket
// for each.
func echo(spec string) error {
	host, span, _ := strings.Cut(spec, ":")
	addr, err := netip.ParseAddr(host)
	low, high, ok := strings.Cut(span, "-")
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if err := errors.Join(err, err1, err2); err != nil || !ok {
		return fmt.Errorf("-echo %s: ADDRESS:LOW-HIGH", spec)
	}
	for p := first; p <= last; p++ {
		pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(p))))
		if err != nil {
			return err
		}
		go func() {
			b := make([]byte, 2048)
			for {
				n, from, err := pc.ReadFromUDPAddrPort(b)
				if err == nil {
					_, _ = pc.WriteToUDPAddrPort(b[:n], from)
				}
			}
		}()
	}
	fmt.Println("ready")
	select {}
}

// ask sends to every media port of an address, up to three times, and prints how
// many answered.
func ask(target string) error {
	addr, err := netip.ParseAddr(target)
	if err != nil {
		return err
	}
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	_ = pc.SetReadBuffer(4 << 20)
	const window, tries, patience = 512, 3, 300 * time.Millisecond
	answered, open, b := map[uint16]bool{}, 0, make([]byte, 2048)
	hear := func() bool {
		_ = pc.SetReadDeadline(time.Now().Add(patience))
		_, from, err := pc.ReadFromUDPAddrPort(b)
		if err == nil {
			answered[from.Port()] = true
			open--
		}
		return err == nil
	}
	for range tries {
		for p := 1024; p <= 65535; p++ {
			if answered[uint16(p)] {
				continue
			}
			if open >= window && !hear() {
				open = 0 // what has not come by now is lost
			}
			_, _ = pc.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(addr, uint16(p)))
			open++
		}
		for open > 0 && hear() {
		}
		open = 0
	}
	fmt.Println(len(answered))
	return nil
}

// naive is that way: the time to open the ports counts, as it does for exsim.
func (s *sweep) naive(ctx context.Context, rules string) (swept, error) {
	if err := s.filter(ctx, rules); err != nil {
		return swept{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return swept{}, err
	}
	begin := time.Now()
	var far []*exec.Cmd
	defer func() {
		for _, c := range far {
			_ = c.Process.Signal(syscall.SIGKILL)
			_ = c.Wait()
		}
	}()
	for low := 1024; low < 65536; low += 16384 {
		c := s.in(ctx, s.far, self, "-echo", fmt.Sprintf("10.99.0.2:%d-%d", low, min(low+16383, 65535)))
		said, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			return swept{}, err
		}
		far = append(far, c)
		defer func() { _ = said.Close() }()
		if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
			return swept{}, fmt.Errorf("the naive far end: %w", err)
		}
	}
	out, err := s.in(ctx, s.near, self, "-ask", "10.99.0.2").CombinedOutput()
	if err != nil {
		return swept{}, fmt.Errorf("the naive near end: %w: %s", err, out)
	}
	return swept{seconds: time.Since(begin).Seconds()}, nil
}
