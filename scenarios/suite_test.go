package scenarios

import (
	"testing"

	"github.com/exsim/exsim/sim/admit"
	"github.com/stretchr/testify/require"
)

// The cases of a suite are numbered, named apart, and run as their scenarios do
// (TestShipped), also with the values that the suite gives them.
func TestSuite(t *testing.T) {
	t.Parallel()
	s, err := LoadSuite("um-validation", nil)
	require.NoError(t, err)
	names := map[string]bool{}
	for _, c := range s.Cases {
		require.False(t, names[c.Scenario.Name], c.Scenario.Name)
		names[c.Scenario.Name] = true
		require.NotEmpty(t, c.Scenario.Catches, "%s has no fault that it catches", c.Number)
	}
	require.Equal(t, "1.1", s.Cases[0].Number)
	for _, c := range s.Cases[1:6] {
		t.Run(c.Number, func(t *testing.T) {
			t.Parallel()
			for _, v := range runTest(t, c.Scenario, nil).Verdicts {
				require.Equal(t, Passed, v.Result, "%d %s: %s", v.Step, v.Text, v.Got)
			}
		})
	}
	_, err = LoadSuite("nothing", nil)
	require.ErrorContains(t, err, `no suite is named "nothing"`)
}

// Whatever certificate a case wants, whoever sets the device up is told in words.
func TestCertificatesInWords(t *testing.T) {
	for _, kind := range admit.Bads() {
		require.Contains(t, shown[string(kind)], "%s", kind)
	}
	require.Len(t, shown, len(admit.Bads())+1, "and good")
}
