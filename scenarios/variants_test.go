package scenarios

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/trace"
)

const varied = `version: 1
name: varied
vars: {ext: "${EXSIM_TEST_EXT:-4021}", pilot: "4000"}
secrets: {pin: {file: pin.txt}}
matrix:
  reason: [no-answer, user-busy]
  csv: callers.csv
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c, from: gw, dial: "${pilot}", caller: "${caller}", name: "$${x} ${name}", diverted: "${ext}", reason: "${reason}"}
  - talk: {call: c, for: 300ms}
  - dtmf: {call: c, digits: "${pin}#"}
  - hangup: {call: c}
`

func inFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return filepath.Join(dir, "varied.yaml")
}

// A matrix and a CSV fan a file out; extensions stay text; a secret is seen
// nowhere.
func TestVariants(t *testing.T) {
	name := inFolder(t, map[string]string{"pin.txt": "47110815\n", "callers.csv": "caller,name\n0401,\"Ada, B\"\nAnonymous,\n"})
	list, err := Load(name, []byte(varied), map[string]string{"ext": "4022"})
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Equal(t, "varied-3", list[2].Name)
	require.Equal(t, "caller=0401, name=Ada, B, reason=user-busy", list[2].Variant)
	c, ok := list[2].Steps[0].action.(*call)
	require.True(t, ok)
	require.Equal(t, call{ID: "c", From: "gw", Dial: "4000", Caller: "0401", Name: "${x} Ada, B", Diverted: "4022", Reason: "user-busy", Outcome: "answered", Within: c.Within}, *c)
	require.Equal(t, "c presses ********#", list[2].Steps[2].Text)

	t.Setenv("EXSIM_TEST_EXT", "4021")
	list, err = Load(name, []byte(varied), nil)
	require.NoError(t, err)
	out := runTest(t, list[0], nil)
	require.True(t, out.Passed, "%+v", out.Verdicts)
	var file bytes.Buffer
	require.NoError(t, trace.WriteJSON(&file, out.Log.Events()))
	require.NotContains(t, file.String(), "47110815")
}

func TestVariantMistakes(t *testing.T) {
	name := inFolder(t, map[string]string{"pin.txt": "12\n", "callers.csv": "caller,name\n1,2,3\n"})
	_, err := Load(name, []byte(varied), map[string]string{"extension": "4022"})
	for _, want := range []string{
		`no var is named "extension"`, `known here: ext, pilot`, `secret "pin": it has 2 characters`, "wrong number of fields", "${caller}: neither vars nor secrets nor matrix has it",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = Load("x.yaml", []byte(`version: 1
name: x
vars: {unused: a, bad: "${NOT_SET_ANYWHERE}", list: [1]}
secrets: {s: {}, both: {env: A, file: b}}
matrix: {empty: [], deep: [[1]]}
actors: {gw: {role: ip-gateway, address: "${bad"}}
steps: []
`), nil)
	for _, want := range []string{
		"x.yaml:3:8: vars: nothing refers to ${unused}", "NOT_SET_ANYWHERE is not set", "list wants a value, got a list", `secret "s": where is it?`, `secret "both": where is it?`,
		"empty wants a list", "deep wants values, got a list", "${ without }",
	} {
		require.ErrorContains(t, err, want)
	}
}

// A condition on a secret is met by its stars in the trace, a never on one can
// fail, and neither shows it.
func TestSecretConditions(t *testing.T) {
	t.Setenv("EXSIM_TEST_CALLER", "4255550199")
	list, err := Load("x.yaml", []byte(`version: 1
name: x
secrets: {caller: {env: EXSIM_TEST_CALLER}, longer: {env: EXSIM_TEST_CALLER}}
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c, from: gw, dial: "4000", caller: "${caller}", diverted: "4021"}
  - expect: {event: um.answered, call: c, where: {caller: "${longer}"}}
  - hangup: {call: c, after: um.greeting}
never: [{event: um.answered, where: {caller: {in: ["${caller}"]}}}]
`), nil)
	require.NoError(t, err)
	out := runTest(t, list[0], nil)
	require.Equal(t, Passed, out.Verdicts[1].Result, out.Verdicts[1].Got)
	require.Equal(t, Failed, out.Verdicts[3].Result)
	require.NotContains(t, fmt.Sprintf("%+v", out.Verdicts), "4255550199")
	sheet, err := list[0].Setup(sim.Ports{})
	require.NoError(t, err)
	require.NotContains(t, sheet, "4255550199")

	_, err = Load("x.yaml", []byte(`version: 1
name: ""
secrets: {caller: {env: EXSIM_TEST_CALLER}}
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: "", from: gw, dial: "${caller}"}
  - expect: {event: um.answered, where: {caller: {matches: "^${caller}"}}}
  - expect: {event: um.answered, where: {caller: {}}}
  - expect: {event: um.answered, where: {caller: {is: [a]}}}
  - mail: {to: "${caller}x"}
`), nil)
	for _, want := range []string{"name: is empty", "id: is empty", "a secret is no regular expression", "an empty condition", "is: wants a value, got a list", `no mailbox is "**********x"`} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "4255550199")
}

// A saved trace knows the vars of its run; addresses are moved all at once.
func TestVarsAndAddresses(t *testing.T) {
	load := func(set map[string]string) *Scenario {
		list, err := Load("x.yaml", []byte(`version: 1
name: x
vars: {ext: "4021"}
organisation:
  gateways:
    - {name: a, address: 127.0.0.30, dial-plan: Lab}
    - {name: b, address: 127.0.0.31, dial-plan: Lab}
  hunt-groups: []
actors:
  a: {role: ip-gateway, address: 127.0.0.30}
  b: {role: ip-gateway, address: 127.0.0.31}
steps:
  - call: {id: c, from: a, dial: "4000", diverted: "${ext}"}
  - call: {id: d, from: b, dial: "4000", diverted: "${ext}"}
`), set)
		require.NoError(t, err)
		return list[0]
	}
	s := load(map[string]string{"ext": "4022"})
	require.NoError(t, s.SetAddresses(map[string]netip.Addr{"a": netip.MustParseAddr("127.0.0.31"), "b": netip.MustParseAddr("127.0.0.32")}))
	require.Equal(t, "127.0.0.31", s.Organisation.Gateways[0].Address.String())
	require.Equal(t, "127.0.0.32", s.Organisation.Gateways[1].Address.String())
	out := runTest(t, s, nil)
	require.True(t, out.Passed, "%+v", out.Verdicts)
	require.Equal(t, map[string]string{"ext": "4022"}, VarsOf(slices.Collect(out.Log.Events())))
	require.ErrorContains(t, s.SetAddresses(map[string]netip.Addr{"c": {}}), `no actor "c"`)

	require.NoError(t, s.SetDevice("a", External))
	s.Catches = []PlantedFault{{Actor: "a", Do: "no-media"}}
	require.NoError(t, s.Playable(false))
	require.ErrorContains(t, s.Playable(true), "external device")
}
