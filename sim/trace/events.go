package trace

import "time"

// started is the first event of every log.
type started struct {
	header []Field
	wall   time.Time
}

func (started) EventName() string { return "run.started" }

func (s started) AppendTo(f *Fields) {
	f.Int("schema", Schema)
	f.Text("wall", s.wall.UTC().Format(time.RFC3339Nano))
	for _, h := range s.header {
		f.Text(h.Key, FormatValue(h.Value))
	}
}

// ended is the last event of a complete log.
type ended struct{ events uint64 }

func (ended) EventName() string { return "run.ended" }

func (e ended) AppendTo(f *Fields) { f.Int("events", int64(e.events)) }

// Events lists the events that this package records.
func Events() []EventType {
	return []EventType{
		{"run.started", "the log begins", []FieldType{
			{"schema", "version of the file format"}, {"wall", "UTC time at which the log began"},
			{"exsim", "version of the program"}, {"profile", "Exchange version that is simulated"},
			{"seed", "seed of tags, branches and other chance"}, {"scenario", "name of the scenario, if one runs"},
			{"plan", "name of the plan whose paths were probed"},
			{"variant", "values of its matrix"}, {"planted", "fault that it must catch in this run"}, {"planted_cause", "cause that it must name"},
			{"var.NAME", "value of a var of the scenario"},
		}},
		{"run.ended", "the log is complete: what is absent did not happen", []FieldType{
			{"events", "events before this one"},
		}},
	}
}
