package sip

// Remembered counts what an endpoint holds of calls: transactions, dialogs,
// timers, absorbed INVITEs, names.
func (e *Endpoint) Remembered() int {
	e.mu.Lock()
	n := len(e.pending.m) + len(e.merging.m) + len(e.reliables.m) + len(e.dialogs.m) + len(e.clients.m)
	e.mu.Unlock()
	e.wheel.mu.Lock()
	n += e.wheel.set
	e.wheel.mu.Unlock()
	return n + e.accepted.len() + e.forks.len() + e.conf.Calls.seen.len()
}

func (a *aging[V]) len() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.gens {
		n += len(g)
	}
	return n
}

// Target is the URI of the remote target.
func (d *Dialog) Target() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.target
}
