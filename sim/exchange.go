package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/admit"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/store"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/transport"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
	"github.com/exsim/exsim/smtp/sasl"
)

// Exchange is a running organisation.
type Exchange struct {
	conf     Config
	profile  *profile.Profile
	log      *trace.Log
	rand     func() uint64
	calls    *sip.Calls
	sessions *smtp.Sessions
	causes   *transport.Causes
	lock     *os.File // of the folder
	store    *store.Store
	keytab   *sasl.Keytab // nil for none
	trust    *transport.Trust
	lab      *admit.Authority
	certs    map[string]tls.Certificate // by server
	prompts  um.Prompts
	media    *rtp.Engine
	secrets  *rtp.Secrets
	shared   *rtp.Stream

	um       um.Config // what its parts share
	gateways *um.Gateways
	logons   *um.Logons
	lamps    *um.Indicators

	mailboxes *mailboxes
	dns       *nameServer
	allowed   atomic.Pointer[admit.List] // who may connect to SIP listeners over TCP

	admitting sync.Mutex // held while allowed is made

	routers map[string]*um.Router        // by server
	workers map[string]*workers          // by server
	pickups map[string]*transport.Pickup // by server
	senders map[string]*transport.Sender // by send connector; "" has what no connector is for

	mu        sync.Mutex
	listeners []*Listener          // replaced, never changed in place
	states    map[string]*um.State // by server
	mail      map[string]*transport.State
	down      map[string]bool // servers that are stopped
	playing   map[*org.Mailbox]bool
	closed    bool

	probing   context.Context // ends before ctx
	stopProbe context.CancelFunc
	probes    sync.WaitGroup

	ctx       context.Context
	stop      context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Start brings up an organisation. It returns when every listener is bound; if
// one cannot be, none is left.
func Start(conf Config) (*Exchange, error) {
	x := &Exchange{
		conf: conf, sessions: &smtp.Sessions{}, causes: transport.NewCauses(), pickups: map[string]*transport.Pickup{},
		states: map[string]*um.State{}, mail: map[string]*transport.State{}, down: map[string]bool{}, playing: map[*org.Mailbox]bool{},
		routers: map[string]*um.Router{}, workers: map[string]*workers{}, certs: map[string]tls.Certificate{},
	}
	x.secrets = rtp.NewSecrets()
	x.conf.Net = conf.Net.filled().captured(conf.Capture)
	for x.conf.Seed == 0 {
		x.conf.Seed = rand.Uint64() >> 32
	}
	x.rand = Chance(x.conf.Seed)
	x.ctx, x.stop = context.WithCancel(context.Background())
	x.probing, x.stopProbe = context.WithCancel(x.ctx)
	for _, step := range []func() error{x.load, x.bind, x.openStore, x.openMedia, x.openNames, x.openGateways, x.openTrust, x.openKerberos, x.openSenders, x.build, x.openPickups} {
		if err := step(); err != nil {
			return nil, errors.Join(err, x.Close())
		}
	}
	x.begin()
	return x, nil
}

// load reads facts and prompts.
func (x *Exchange) load() error {
	overrides := x.conf.Overrides
	if name := x.conf.Org.Facts; name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("sim: facts: %w", err)
		}
		overrides = append(overrides[:len(overrides):len(overrides)], profile.Override{Name: name, Data: b})
	}
	var err error
	if x.profile, err = profile.Load(x.conf.Org.Version, overrides...); err != nil {
		return err
	}
	if x.prompts, err = um.LoadPrompts(x.conf.Org); err != nil {
		return err
	}
	if dir := x.conf.Org.TLS.Authority; dir != "" {
		if x.lab, err = admit.OpenAuthority(dir); err == nil {
			x.lab.ReadOnly()
		}
	} else {
		x.lab, err = admit.NewAuthority()
	}
	return err
}

func (x *Exchange) openStore() error {
	var err error
	if x.lock, err = store.Lock(x.conf.Dir); err != nil {
		return err
	}
	if x.store, err = store.Open(filepath.Join(x.conf.Dir, "mailboxes")); err != nil {
		return err
	}
	x.log = x.conf.Trace
	if x.log == nil {
		x.log = trace.New(trace.Config{Dir: x.conf.Dir, Header: Header(x.conf.Program, x.conf.Org.Version, x.conf.Seed)})
	}
	x.calls = sip.NewCalls()
	return nil
}

// Header is what the first event of a run says: the version of the program, that
// of Exchange, and the seed.
func Header(program, version string, seed uint64) []trace.Field {
	list := []trace.Field{{Key: "profile", Value: version}, {Key: "seed", Value: int64(seed)}}
	if program != "" {
		list = append(list, trace.Field{Key: "exsim", Value: program})
	}
	return list
}

func (x *Exchange) openMedia() error {
	r := x.conf.Org.RTP
	var err error
	x.media, err = rtp.New(rtp.Config{Low: r.Low, High: r.High, DSCP: r.DSCP, Listen: x.mediaSocket, Rand: x.rand, Tap: Tap(x.conf.Capture), Secrets: x.secrets})
	if err != nil || !x.conf.SignallingOnly || !x.profile.HasUM() {
		return err
	}
	s := x.serversOf(um.UMWorker)[0]
	x.shared, err = x.media.Open(s.Address, trace.Session{}, x.log.Source(s.Name, um.UMWorker))
	return err
}

