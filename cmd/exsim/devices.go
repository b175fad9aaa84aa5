package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/scenarios"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/admit"
)

func addressFlag(cmd *cobra.Command, into *map[string]string) {
	cmd.Flags().StringToStringVar(into, "address", nil, "give a server or actor another address: `NAME=ADDRESS`, repeatable")
}

func setAddresses(list []*scenarios.Scenario, addresses map[string]string) error {
	parsed := map[string]netip.Addr{}
	for name, text := range addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return input(fmt.Errorf("--address %s=%s: %q is no IP address", name, text, text))
		}
		parsed[name] = addr
	}
	for _, s := range list {
		if err := s.SetAddresses(parsed); err != nil {
			return input(err)
		}
	}
	return nil
}

// whereToCall tells whoever stands at an external device where exsim listens.
func whereToCall(cmd *cobra.Command, s *scenarios.Scenario) func(x *sim.Exchange) {
	if !s.Guided() {
		return nil
	}
	return func(x *sim.Exchange) {
		front := x.Profile().Front()
		for _, l := range x.Listeners() {
			at := netip.AddrPortFrom(l.Server.Public(), l.Bound)
			switch {
			case l.Row.Service == front && s.Calls(l.Row.Transport):
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: the trunk goes to %s over %s\n", s.Name, at, strings.ToUpper(l.Row.Transport))
			case l.Row.ID == x.Profile().MailRow() && s.Mails():
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: mail goes to %s\n", s.Name, at)
			}
		}
		for _, line := range s.Conditions() {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", s.Name, line)
		}
	}
}

// setAuthority gives all one lab authority, whose certificates the device has.
func setAuthority(list []*scenarios.Scenario, folder string) error {
	if folder == "" {
		return nil
	}
	folder, err := filepath.Abs(folder)
	if err == nil {
		_, err = admit.OpenAuthority(folder)
	}
	if err != nil {
		return input(fmt.Errorf("--authority: %w", err))
	}
	for _, s := range list {
		s.SetAuthority(folder)
	}
	return nil
}

// setDevices says who plays the actors.
func setDevices(list []*scenarios.Scenario, o runOptions) error {
	actor, device, named := strings.Cut(o.device, "=")
	if !named {
		actor, device = "", o.device
	}
	for _, s := range list {
		if o.device != "" {
			if err := s.SetDevice(actor, scenarios.Device(device)); err != nil {
				return input(err)
			}
		}
		if err := s.Playable(o.prove); err != nil {
			return input(err)
		}
	}
	return nil
}

// reachable checks, before anybody is asked for anything, that scenarios with an
// external device can be run: the other parties have addresses of this machine, the
// device can reach them, and has certificates that can be right.
func reachable(list []*scenarios.Scenario) error {
	tried := map[netip.Addr]error{}
	for _, s := range list {
		if !s.Guided() {
			continue
		}
		if server := s.Unreachable(); server != "" {
			return input(fmt.Errorf("%s: %s is on the loopback, where the device cannot reach it: --address %s=ADDRESS, an address of this machine", s.Name, server, server))
		}
		if s.Calls("tls") && s.Organisation.TLS.Authority == "" {
			return input(fmt.Errorf("%s wants TLS of the device, with a certificate that exsim knows: --authority FOLDER, made by exsim pki init", s.Name))
		}
		ours := s.Ours()
		for _, name := range slices.Sorted(maps.Keys(ours)) {
			addr := ours[name]
			if _, ok := tried[addr]; !ok {
				ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
				if tried[addr] = err; err == nil {
					_ = ln.Close()
				}
			}
			if tried[addr] != nil {
				return input(fmt.Errorf("%s: exsim plays %s at %s, which is no address of this machine: --address %s=ADDRESS, or add it here", s.Name, name, addr, name))
			}
		}
	}
	return nil
}
