package faults

// Of finds the fault of some kinds that befalls the next thing of a name: a
// request by its method, the stage of a mail session, a connection; nil if none
// does. It is recorded.
func (s *Set) Of(name string, kinds ...Kind) *Fault {
	f, n := s.strike(func(f *Fault) bool {
		if f.Of != "" && f.Of != name {
			return false
		}
		for _, k := range kinds {
			if f.Do == k {
				return true
			}
		}
		return false
	})
	if f != nil {
		s.note(f, n, nil)
	}
	return f
}
