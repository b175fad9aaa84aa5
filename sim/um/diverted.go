package um

import (
	"fmt"
	"slices"

	"github.com/exsim/exsim/sip"
)

// diverted is the party that the call was originally for, nil if the call was
// not diverted: by Diversion, or, where there is none, by History-Info.
func (c *Config) diverted(tx *sip.ServerTx, pilot string) (*sip.Diversion, error) {
	headers := tx.Header("Diversion")
	if len(headers) == 0 {
		return c.fromHistory(tx.Header("History-Info"), pilot)
	}
	list, err := sip.Diversions(headers)
	if err != nil && !c.Profile.UM.StrictHeaders {
		list, err = sip.LooseDiversions(headers)
	}
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if c.Profile.UM.DiversionOrder == "first" {
		return &list[0], nil
	}
	return &list[len(list)-1], nil
}

// fromHistory reads History-Info by the rules of Microsoft's test tool: two
// entries with different users, the last one the pilot, the one before it the
// mailbox's, with a reason.
func (c *Config) fromHistory(headers []string, pilot string) (*sip.Diversion, error) {
	list, err := sip.History(headers)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	users := slices.CompactFunc(slices.Clone(list), func(a, b sip.Diversion) bool { return a.User == b.User })
	last := len(list) - 1
	if len(users) > 1 && list[last].User == pilot && list[last-1].Reason != "" {
		return &list[last-1], nil
	}
	if c.Profile.UM.BadHistory == "ignore" {
		return nil, nil
	}
	return nil, fmt.Errorf("History-Info names nobody that the call was for: it wants two entries with different users, the last one the pilot %s, the one before it with a Reason", pilot)
}

// The reasons for a call, as Unified Messaging's own call data have them.
const (
	reasonDirect   = "Direct"
	reasonForward  = "DivertForward"
	reasonBusy     = "DivertBusy"
	reasonNoAnswer = "DivertNoAnswer"
	reasonOutbound = "Outbound"
)

// reasonForCall gives the reason of a diversion the word of the call data; an
// unknown one counts as a forward.
func reasonForCall(d *sip.Diversion) string {
	switch {
	case d == nil:
		return reasonDirect
	case d.Reason == "no-answer":
		return reasonNoAnswer
	case d.Reason == "user-busy":
		return reasonBusy
	}
	return reasonForward
}
