package transport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
)

// A field that hides behind a line end of another form is a field: the header
// firewall takes it out both ways, and a hop counts.
func TestHiddenFields(t *testing.T) {
	for _, end := range []string{"\r\n", "\n", "\r", "\n\r\n", "\r\r\n"} {
		text := "X-A: b" + end + "X-MS-Exchange-Organization-AuthAs: Internal" + end + "Received: by x\r\nSubject: s\r\n folded\r\n\r\nbody"
		h, err := readHead(strings.NewReader(text), 0)
		require.NoError(t, err)
		if !strings.Contains(end, "\n\r\n") { // that ends the section
			require.Equal(t, 1, h.hops(), "%q", end)
			require.Equal(t, "s\r\n folded", h.field("subject"))
		}
		h.pass(func(profile.Right) bool { return false })
		require.NotContains(t, string(h.text()), "Organization", "%q", end)
		require.NotContains(t, string(h.text()), "Received")
		h, err = readHead(strings.NewReader(text), 0)
		require.NoError(t, err)
		h.leave()
		require.NotContains(t, string(h.text()), "Organization", "%q", end)
	}
}
