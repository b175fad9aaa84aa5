package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
)

// The bench measures organisations that load.
func TestOrganisations(t *testing.T) {
	for _, text := range []string{organisation, tlsOrganisation()} {
		_, err := org.Load("bench.yaml", []byte(text))
		require.NoError(t, err)
	}
}
