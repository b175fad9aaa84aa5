package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
