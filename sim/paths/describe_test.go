package paths

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The reference and the schema in docs are those of the program. After a change
// on purpose:
//
//	go run ./cmd/exsim plan --reference > docs/plan-reference.md
//	go run ./cmd/exsim plan --schema > docs/plan.schema.json
func TestReferenceIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../../docs/plan-reference.md")
	require.NoError(t, err)
	require.Equal(t, Reference(), string(text))
	text, err = os.ReadFile("../../docs/plan.schema.json")
	require.NoError(t, err)
	b, err := json.MarshalIndent(Schema(), "", "  ")
	require.NoError(t, err)
	require.Equal(t, string(b)+"\n", string(text))
}

// A plan of whatever text is right or wrong, and a right one has its flows.
func FuzzLoad(f *testing.F) {
	f.Add(Starter())
	f.Add([]byte(plan2013))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := Load("plan.yaml", text); err == nil {
			flows, _ := p.Flows()
			for _, x := range flows {
				x.Sample()
			}
			p.Unported()
		}
	})
}
