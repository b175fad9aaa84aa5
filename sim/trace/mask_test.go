package trace

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A secret is starred wherever it stands, in clear and as base64, and all else
// stays as it is.
func TestMask(t *testing.T) {
	l := New(Config{Mask: []string{"s3cret", "****"}})
	l.Source("gw", "x").Record(Session{}, Session{}, remark("s3cret, then s3cret"), []byte("AUTH s3cret czNjcmV0\r\n"))
	l.Source("gw", "x").Record(Session{}, Session{}, remark("s3cre"), nil)
	events := slices.Collect(l.Events())
	require.Equal(t, "******, then ******", events[1].Text("text"))
	require.Equal(t, "AUTH ****** ********\r\n", string(events[1].Raw))
	require.Equal(t, "s3cre", events[2].Text("text"))
	var file bytes.Buffer
	require.NoError(t, WriteJSON(&file, l.Events()))
	require.NotContains(t, file.String(), "s3cret")
	require.NoError(t, l.Close())
}

type remark string

func (remark) EventName() string    { return "test.note" }
func (n remark) AppendTo(f *Fields) { f.Text("text", string(n)) }
