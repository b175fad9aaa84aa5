package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/um"
)

// openGateways makes the gateway objects and admits those whose address is
// known.
func (x *Exchange) openGateways() error {
	x.gateways = um.NewGateways(x.conf.Org, x.profile, x.log, x.conf.Net.Lookup)
	x.admitGateways()
	return nil
}

// admitGateways lets in who is a gateway or a server of the organisation now.
func (x *Exchange) admitGateways() {
	x.admitting.Lock()
	defer x.admitting.Unlock()
	list := &admit.List{
		Check: "UM IP gateways",
		Fix:   "add to the organisation: gateways: - {name: NAME, address: {address}, dial-plan: PLAN}",
	}
	addresses := x.gateways.Addresses()
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		for _, a := range addresses[name] {
			list.Add(a, "gateway "+name)
		}
	}
	for _, s := range x.conf.Org.Servers {
		list.Add(s.Address, "server "+s.Name)
	}
	x.allowed.Store(list)
}

// SetGatewayStatus changes the state of a UM IP gateway, as Set-UMIPGateway
// does. Disabled ends its running calls, NoNewCalls lets them go on.
func (x *Exchange) SetGatewayStatus(name string, status org.Status) error {
	if err := x.gateways.SetStatus(name, status); err != nil || status != org.Disabled {
		return err
	}
	for _, w := range x.workers {
		w.hangUp(name, "gateway "+name+" was disabled")
	}
	return nil
}

// SetMaintenance sets Unified Messaging inactive on a server, or active again,
// as Set-ServerComponentState does: its call router and its UM service take no
// new calls.
func (x *Exchange) SetMaintenance(server string, inactive bool) error {
	s := x.conf.Org.ServerNamed(server)
	if s == nil {
		return fmt.Errorf("sim: no server is named %q", server)
	}
	x.state(s).Set(inactive)
	x.log.Source(server, um.UMService).Record(trace.Session{}, trace.Session{}, maintenance{server, inactive}, nil)
	return nil
}

// state is the component state of a server.
func (x *Exchange) state(s *org.Server) *um.State {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.states[s.Name] == nil {
		x.states[s.Name] = &um.State{}
	}
	return x.states[s.Name]
}

// watchGateways looks after the addresses of gateways, and asks each for
// OPTIONS from every UM service.
func (x *Exchange) watchGateways() {
	x.wg.Go(func() { x.gateways.Resolve(x.ctx, x.admitGateways) })
	for _, s := range x.serversOf(um.UMService) {
		x.probes.Go(func() { x.gateways.Watch(x.probing, s, x.askGateway(s)) })
	}
}

// StopProbes sends no OPTIONS any more, and lets those under way come to their
// end: who is asked may then be closed without a failure in the trace.
func (x *Exchange) StopProbes() {
	x.stopProbe()
	if x.lamps != nil {
		x.lamps.Close()
	}
	done := make(chan struct{})
	go func() {
		x.probes.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second): // a peer that does not answer is waited for no longer
	}
}
