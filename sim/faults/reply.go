package faults

import "slices"

// Of finds the fault of some kinds that befalls the next thing of a name: a
// request by its method, the stage of a mail session, a connection; nil if none
// does. It is recorded.
func (s *Set) Of(name string, kinds ...Kind) *Fault {
	k := s.first(func(f *Fault) bool {
		return (f.Of == "" || f.Of == name) && slices.Contains(kinds, f.Do)
	})
	if k == nil {
		return nil
	}
	s.note(k, nil)
	return &k.Fault
}
