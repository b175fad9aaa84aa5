package um

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// Gateways are the UM IP gateway objects at run time: where each one is, its
// state, and whether it answers.
type Gateways struct {
	org     *org.Organisation
	profile *profile.Profile
	log     *trace.Log
	src     *trace.Source
	lookup  Lookup

	mu   sync.RWMutex
	list []*gateway
}

// Lookup resolves a host name; network is ip, ip4 or ip6.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// gateway is one object.
type gateway struct {
	object *org.UMIPGateway
	status org.Status
	addrs  []netip.Addr
	fault  string // why it has no address
}

// NewGateways takes the objects as the organisation has them. One that is known
// by its name alone has no address before Resolve.
func NewGateways(o *org.Organisation, p *profile.Profile, log *trace.Log, lookup Lookup) *Gateways {
	gs := &Gateways{org: o, profile: p, log: log, src: log.Source("", "um-ip-gateways"), lookup: lookup}
	for i := range o.Gateways {
		g := &gateway{object: &o.Gateways[i], status: o.Gateways[i].Status}
		if g.object.Address.IsValid() {
			g.addrs = []netip.Addr{g.object.Address}
		}
		gs.list = append(gs.list, g)
	}
	return gs
}

// At finds the object of a peer and its state, nil if there is none: by the
// name in its certificate, or, where it has shown none, by its address.
func (gs *Gateways) At(addr netip.Addr, fqdn string) (*org.UMIPGateway, org.Status) {
	gs.mu.RLock()
	defer gs.mu.RUnlock()
	for _, g := range gs.list {
		if fqdn != "" && strings.EqualFold(g.object.FQDN, fqdn) || fqdn == "" && slices.Contains(g.addrs, addr.Unmap()) {
			return g.object, g.status
		}
	}
	return nil, ""
}

// Addresses lists where the gateways are now, by their names.
func (gs *Gateways) Addresses() map[string][]netip.Addr {
	gs.mu.RLock()
	defer gs.mu.RUnlock()
	all := map[string][]netip.Addr{}
	for _, g := range gs.list {
		all[g.object.Name] = g.addrs
	}
	return all
}

// SetStatus changes the state of an object, as Set-UMIPGateway does.
func (gs *Gateways) SetStatus(name string, status org.Status) error {
	if !slices.Contains(org.Statuses, status) {
		return fmt.Errorf("um: unknown status %q; there are Enabled, Disabled, NoNewCalls", status)
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.list {
		if g.object.Name == name {
			g.status = status
			gs.src.Record(trace.Session{}, trace.Session{}, gatewayStatus{name, status}, nil)
			return nil
		}
	}
	return fmt.Errorf("um: no UM IP gateway is named %q", name)
}

// unresolvedAgain is when a name that has no address is asked for again.
const unresolvedAgain = 10 * time.Second

// Resolve keeps the addresses of gateways that are known by their names, until
// ctx is done; moved is told of each change.
func (gs *Gateways) Resolve(ctx context.Context, moved func()) {
	var wg sync.WaitGroup
	for _, g := range gs.list {
		if !g.object.Address.IsValid() {
			wg.Go(func() { gs.resolve(ctx, g, moved) })
		}
	}
	wg.Wait()
}

func (gs *Gateways) resolve(ctx context.Context, g *gateway, moved func()) {
	for {
		wait := gs.profile.UM.RereadInterval
		once, cancel := context.WithTimeout(ctx, unresolvedAgain)
		addrs, err := gs.lookup(once, networks[g.object.IPAddressFamily], g.object.FQDN)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil || len(addrs) == 0 {
			wait = min(wait, unresolvedAgain)
		}
		if gs.moveTo(g, addrs, err) {
			moved()
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// networks are the families of Set-UMIPGateway, in Go's words.
var networks = map[org.IPAddressFamily]string{org.IPv4Only: "ip4", org.IPv6Only: "ip6", org.AnyFamily: "ip"}

// moveTo notes where a gateway is now. An address that another one has stays
// with that one. It reports whether anything has changed.
func (gs *Gateways) moveTo(g *gateway, addrs []netip.Addr, err error) bool {
	gs.mu.Lock()
	var own []netip.Addr
	fault := ""
	if err != nil {
		own, fault = g.addrs, err.Error() // until DNS says otherwise it is where it was
	}
	for _, a := range addrs {
		a = a.Unmap()
		if other := gs.holder(a); other != nil && other != g {
			fault = fmt.Sprintf("%s has the address of gateway %s", a, other.object.Name)
			continue
		}
		own = append(own, a)
	}
	slices.SortFunc(own, netip.Addr.Compare)
	changed, worse := !slices.Equal(own, g.addrs), fault != g.fault && fault != ""
	g.addrs, g.fault = own, fault
	gs.mu.Unlock()
	if worse {
		gs.src.Record(trace.Session{}, trace.Session{}, gatewayUnresolved{g.object, fault}, nil)
	}
	if changed {
		gs.src.Record(trace.Session{}, trace.Session{}, gatewayResolved{g.object, own}, nil)
	}
	return changed
}

func (gs *Gateways) holder(a netip.Addr) *gateway {
	for _, g := range gs.list {
		if slices.Contains(g.addrs, a) {
			return g
		}
	}
	return nil
}

// Options sends an OPTIONS to a gateway and returns the status of the answer, 0
// without one.
type Options func(ctx context.Context, to netip.AddrPort, secure bool) (status int, err error)

// Watch sends OPTIONS from a server to every gateway that is not disabled, in
// turn until ctx is done.
func (gs *Gateways) Watch(ctx context.Context, server *org.Server, options Options) {
	src := gs.log.Source(server.Name, UMService)
	var wg sync.WaitGroup
	for _, g := range gs.list {
		wg.Go(func() {
			var last *gatewayHealth
			watch(ctx, gs.profile.UM.GatewayProbeInterval, func(once context.Context) {
				h := gs.probe(once, g, options)
				if h == nil || ctx.Err() != nil {
					return
				}
				if last == nil || (last.err == nil) != (h.err == nil) {
					src.Record(trace.Session{}, trace.Session{}, *h, nil)
				}
				last = h
			})
		})
	}
	wg.Wait()
}

var errTimedOut = errors.New("this operation has timed out")

// probe is one OPTIONS; nil if there is nothing to ask.
func (gs *Gateways) probe(ctx context.Context, g *gateway, options Options) *gatewayHealth {
	gs.mu.RLock()
	ask := g.status != org.Disabled && len(g.addrs) > 0
	var to target
	if ask {
		to = gs.target(g)
	}
	gs.mu.RUnlock()
	if !ask {
		return nil
	}
	h := &gatewayHealth{gateway: g.object.Name, to: to.at, secure: to.secure}
	h.status, h.err = options(ctx, h.to, h.secure)
	if h.err != nil && ctx.Err() != nil {
		h.err = errTimedOut
	}
	return h
}
