package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What docs say of permissions is what sessions answer:
//
//	go run ./cmd/exsim profile matrix 2007-sp1 2010-sp1 2013 2016 2019 > docs/mail-permissions.md
func TestMatrixIsDocumented(t *testing.T) {
	var b strings.Builder
	require.NoError(t, matrix(&b, []string{"2007-sp1", "2010-sp1", "2013", "2016", "2019"}))
	doc, err := os.ReadFile("../../docs/mail-permissions.md")
	require.NoError(t, err)
	require.Equal(t, string(doc), b.String())
	require.Contains(t, b.String(), "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain")
	require.Error(t, matrix(&b, []string{"2003"}))
}