// build puts an endpoint behind each listener.
func (x *Exchange) build() error {
	x.logons = um.NewLogons(x.conf.Org, x.profile)
	x.um = um.Config{Org: x.conf.Org, Profile: x.profile, Address: x.address, Gateways: x.gateways, Trace: x.log, Rand: x.rand}
	x.mailboxes = x.newMailboxes()
	x.lamps = um.NewIndicators(&x.um, x.mailboxes, x.notify)
	for _, l := range x.listeners {
		if err := x.equip(l); err != nil {
			return err
		}
	}
	return nil
}

// equip puts what answers behind a listener.
func (x *Exchange) equip(l *Listener) (err error) {
	switch l.Row.Protocol {
	case "sip":
		l.serv, err = x.unifiedMessaging(l)
	case "smtp":
		l.serv, err = x.connectors(l)
	}
	return err
}

// serversOf are the servers that run a service of the port table.
func (x *Exchange) serversOf(service string) []*org.Server {
	return x.conf.Org.ServersWith(org.Role(x.profile.RoleOf(service)))
}

// begin puts everything to work.
func (x *Exchange) begin() {
	x.introduce()
	for _, l := range x.listeners {
		x.wg.Go(func() { x.serve(l) })
	}
	for i := range x.conf.Org.Servers {
		s := &x.conf.Org.Servers[i]
		if r := x.routers[s.Name]; r != nil {
			x.probes.Go(func() { r.Watch(x.probing, x.probe(s)) })
		}
		if w := x.workers[s.Name]; w != nil {
			w.began()
		}
	}
	x.watchGateways()
	x.serveNames()
	x.wg.Go(x.lamps.Refresh)
}

// introduce says who has which address.
func (x *Exchange) introduce() {
	src := x.log.Source("", "")
	tell := func(name, role string, at netip.Addr) {
		src.Record(trace.Session{}, trace.Session{}, Party{name, role, at}, nil)
	}
	for i := range x.conf.Org.Servers {
		s := &x.conf.Org.Servers[i]
		tell(s.Name, "server", s.Address)
	}
	addresses := x.gateways.Addresses()
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		for _, at := range addresses[name] {
			tell(name, "um-ip-gateway", at)
		}
	}
}

// Trace is the timeline.
func (x *Exchange) Trace() *trace.Log { return x.log }

// Secrets are the calls in which digits are a secret; a simulated gateway shares
// them, so that neither end of a call tells what the other hides.
func (x *Exchange) Secrets() *rtp.Secrets { return x.secrets }

// Profile is the Exchange version that is simulated.
func (x *Exchange) Profile() *profile.Profile { return x.profile }

// Organisation is what is simulated.
func (x *Exchange) Organisation() *org.Organisation { return x.conf.Org }

// Calls names the calls; a simulated gateway shares it, so that both ends of a
// call have one name.
func (x *Exchange) Calls() *sip.Calls { return x.calls }

// Seed is the seed in use.
func (x *Exchange) Seed() uint64 { return x.conf.Seed }

// Dir keeps mailboxes and messages on their way.
func (x *Exchange) Dir() string { return x.conf.Dir }

// Exactness is what the organisation itself adds to jitter and loss.
func (x *Exchange) Exactness() rtp.Exactness { return x.media.Exactness() }

// LabCA is the certificate of the lab's authority, in PEM.
func (x *Exchange) LabCA() []byte { return x.lab.PEM() }

// Close ends listeners, calls, media and messages on their way, in this order,
// then the log if it is its own. What is not delivered stays on disk. It may be
// called twice.
func (x *Exchange) Close() error {
	x.closeOnce.Do(func() { x.closeErr = x.close() })
	return x.closeErr
}

func (x *Exchange) close() error {
	var errs []error
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.StopProbes()
	x.stop()
	signalling := x.remove(func(l *Listener) bool { return l.Row.Protocol == "sip" })
	hangUp(signalling)
	errs = append(errs, closeAll(signalling))
	if x.media != nil {
		errs = append(errs, x.media.Close())
	}
	for _, w := range x.workers {
		w.wait()
	}
	for _, p := range x.pickups {
		errs = append(errs, p.Close())
	}
	errs = append(errs, closeAll(x.remove(func(*Listener) bool { return true })))
	errs = append(errs, x.closeSenders())
	if x.dns != nil {
		errs = append(errs, x.dns.srv.Close())
	}
	x.probes.Wait()
	x.wg.Wait()
	if x.calls != nil {
		x.calls.Close()
	}
	if x.store != nil {
		errs = append(errs, x.store.Close())
	}
	if x.lock != nil {
		errs = append(errs, x.lock.Close())
	}
	if x.log != nil && x.conf.Trace == nil {
		errs = append(errs, x.log.Close())
	}
	return errors.Join(errs...)
}
