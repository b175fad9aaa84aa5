package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// wrongs are the faults of a run, planted and lifted while it goes on.
type wrongs struct {
	chance func() uint64

	mu     sync.Mutex
	habits map[string]map[string]int // of an actor's doing, by actor: how often planted
	sets   map[string]*faults.Set    // of sockets and services, by actor, or by server and listener
	lifts  map[string][]func() error // by actor and fault, the last planted last
	down   map[string]int            // how often server-down is planted, by server
}

func listenerKey(server, row string) string { return server + "/" + row }

// has reports whether a fault of an actor's doing is planted now.
func (w *wrongs) has(actor, do string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.habits[actor][do] > 0
}

func (w *wrongs) habit(actor, do string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.habits[actor] == nil {
		w.habits[actor] = map[string]int{}
	}
	w.habits[actor][do] += by
}

// ofActor are the faults of an actor's sockets, nil if none can ever be
// planted: then its sockets are left alone.
func (w *wrongs) ofActor(name string) *faults.Set { return w.sets[name] }

func (w *wrongs) ofListener(server, row string) *faults.Set { return w.sets[listenerKey(server, row)] }

// planned are all faults that can be planted in this run.
func (r *run) planned() []PlantedFault {
	list := r.early()
	for i := range r.s.Steps {
		if f, ok := r.s.Steps[i].action.(*plantFault); ok {
			list = append(list, f.PlantedFault)
		}
	}
	return list
}

// early are the faults that hold from the start.
func (r *run) early() []PlantedFault {
	list := slices.Clone(r.s.Faults)
	if r.o.Plant != nil {
		list = append(list, *r.o.Plant)
	}
	return list
}

// openFaults makes room for the faults of the run.
func (r *run) openFaults() error {
	w := r.wrongs
	w.habits, w.sets, w.lifts = map[string]map[string]int{}, map[string]*faults.Set{}, map[string][]func() error{}
	w.down, w.chance = map[string]int{}, sim.Chance(r.o.Seed^0xfa17)
	p, err := profile.Load(r.s.Organisation.Version)
	if err != nil {
		return err
	}
	rnd := w.chance
	for name, a := range r.s.Actors {
		if a.Role == roleBox {
			w.sets[name] = faults.NewSet(r.log.Source(name, roleBox), rnd)
		}
	}
	for _, f := range r.planned() {
		if a, ok := r.s.Actors[f.Actor]; ok {
			if socketFault(f.Do) && w.sets[f.Actor] == nil {
				w.sets[f.Actor] = faults.NewSet(r.log.Source(f.Actor, a.Role), rnd)
			}
			continue
		}
		for _, row := range rowsOf(p, &f) {
			if key := listenerKey(f.Actor, row); w.sets[key] == nil {
				w.sets[key] = faults.NewSet(r.log.Source(f.Actor, row), rnd)
			}
		}
	}
	return nil
}

// socketFault reports whether a fault is one of sockets and services, and not
// of an actor's own doing or place.
func socketFault(do string) bool {
	return kindOfFault(do).wire
}

// smtpFault reports whether a fault of a server is one of a receive connector.
func smtpFault(do string) bool {
	switch faults.Kind(do) {
	case faults.Reply, faults.Drop, faults.Stall, faults.Truncate:
		return true
	}
	return false
}

// rowsOf are the listeners of a server that a fault concerns.
func rowsOf(p *profile.Profile, f *PlantedFault) []string {
	if strings.HasPrefix(f.Do, "rtp-") {
		return []string{sim.RTPRow}
	}
	var rows []string
	for _, r := range p.Ports {
		protocol := "sip"
		if smtpFault(f.Do) {
			protocol = "smtp"
		}
		tls := faults.Kind(f.Do) == faults.TLSAbort || faults.Kind(f.Do) == faults.NoTLS || faults.Kind(f.Do) == faults.Certificate
		if r.Listens == "" || r.Protocol != protocol || f.At != "" && r.ID != f.At || tls && r.Transport != "tls" {
			continue
		}
		rows = append(rows, r.ID)
	}
	return rows
}

// plant makes a fault hold from now on.
func (r *run) plant(f PlantedFault) error {
	r.src.Record(trace.Session{}, trace.Session{}, faultEvent{f, false}, nil)
	lift, err := r.planted(&f)
	if err != nil {
		return err
	}
	r.wrongs.mu.Lock()
	defer r.wrongs.mu.Unlock()
	key := f.Actor + " " + f.Do
	r.wrongs.lifts[key] = append(r.wrongs.lifts[key], lift)
	return nil
}

func (r *run) planted(f *PlantedFault) (lift func() error, err error) {
	_, isActor := r.s.Actors[f.Actor]
	switch {
	case f.Do == serverDown:
		return func() error { return r.goDown(f.Actor, -1) }, r.goDown(f.Actor, 1)
	case isActor && socketFault(f.Do):
		return always(r.wrongs.ofActor(f.Actor).Plant(faults.New(boxed(f), r.wrongs.chance))), nil
	case isActor:
		r.wrongs.habit(f.Actor, f.Do, 1)
		return always(func() { r.wrongs.habit(f.Actor, f.Do, -1) }), nil
	}
	p, err := profile.Load(r.s.Organisation.Version)
	if err != nil {
		return nil, err
	}
	counted := faults.New(f.socket(), r.wrongs.chance) // over all listeners
	var lifts []func()
	for _, row := range rowsOf(p, f) {
		lifts = append(lifts, r.wrongs.ofListener(f.Actor, row).Plant(counted))
	}
	return always(func() {
		for _, lift := range lifts {
			lift()
		}
	}), nil
}

// always is a lift that does not fail.
func always(lift func()) func() error {
	return func() error {
		lift()
		return nil
	}
}

// goDown counts who wants a server to be down: the first stops it, the last
// that is lifted starts it.
func (r *run) goDown(server string, by int) error {
	w := r.wrongs
	w.mu.Lock()
	before := w.down[server]
	w.down[server] += by
	now := w.down[server]
	w.mu.Unlock()
	switch {
	case before == 0 && now > 0:
		return r.x.StopServer(server)
	case before > 0 && now == 0:
		return r.x.StartServer(server)
	}
	return nil
}

// boxed is a fault of an actor: what a middlebox stalls is a message.
func boxed(f *PlantedFault) faults.Fault {
	k := f.socket()
	if k.Do == faults.Stall {
		k.Do, k.As = faults.Delay, faults.Stall
	}
	return k
}

// lift takes the last planted fault of a kind away.
func (r *run) lift(actor, do string) error {
	r.wrongs.mu.Lock()
	key := actor + " " + do
	list := r.wrongs.lifts[key]
	if len(list) == 0 {
		r.wrongs.mu.Unlock()
		return fmt.Errorf("%s has no such fault now", actor)
	}
	last := list[len(list)-1]
	r.wrongs.lifts[key] = list[:len(list)-1]
	r.wrongs.mu.Unlock()
	return last()
}

// plantEarly plants what holds from the start: before the organisation is up
// what its parties are made of, behind it the rest.
func (r *run) plantEarly(up bool) error {
	for _, f := range r.early() {
		if (f.Do == serverDown) == up {
			if err := r.plant(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// names are the keys of a map, sorted.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
