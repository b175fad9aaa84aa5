package scenarios

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What docs holds is what the model says. After a change of the language:
//
//	go run ./cmd/exsim check --reference > docs/scenario-reference.md
//	go run ./cmd/exsim check --schema > docs/scenario.schema.json
func TestReferenceIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../docs/scenario-reference.md")
	require.NoError(t, err)
	require.Equal(t, Reference(), string(text))
	text, err = os.ReadFile("../docs/scenario.schema.json")
	require.NoError(t, err)
	want, err := json.Marshal(Schema())
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(text))
}
