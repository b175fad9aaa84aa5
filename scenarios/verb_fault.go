package scenarios

import (
	"context"
	"fmt"
	"strings"
)

// plantFault plants a fault, or lifts it.
type plantFault struct {
	PlantedFault
	Lift bool `yaml:"lift" doc:"true: takes the fault of this actor and name away again"`
}

func (p *plantFault) check(l *loader) string {
	if p.Lift {
		if k := kindOfFault(p.Do); k == nil || l.s.roleOf(p.Actor) == "" {
			l.fault(&p.PlantedFault)
		}
		return p.Actor + " does no longer: " + p.Do
	}
	l.fault(&p.PlantedFault)
	if k := kindOfFault(p.Do); k != nil && k.early {
		l.f.Report(l.at("do"), "name it in faults or catches", "fault %s holds from the start, or not at all", p.Do)
	}
	if l.s.Actors[p.Actor].Device == External {
		l.f.Report(l.at("actor"), "", "fault: %s is an external device: its faults are its own", p.Actor)
	}
	l.used[p.Actor] = true
	return strings.TrimSpace(p.Actor + " does wrong from now on: " + p.Do + " " + p.when())
}

// when says what of many the fault befalls.
func (f *PlantedFault) when() string {
	switch {
	case f.Nth > 0:
		return fmt.Sprintf("(number %d)", f.Nth)
	case f.From > 0:
		return fmt.Sprintf("(from number %d on)", f.From)
	case f.Every > 0:
		return fmt.Sprintf("(each %d)", f.Every)
	case f.Percent > 0:
		return fmt.Sprintf("(%g %%)", f.Percent)
	}
	return ""
}

func (p *plantFault) do(_ context.Context, r *run, _ int) error {
	if p.Lift {
		if err := r.lift(p.Actor, p.Do); err != nil {
			return err
		}
		r.src.Record(noSession, noSession, faultEvent{p.PlantedFault, true}, nil)
		return nil
	}
	return r.plant(p.PlantedFault)
}
